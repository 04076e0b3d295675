//! deliver over a broker in the process, to subscribers on loopback.

use axum::response::IntoResponse;
use http::StatusCode;
use tributary_core::deliver::sign;
use tributary_schemas::{delivery::AttemptOutcome, entity::WebhookStatus};
use tributary_stages::deliver::Config;

use crate::world::{SECRET, World, config, next, says, subscriber};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_comes_again_later_signed_and_under_the_same_id() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|number| says(if number == 0 { 500 } else { 204 })).await;
    world.webhook("w", format!("http://127.0.0.1:{port}/hook")).await;
    let stage = world.start(config());
    world.announce(1).await;
    let (first, second) = (next(&mut inbox).await, next(&mut inbox).await);
    for (attempt, got) in [("1", &first), ("2", &second)] {
        let (id, at) = (got.header("webhook-id"), got.header("webhook-timestamp"));
        sign::verify_standard(SECRET, id, at, &got.body, got.header("webhook-signature")).unwrap();
        sign::verify_compat(SECRET, &got.body, got.header("x-stackone-signature")).unwrap();
        assert_eq!(got.header("x-tributary-attempt"), attempt);
        assert_eq!(got.header("x-tributary-sequence"), "1");
        assert_eq!(got.header("content-type"), "application/json");
        assert!(
            got.body.starts_with(
                br#"{"project_id":"acme","account_id":"account","event":"hris_employees.updated""#
            )
        );
    }
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_ne!(first.body, second.body, "each attempt has its own sent_at");
    let outcomes: Vec<_> =
        world.attempts("w", 2).await.into_iter().map(|it| (it.attempt, it.status, it.outcome)).collect();
    assert_eq!(outcomes, [(1, Some(500), AttemptOutcome::Failed), (2, Some(204), AttemptOutcome::Delivered)]);
    world.stop.cancel();
    stage.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_hangs_holds_up_nobody_else() {
    let world = World::new().await;
    let (hanging, _asked) = subscriber(|_| std::future::pending()).await;
    let (quick, mut inbox) = subscriber(|_| says(200)).await;
    world.webhook("hanging", format!("http://127.0.0.1:{hanging}/")).await;
    world.webhook("quick", format!("http://127.0.0.1:{quick}/")).await;
    let stage = world.start(Config { deadline_seconds: 60, ..config() });
    for number in 0..50 {
        world.announce(number).await;
    }
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 50 {
        told.insert(next(&mut inbox).await.header("webhook-id").to_owned());
    }
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_and_a_redirect_is_not_followed() {
    let world = World::new().await;
    let (target, mut reached) = subscriber(|_| says(200)).await;
    let (gone, _) = subscriber(|_| says(410)).await;
    let location = format!("http://127.0.0.1:{target}/");
    let moved = move |_| {
        let location = location.clone();
        async move { (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response() }
    };
    let (moved, _) = subscriber(moved).await;
    world.webhook("gone", format!("http://127.0.0.1:{gone}/")).await;
    world.webhook("moved", format!("http://127.0.0.1:{moved}/")).await;
    let stage = world.start(config());
    world.announce(1).await;
    let attempt = world.attempts("moved", 1).await.remove(0);
    assert_eq!((attempt.status, attempt.outcome), (Some(307), AttemptOutcome::Failed));
    let attempt = world.attempts("gone", 1).await.remove(0);
    assert_eq!((attempt.status, attempt.outcome), (Some(410), AttemptOutcome::GivenUp));
    let disabled = WebhookStatus::Disabled { reason: "gone (410)".into() };
    world.until_webhook("gone", |webhook| webhook.status == disabled).await;
    assert!(reached.try_recv().is_err(), "the redirect was not followed");
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_inside_is_refused_unless_listed() {
    let world = World::new().await;
    let (port, mut reached) = subscriber(|_| says(200)).await;
    for (id, url) in
        [("name", format!("https://localhost:{port}/")), ("literal", format!("https://127.1:{port}/"))]
    {
        world.webhook(id, url).await;
    }
    let mut config = config();
    config.dial = Default::default();
    let stage = world.start(config);
    world.announce(1).await;
    // A name is not told where it leads; an address that was given may be named.
    for (id, said) in [("name", "may be called"), ("literal", "127.0.0.1 is not a global address")] {
        let attempt = world.attempts(id, 1).await.remove(0);
        let error = attempt.error.unwrap();
        assert!(error.contains(said), "{error}");
        assert_eq!((attempt.status, attempt.outcome), (None, AttemptOutcome::Failed));
    }
    assert!(reached.try_recv().is_err());
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_set_aside_and_the_partition_goes_on() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|_| says(200)).await;
    world.webhook("w", format!("http://127.0.0.1:{port}/")).await;
    let stage = world.start(config());
    world.put(b"no event".to_vec()).await;
    world.announce(1).await;
    assert_eq!(next(&mut inbox).await.header("x-tributary-sequence"), "1");
    let letter = world.letter().await;
    assert_eq!((&letter["topic"], &letter["offset"]), (&"unified.hris_employees".into(), &0.into()));
    assert!(letter["reason"].as_str().unwrap().contains("Confluent framing"), "{letter}");
    stage.abort();
}
