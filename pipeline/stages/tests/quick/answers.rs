//! What counts of an answer, on the real path: the status line decides.

use std::time::{Duration, Instant};

use tributary_schemas::{delivery::AttemptOutcome, entity::WebhookStatus};
use tributary_stages::{clock::now, deliver::Config};

use crate::{
    receiver::{Does, receiver},
    world::{World, config, next, says, subscriber},
};

fn head(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes()
}

/// A 200 whose body never comes as it should is a 200: what was accepted is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_line_decides_whatever_the_body_does() {
    let gzip = "content-encoding: gzip\r\ncontent-length: 9\r\n";
    let cases = [
        ("silent", Does::Holds(head("200 OK", "content-length: 1000\r\n"))),
        ("slow", Does::Drips(head("200 OK", "content-length: 1000\r\n"))),
        ("cut", Does::Says([head("200 OK", "content-length: 1000\r\n"), b"half".to_vec()].concat())),
        ("reset before a byte of it", Does::Says(head("200 OK", "content-length: 5\r\n"))),
        ("not what it says it is", Does::Says([head("200 OK", gzip), b"not gzip!".to_vec()].concat())),
        (
            "chunks that are none",
            Does::Says([head("200 OK", "transfer-encoding: chunked\r\n"), b"zz\r\n".to_vec()].concat()),
        ),
        ("without an end", Does::Floods(head("200 OK", "connection: close\r\n"))),
        ("a gigabyte, it says", Does::Floods(head("200 OK", "content-length: 1073741824\r\n"))),
    ];
    let world = World::new().await;
    let mut asked = Vec::new();
    for (number, (_, does)) in cases.iter().enumerate() {
        let (port, receiver) = receiver(does.clone()).await;
        world.webhook(&format!("w{number}"), format!("http://127.0.0.1:{port}/")).await;
        asked.push(receiver);
    }
    let stage = world.start(config());
    world.announce(1).await;
    for (number, (case, _)) in cases.iter().enumerate() {
        let attempt = world.attempts(&format!("w{number}"), 1).await.remove(0);
        assert_eq!((attempt.outcome, attempt.status), (AttemptOutcome::Delivered, Some(200)), "{case}");
        assert!(attempt.took_ms < 5_000, "{case}: the head was there at once, {} ms", attempt.took_ms);
    }
    // A second event comes after the retries that a failure would have had.
    world.announce(2).await;
    for (number, (case, _)) in cases.iter().enumerate() {
        world.attempts(&format!("w{number}"), 2).await;
        let count = std::iter::from_fn(|| asked[number].try_recv().ok()).count();
        assert_eq!(count, 2, "{case}");
    }
    world.stop.cancel();
    stage.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_says_that_it_is_one() {
    let world = World::new().await;
    let (port, _asked) =
        receiver(Does::Says(head("308 Permanent Redirect", "location: /there\r\ncontent-length: 0\r\n")))
            .await;
    world.webhook("w", format!("http://127.0.0.1:{port}/")).await;
    let stage = world.start(config());
    world.announce(1).await;
    let attempt = world.attempts("w", 1).await.remove(0);
    assert_eq!((attempt.outcome, attempt.status), (AttemptOutcome::Failed, Some(308)));
    assert!(
        attempt.error.as_deref().is_some_and(|it| it.contains("308 is a redirect")),
        "{:?}",
        attempt.error
    );
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_before_a_webhook_was_enabled_again_is_not_sent() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|_| says(500)).await;
    world.webhook("w", format!("http://127.0.0.1:{port}/")).await;
    let stage = world.start(Config { test_retry_scale: Some(0.4), ..config() });
    world.announce(1).await;
    next(&mut inbox).await;
    world.change(|webhook| webhook.status = WebhookStatus::Disabled { reason: "by request".into() }).await;
    world
        .change(|webhook| {
            webhook.status = WebhookStatus::Enabled;
            webhook.enabled_at = now();
        })
        .await;
    let outcomes: Vec<_> = world.attempts("w", 2).await.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Failed, AttemptOutcome::SkippedFiltered]);
    assert!(inbox.try_recv().is_err(), "it was not asked again");
    stage.abort();
}

/// Nothing is delivered of a suspended project, and nothing is lost that the log keeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_project_s_deliveries_wait_in_the_log_until_it_is_resumed() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|_| says(200)).await;
    world.webhook("w", format!("http://127.0.0.1:{port}/")).await;
    world.project(Some(now())).await;
    let stage = world.start(config());
    for number in 1..=3 {
        world.announce(number).await;
    }
    // The stage reads: what it can't read comes to be set aside.
    world.put(b"no event".to_vec()).await;
    world.letter().await;
    assert!(inbox.try_recv().is_err(), "its project is suspended");
    world.project(None).await;
    let mut told = Vec::new();
    for _ in 1..=3 {
        told.push(next(&mut inbox).await.header("x-tributary-sequence").to_owned());
    }
    told.sort();
    assert_eq!(told, ["1", "2", "3"]);
    stage.abort();
}

/// Told to stop, an attempt has all the time that it would have had: it is not cut off and made again.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_an_attempt_is_given_its_deadline() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|_| async {
        tokio::time::sleep(Duration::from_millis(9_500)).await;
        says(200).await
    })
    .await;
    world.webhook("w", format!("http://127.0.0.1:{port}/")).await;
    let stage = world.start(config());
    world.announce(1).await;
    next(&mut inbox).await;
    let begun = Instant::now();
    world.stop.cancel();
    stage.await.unwrap().unwrap();
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(world.attempts("w", 1).await[0].outcome, AttemptOutcome::Delivered);
}
