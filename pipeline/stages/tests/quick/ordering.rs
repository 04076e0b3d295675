//! A webhook's `ordering: record`: a record's events in their order, one at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tributary_schemas::{
    delivery::{AttemptOutcome, Delivery},
    entity::{Ordering, Webhook, WebhookStatus},
    id::Sequence,
    time::Timestamp,
};
use tributary_stages::{deliver::Config, entity::WriteError, store::Held};

use crate::world::{World, config, event, project};

/// One request that a subscriber got.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    record: String,
    sequence: i64,
    attempt: u32,
    /// Requests that were under way when it came: of its record, and of all.
    beside: (usize, usize),
}

impl Asked {
    fn name(&self) -> String {
        format!("{}{}/{}", self.record, self.sequence, self.attempt)
    }
}

/// A subscriber's answer to a request, and how long it takes.
type Answer = fn(&Asked) -> (u16, Duration);

/// A subscriber that sees what it is asked at the same time.
#[derive(Clone)]
struct Watcher {
    answer: Answer,
    under_way: Arc<Mutex<HashMap<String, usize>>>,
    asked: mpsc::UnboundedSender<Asked>,
}

/// A request of a record, until it is dropped.
struct UnderWay(Watcher, String);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.under_way.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

async fn watch(answer: Answer) -> (String, mpsc::UnboundedReceiver<Asked>) {
    async fn take(
        State(watcher): State<Watcher>,
        headers: HeaderMap,
        Json(body): Json<serde_json::Value>,
    ) -> StatusCode {
        let number = |name: &str| headers[name].to_str().unwrap().parse::<i64>().unwrap();
        let record = body["record_remote_id"].as_str().unwrap().to_owned();
        let beside = {
            let mut under_way = watcher.under_way.lock().unwrap();
            let all = under_way.values().sum();
            let ours = under_way.entry(record.clone()).or_default();
            *ours += 1;
            (*ours - 1, all)
        };
        let _under_way = UnderWay(watcher.clone(), record.clone());
        let (sequence, attempt) = (number("x-tributary-sequence"), number("x-tributary-attempt") as u32);
        let asked = Asked { record, sequence, attempt, beside };
        let (status, takes) = (watcher.answer)(&asked);
        let _ = watcher.asked.send(asked);
        tokio::time::sleep(takes).await;
        StatusCode::from_u16(status).unwrap()
    }
    let (asked, receiver) = mpsc::unbounded_channel();
    let watcher = Watcher { answer, under_way: Arc::default(), asked };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(take).with_state(watcher);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

async fn next(inbox: &mut mpsc::UnboundedReceiver<Asked>) -> Asked {
    tokio::time::timeout(Duration::from_secs(30), inbox.recv()).await.expect("a request in time").unwrap()
}

async fn take(inbox: &mut mpsc::UnboundedReceiver<Asked>, count: usize) -> Vec<Asked> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(next(inbox).await);
    }
    all
}

fn names(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(Asked::name).collect()
}

fn place(asked: &[Asked], name: &str) -> usize {
    names(asked).iter().position(|it| it == name).unwrap_or_else(|| panic!("{name} in {:?}", names(asked)))
}

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

    async fn change(&self, apply: impl Fn(&mut Webhook)) {
        let apply = |webhook: &mut Webhook| {
            apply(webhook);
            Ok::<_, WriteError>(())
        };
        self.writer.update(&project(), "w", apply).await.unwrap();
    }

    async fn held(&self, record: &str) -> Vec<Held> {
        let due = Timestamp::from_micros(0);
        let delivery = Delivery { webhook: "w".parse().unwrap(), event: event(record, 1), attempt: 1, due };
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
    let records = ["a", "b", "c", "d", "e"];
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
async fn what_a_full_queue_parks_does_not_come_past_what_it_waits_for() {
    let world = World::new().await;
    // Longer than what is parked takes to come back: 50 ms, and however long the broker takes.
    let (url, mut inbox) = watch(|_| (200, Duration::from_millis(1_500))).await;
    world.ordered(&url).await;
    let stage = world.start(Config { queue: 1, ..hundredth() });
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
async fn a_row_that_a_crash_left_goes_with_its_delivery_whatever_the_clock_it_was_written_by() {
    let world = World::new().await;
    let (url, mut inbox) = watch(|_| (200, Duration::ZERO)).await;
    world.ordered(&url).await;
    let later = Timestamp::from_micros(4_000_000_000_000_000);
    let delivery = Delivery { webhook: "w".parse().unwrap(), event: event("a", 1), attempt: 1, due: later };
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
