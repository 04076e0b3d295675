//! A webhook's `ordering: record`: a record's events in their order, one at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tributary_schemas::{
    delivery::{AttemptOutcome, Delivery},
    entity::{Ordering, Webhook, WebhookStatus},
    framing::{self, SchemaIds},
    id::Sequence,
    resource::Resource,
    time::Timestamp,
};
use tributary_stages::{deliver::Config, kafka::Outgoing, store::Held};

use crate::{
    watcher::{Answer, Asked, names, next, place, take, watch},
    world::{World, config, event},
};

/// Retries come after a hundredth of their time.
fn hundredth() -> Config {
    Config { test_retry_scale: Some(0.01), ..config() }
}

/// 502 is tried again after 4 minutes at the least, scaled 2.4 s.
fn first_of_a_is_refused(asked: &Asked) -> (u16, Duration) {
    (if asked.name() == "a1/1" { 502 } else { 200 }, Duration::ZERO)
}

impl World {
    async fn ordered(&self, url: &str) {
        self.webhook_with("w", url.to_owned(), |it| it.ordering = Ordering::Record).await;
    }

    async fn held(&self, record: &str) -> Vec<Held> {
        let due = Timestamp::from_micros(0);
        let (webhook, event) = ("w".parse().unwrap(), event(record, 1));
        let delivery = Delivery { webhook, event, attempt: 1, due, position: None, appended: due };
        self.stores.control.held(&delivery.line(), Sequence(i64::MAX), 100).await.unwrap()
    }

    /// Returns when so many of a record's deliveries are parked.
    async fn until_held(&self, record: &str, count: usize) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let reached = async {
            while self.held(record).await.len() != count {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("held in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_failed_holds_back_its_own_events_and_no_others() {
    let world = World::new().await;
    let (url, mut inbox) = watch(first_of_a_is_refused).await;
    world.ordered(&url).await;
    let stage = world.start(hundredth());
    for (record, sequence) in [("a", 1), ("a", 2), ("b", 1), ("a", 3)] {
        world.announce_of(record, sequence).await;
    }
    let asked = take(&mut inbox, 5).await;
    let of_a: Vec<_> = asked.iter().filter(|it| it.record == "a").cloned().collect();
    assert_eq!(names(&of_a), ["a1/1", "a1/2", "a2/1", "a3/1"]);
    assert!(place(&asked, "b1/1") < place(&asked, "a1/2"), "{asked:?}");
    world.until_held("a", 0).await;
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_order_the_next_event_overtakes_the_one_that_failed() {
    let world = World::new().await;
    let (url, mut inbox) = watch(first_of_a_is_refused).await;
    world.webhook("w", url).await;
    let stage = world.start(hundredth());
    world.announce_of("a", 1).await;
    world.announce_of("a", 2).await;
    let asked = take(&mut inbox, 3).await;
    assert!(place(&asked, "a2/1") < place(&asked, "a1/2"), "{asked:?}");
    assert_eq!(world.held("a").await, [], "who asks for no order pays for none");
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_record_one_is_under_way_at_a_time_while_others_are_beside_it() {
    let world = World::new().await;
    let answer: Answer = |asked| {
        let failed = asked.sequence % 3 == 1 && asked.attempt == 1;
        (if failed { 500 } else { 200 }, Duration::from_millis(20))
    };
    let (url, mut inbox) = watch(answer).await;
    world.ordered(&url).await;
    let stage = world.start(hundredth());
    // Five failures in a row would be failing.
    let records = ["a", "b", "c"];
    for sequence in 1..=6 {
        for record in records {
            world.announce_of(record, sequence).await;
        }
    }
    let asked = take(&mut inbox, records.len() * 8).await;
    for record in records {
        let ours: Vec<_> = asked.iter().filter(|it| it.record == record).cloned().collect();
        let expected =
            ["1/1", "1/2", "2/1", "3/1", "4/1", "4/2", "5/1", "6/1"].map(|it| format!("{record}{it}"));
        assert_eq!(names(&ours), expected);
        assert!(ours.iter().all(|it| it.beside.0 == 0), "{ours:?}");
    }
    assert!(asked.iter().any(|it| it.beside.1 > 0), "other records do not wait for it");
    for record in records {
        world.until_held(record, 0).await;
    }
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_behind_does_not_come_past_what_it_waits_for() {
    let world = World::new().await;
    let (url, mut inbox) = watch(|_| (200, Duration::from_millis(300))).await;
    world.ordered(&url).await;
    // Nothing may wait in memory but one: all others are read again from the log.
    let stage = world.start(Config { memory_bytes: 1, ..hundredth() });
    for sequence in 1..=4 {
        world.announce_of("a", sequence).await;
    }
    let asked = take(&mut inbox, 4).await;
    assert_eq!(names(&asked), ["a1/1", "a2/1", "a3/1", "a4/1"]);
    assert!(asked.iter().all(|it| it.beside.0 == 0), "{asked:?}");
    world.until_held("a", 0).await;
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_keeps_the_order_that_the_one_before_has_begun() {
    let mut world = World::new().await;
    let (url, mut inbox) = watch(first_of_a_is_refused).await;
    world.ordered(&url).await;
    let stage = world.start(hundredth());
    world.announce_of("a", 1).await;
    assert_eq!(next(&mut inbox).await.name(), "a1/1");
    world.attempts("w", 1).await;
    world.stop.cancel();
    stage.await.unwrap().unwrap();

    world.stop = CancellationToken::new();
    let stage = world.start(hundredth());
    world.announce_of("a", 2).await;
    assert_eq!(names(&take(&mut inbox, 2).await), ["a1/2", "a2/1"]);
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(feature = "services"), ignore = "takes half a minute: tests/run runs it")]
async fn what_is_under_way_when_its_partition_goes_is_left_to_its_next_reader() {
    let world = World::new().await;
    let (url, mut inbox) = watch(|_| (200, Duration::from_secs(600))).await;
    // A webhook for each resource: one alone has two requests in flight until it answers.
    let resources: Vec<_> = Resource::ALL.into_iter().filter(|it| *it != Resource::Account).collect();
    for resource in &resources {
        let ordered = |it: &mut Webhook| {
            it.ordering = Ordering::Record;
            it.events = vec![format!("{resource}.updated").parse().unwrap()];
        };
        world.webhook_with(&format!("w-{resource}"), url.clone(), ordered).await;
    }
    let patient = || Config { deadline_seconds: 600, ..hundredth() };
    let first = world.start(patient());
    // A record in each partition: some of them go when another process joins.
    let mut announced = 0;
    for resource in resources {
        for partition in 0..2 {
            let mut event = event(&format!("{resource}-{partition}-"), 1);
            event.event.resource = resource;
            let record = Outgoing {
                topic: world.cluster.topics().unified_shared(resource),
                partition: Some(partition),
                payload: Some(framing::encode(&event, SchemaIds::default()).into()),
                ..Default::default()
            };
            world.publisher.send(record).await.unwrap();
            announced += 1;
        }
    }
    let before = names(&take(&mut inbox, announced).await);
    let second = world.start(patient());
    // Two rebalances and a drain: the broker takes its time.
    let again = tokio::time::timeout(Duration::from_secs(120), inbox.recv()).await.expect("in time").unwrap();
    assert!(before.contains(&again.name()), "{again:?}");
    assert_eq!(again.beside.0, 0, "{again:?}");
    first.abort();
    second.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_crash_left_goes_with_its_delivery_whatever_the_clock_it_was_written_by() {
    let world = World::new().await;
    let (url, mut inbox) = watch(|_| (200, Duration::ZERO)).await;
    world.ordered(&url).await;
    let later = Timestamp::from_micros(4_000_000_000_000_000);
    let (webhook, event) = ("w".parse().unwrap(), event("a", 1));
    let delivery = Delivery { webhook, event, attempt: 1, due: later, position: None, appended: later };
    let held = Held { sequence: Sequence(1), due: later };
    world.stores.control.hold(&delivery.line(), held, later).await.unwrap();
    let stage = world.start(hundredth());
    world.announce_of("a", 1).await;
    world.announce_of("a", 2).await;
    assert_eq!(names(&take(&mut inbox, 2).await), ["a1/1", "a2/1"]);
    world.until_held("a", 0).await;
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_skipped_holds_back_nobody_also_when_the_order_is_not_wanted_any_more() {
    let world = World::new().await;
    let (url, mut inbox) = watch(first_of_a_is_refused).await;
    world.ordered(&url).await;
    let stage = world.start(hundredth());
    world.announce_of("a", 1).await;
    world.until_held("a", 1).await;
    world
        .change(|webhook| {
            webhook.status = WebhookStatus::Disabled { reason: "by request".into() };
            webhook.ordering = Ordering::Unordered;
        })
        .await;
    assert_eq!(world.attempts("w", 2).await[1].outcome, AttemptOutcome::SkippedDisabled);
    assert_eq!(world.held("a").await, []);
    world
        .change(|webhook| {
            webhook.status = WebhookStatus::Enabled;
            webhook.ordering = Ordering::Record;
        })
        .await;
    // Until the stage has heard of it, nothing is wanted.
    let mut sequence = 1;
    let told = loop {
        sequence += 1;
        world.announce_of("a", sequence).await;
        if let Ok(asked) = tokio::time::timeout(Duration::from_millis(100), next(&mut inbox)).await
            && asked.sequence > 1
        {
            break asked;
        }
    };
    assert_eq!(told.attempt, 1);
    stage.abort();
}
