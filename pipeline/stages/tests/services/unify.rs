//! unify against real Kafka and a real database.

use std::{sync::Arc, time::Duration};

use tributary_core::cells::{Cell, CellKey, CellValue, Want};
use tributary_schemas::{
    codec,
    dead::DeadLetter,
    id::{AccountId, Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
    observation::{
        Absence, Announce, Baseline, Content, DeliveryId, Listed, NativePayload, NativeRequest, RangeListing,
        Run, Snapshot, Source, Summary,
    },
    resource::{Mode, Resource},
    state::Bucket,
    time::Timestamp,
    wal::Mutation,
};
use tributary_stages::{
    kafka::Incoming,
    store::{Ranges, StateStore, StoreError},
    unify::{
        dead::{self, Filter, Resent},
        loss::{BELIEVED, accept_loss},
        repair::{Repaired, repair},
    },
};

use crate::deployment::{Deployment, PATIENCE};

fn source(account: &str, provider: &str) -> Source {
    Source {
        project: "p".parse().unwrap(),
        account: account.parse().unwrap(),
        provider: provider.parse().unwrap(),
        origin_owner_id: Some("customer-7".into()),
    }
}

fn run(account: &str, number: u64) -> Run {
    Run {
        source: source(account, "demo"),
        resource: Resource::HrisEmployees,
        run: RunId(number),
        begun_at: Timestamp::from_micros(1_700_000_000_000_000 + number as i64 * 1_000_000),
        lasted: Duration::ZERO,
        projection: ProjectionVersion {
            identity: ProjectionDigest([1; 8]),
            content: ProjectionDigest([1; 8]),
        },
        baseline: Baseline { from: RunId(1), announce: Announce::Created },
        settle: Duration::ZERO,
        bits: Bits::new(0).unwrap(),
        id_prefix: "tr1!".into(),
        key_name: "id".into(),
    }
}

/// A full scan that found these records.
async fn scan(deployment: &Deployment, account: &str, number: u64, found: &[(&str, u8)]) {
    let run = run(account, number);
    let mut records: Vec<Listed> = found
        .iter()
        .map(|(id, hash)| Listed {
            remote_id: RemoteId::new(*id),
            content: Content::Hash(RecordHash([*hash; 16])),
        })
        .collect();
    records.sort_by_key(|listed| listed.remote_id.key());
    let summary = Summary { run: run.clone(), records: found.len() as u64, ranges_sent: 1 };
    let listing = RangeListing { run, range: 0, absence: Absence::Sure, records };
    for snapshot in [Snapshot::Summary(summary), Snapshot::Range(listing)] {
        deployment
            .publish(deployment.cluster.topics().poll_snapshots(), account, codec::encode(&snapshot))
            .await;
    }
}

fn native(account: &str, delivery: &str, body: &str) -> NativeRequest {
    NativeRequest {
        source: source(account, "demo"),
        received_at: Timestamp::from_micros(1_700_000_100_000_000),
        mode: Mode::NativeManual,
        headers: vec![("user-agent".into(), "demo".into())],
        body: body.as_bytes().to_vec().into(),
        delivery: DeliveryId::Declared(delivery.into()),
        payload: NativePayload::Full,
        id_prefix: "tr1!".into(),
        settle: Duration::from_secs(2),
        fetched: Vec::new(),
    }
}

/// What a record of `unify.dead` says is wrong with it.
fn letter(record: &Incoming) -> DeadLetter {
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), &value[..]));
    DeadLetter::from_headers(headers).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_announced_once_in_order_across_restarts_and_hand_overs() {
    let deployment = Deployment::new("unify").await;
    let mut events = deployment.unified(Resource::HrisEmployees);
    let mut seen = Vec::new();
    scan(&deployment, "a", 1, &[("1", 1), ("2", 2)]).await;
    let first = deployment.unify(0);
    for _ in 0..2 {
        seen.push(events.event().await);
    }
    scan(&deployment, "a", 2, &[("1", 9), ("2", 2)]).await;
    seen.push(events.event().await);
    first.stop().await;

    // A second process takes over, then a third shares with it.
    scan(&deployment, "a", 3, &[("1", 9)]).await;
    let second = deployment.unify(0);
    seen.push(events.event().await);
    let third = deployment.unify(1);
    for (number, account) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        scan(&deployment, account, 4 + number as u64, &[("1", 7)]).await;
        seen.push(events.event().await);
    }
    second.stop().await;
    scan(&deployment, "a", 10, &[("1", 8)]).await;
    seen.push(events.event().await);
    third.stop().await;

    let told = |event: &tributary_schemas::event::UnifiedEvent| {
        (event.account.to_string(), event.event.action.name(), event.previous_sequence.is_some())
    };
    let of_a: Vec<_> =
        seen.iter().map(told).filter(|(account, ..)| account == "a").map(|(_, a, b)| (a, b)).collect();
    assert_eq!(
        of_a,
        [
            ("created", false),
            ("created", false),
            ("updated", true),
            ("deleted", true),
            ("updated", true),
            ("updated", true)
        ]
    );
    let mut last = std::collections::HashMap::new();
    for event in &seen {
        let tributary_schemas::event::Subject::Record { record_id, .. } = &event.subject else {
            unreachable!()
        };
        let before = last.insert((event.account.clone(), record_id.clone()), event.sequence);
        assert_eq!(event.previous_sequence, before, "the chain is whole");
    }

    let bucket = Bucket {
        account: "a".parse().unwrap(),
        resource: Resource::HrisEmployees,
        bits: Bits::new(0).unwrap(),
        range: 0,
    };
    let cells = deployment.stores.state.read(&[Want::Slice(bucket.clone())]).await.unwrap();
    let row = cells.into_iter().find_map(|cell| match (cell.key, cell.value) {
        (CellKey::Range(_), Some(CellValue::Range(row))) => Some(row),
        _ => None,
    });
    assert_eq!(row.unwrap().live, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_request_speaks_once_and_what_can_t_be_read_is_set_aside() {
    let deployment = Deployment::new("native").await;
    let topics = deployment.cluster.topics().clone();
    let mut events = deployment.unified(Resource::HrisEmployments);
    let mut dead = deployment.reader(topics.unify_dead());
    let unify = deployment.unify(0);
    let body = |kind: &str, id: u32| {
        format!(
            r#"{{"id":"x","type":"employment.{kind}","occurred_at":"2026-11-01T10:00:00Z","employment":{{"id":{id}}}}}"#
        )
    };
    let send = async |request: &NativeRequest| {
        deployment.publish(topics.ingest_native(), "a", codec::encode(request)).await;
    };
    send(&native("a", "d1", &body("created", 1))).await;
    send(&native("a", "d1", &body("created", 1))).await;
    let without_id = native("a", "d2", r#"{"type":"employment.created","employment":{}}"#);
    let sent_dead = [b"\xffnonsense".to_vec(), codec::encode(&without_id)];
    for payload in sent_dead.clone() {
        deployment.publish(topics.ingest_native(), "a", payload).await;
    }
    send(&native("a", "d3", &body("updated", 1))).await;

    let created = events.event().await;
    assert_eq!(created.event.to_string(), "hris_employments.created");
    assert_eq!(created.event_date.to_string(), "2026-11-01T10:00:00.000Z");
    let updated = events.event().await;
    assert_eq!(updated.event.to_string(), "hris_employments.updated", "the second d1 was silent");
    assert_eq!(updated.previous_sequence, Some(created.sequence));
    for reason in ["undecodable", "unmappable"] {
        let record = dead.next().await;
        assert_eq!(&record.key[..], b"a", "a dead letter has its account's key");
        assert_eq!(letter(&record).reason, reason);
        assert!(sent_dead.contains(&record.payload.unwrap().to_vec()), "the whole input, to be sent again");
    }
    unify.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_s_late_scan_leaves_no_row_and_no_event() {
    let deployment = Deployment::new("forget").await;
    let mut events = deployment.unified(Resource::HrisEmployees);
    let unify = deployment.unify(0);
    scan(&deployment, "a", 1, &[("1", 1)]).await;
    assert_eq!(events.event().await.event.action.name(), "created");
    let forget = Snapshot::Forget(source("a", "demo"));
    deployment.publish(deployment.cluster.topics().poll_snapshots(), "a", codec::encode(&forget)).await;
    scan(&deployment, "a", 2, &[("1", 2), ("2", 2)]).await;
    // Another account's event, in the same partition or not, comes after: then the late scan has been decided or will be
    // by the time the partition's next is.
    for number in 1..3 {
        scan(&deployment, "a2", number, &[("1", number as u8)]).await;
        assert_eq!(events.event().await.account.as_str(), "a2");
    }
    let forgotten = Want::Cell(CellKey::Forgotten("a".parse().unwrap()));
    let begun = std::time::Instant::now();
    while deployment.stores.state.read(std::slice::from_ref(&forgotten)).await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let ranges =
        deployment.stores.state.ranges(&"a".parse().unwrap(), Resource::HrisEmployees).await.unwrap();
    assert_eq!((ranges.head, ranges.rows), (None, vec![]));
    unify.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_is_listed_and_sent_again_once_however_often_that_is_asked() {
    let deployment = Deployment::new("redrive").await;
    let (cluster, topics) = (deployment.cluster.clone(), deployment.cluster.topics().clone());
    let mut inputs = deployment.reader(topics.ingest_native());
    let mut letters = deployment.reader(topics.unify_dead());
    let unify = deployment.unify(0);
    let body = |id: u32| format!(r#"{{"type":"employment.created","employment":{{"id":{id}}}}}"#);
    let unmappable = |account, id: u32| {
        let request = native(account, &format!("d{id}"), &body(id));
        codec::encode(&NativeRequest { source: source(account, "nobody"), ..request })
    };
    let sent = [("a", unmappable("a", 1)), ("a", b"\xffnonsense".to_vec()), ("b", unmappable("b", 2))];
    for (account, payload) in sent.clone() {
        deployment.publish(topics.ingest_native(), account, payload).await;
    }
    for _ in &sent {
        letter(&letters.next().await);
    }
    unify.stop().await;

    let list = async |filter: Filter| {
        let cluster = cluster.clone();
        tokio::task::spawn_blocking(move || dead::list(&cluster, &filter)).await.unwrap().unwrap()
    };
    let redrive = async |filter: Filter| {
        let cluster = cluster.clone();
        tokio::task::spawn_blocking(move || dead::redrive(&cluster, &filter)).await.unwrap()
    };
    let all = list(Filter::default()).await;
    let of_a = Filter { account: Some("a".parse().unwrap()), ..Filter::default() };
    let unmappable_of_a = Filter { reason: Some("unmappable".into()), ..of_a.clone() };
    let since_last = Filter { since: Some(all[2].letter.at), ..Filter::default() };
    let before_first = Filter { until: Some(all[0].letter.at), ..Filter::default() };
    for (rule, filter, found) in [
        ("all", Filter::default(), 3),
        ("by account", of_a, 2),
        ("by account and reason", unmappable_of_a.clone(), 1),
        ("none before the first", before_first, 0),
    ] {
        let listed = list(filter).await;
        assert_eq!(listed.len(), found, "{rule}");
        assert!(listed.iter().all(|it| it.redriven.is_none() && it.bytes > 0), "{rule}");
    }
    assert!((1..=3).contains(&list(since_last).await.len()), "those of one batch have one time");

    // Two at a time: one may be ended by the other. Then once more.
    let (one, other) = tokio::join!(redrive(unmappable_of_a.clone()), redrive(unmappable_of_a.clone()));
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    let again = redrive(unmappable_of_a.clone()).await.unwrap();
    assert_eq!(again, Resent { sent: 0, before: 1, empty: 0 });
    assert!(list(unmappable_of_a).await[0].redriven.is_some());
    let rest = redrive(Filter::default()).await.unwrap();
    assert_eq!(rest, Resent { sent: 2, before: 1, empty: 0 });

    let mut of_a = Vec::new();
    for _ in 0..6 {
        let input = inputs.next().await;
        if &input.key[..] == b"a" {
            of_a.push(input.payload.unwrap().to_vec());
        }
    }
    let [(_, first), (_, second), _] = sent;
    assert_eq!(of_a, [first.clone(), second.clone(), first, second], "each once more, as it came");

    // What is still wrong is set aside anew, under a letter of its own.
    let unify = deployment.unify(0);
    let mut anew = Vec::new();
    while anew.len() < 3 {
        let record = letters.next().await;
        // The others say what was sent again.
        if record.payload.is_some() {
            anew.push(letter(&record).reason);
        }
    }
    anew.sort();
    assert_eq!(anew, ["undecodable", "unmappable", "unmappable"]);
    unify.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_state_can_t_be_read_is_set_aside_alone_and_goes_on_once_it_is_repaired() {
    let deployment = Deployment::new("repair").await;
    let mut events = deployment.unified(Resource::HrisEmployees);
    let mut letters = deployment.reader(deployment.cluster.topics().unify_dead());
    let unify = deployment.unify(0);
    for account in ["a", "other"] {
        scan(&deployment, account, 1, &[("1", 1), ("2", 1)]).await;
        events.event().await;
        events.event().await;
    }
    unify.stop().await;
    let key = hex(&RemoteId::new("1").key().0);
    let bucket = "account = 'a' AND resource = 'hris_employees' AND bits = 0 AND range = 0";
    deployment
        .execute(&format!("UPDATE ks.records SET v = 0x02ff WHERE {bucket} AND record_key = 0x{key}"))
        .await;
    let unify = deployment.unify(0);
    scan(&deployment, "a", 2, &[("1", 1), ("2", 2)]).await;
    assert_eq!(letter(&letters.next().await).reason, "unreadable_state");
    scan(&deployment, "other", 2, &[("1", 1), ("2", 2)]).await;
    assert_eq!(events.event().await.account.as_str(), "other", "it is that account's trouble alone");

    let (state, account) = (deployment.stores.state.clone(), "a".parse().unwrap());
    let repaired = repair(&*state, &account).await.unwrap();
    assert_eq!(repaired, Repaired { records: 1, rows: 0, heads: 0, miscounted: 0 });
    assert_eq!(repair(&*state, &account).await.unwrap(), Repaired { miscounted: 1, ..Repaired::default() });
    let row = state.ranges(&account, Resource::HrisEmployees).await.unwrap().rows.remove(0).2;
    assert_eq!(row.live, 2, "it differs from whatever is listed, by its sum");

    let of_a = Filter { account: Some(account), ..Filter::default() };
    let (cluster, all) = (deployment.cluster.clone(), of_a.clone());
    let set_aside = tokio::task::spawn_blocking(move || dead::list(&cluster, &all)).await.unwrap().unwrap();
    let cluster = deployment.cluster.clone();
    let resent = tokio::task::spawn_blocking(move || dead::redrive(&cluster, &of_a)).await.unwrap().unwrap();
    assert_eq!(resent.sent, set_aside.len(), "the summary too, where it was in one batch with the range");
    let mut told = [events.event().await, events.event().await].map(|event| event.event.action.name());
    told.sort_unstable();
    assert_eq!(told, ["created", "updated"], "what nothing was known of is told again");
    unify.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_and_a_row_that_can_t_be_read_are_made_anew() {
    let deployment = Deployment::new("outline").await;
    let mut events = deployment.unified(Resource::HrisEmployees);
    let unify = deployment.unify(0);
    scan(&deployment, "a", 1, &[("1", 1)]).await;
    events.event().await;
    unify.stop().await;
    let (state, account): (_, AccountId) = (deployment.stores.state.clone(), "a".parse().unwrap());
    let before = state.ranges(&account, Resource::HrisEmployees).await.unwrap();
    let of = "WHERE account = 'a' AND resource = 'hris_employees'";
    deployment.execute(&format!("UPDATE ks.ranges SET head = 0x02ff {of}")).await;
    let error = state.ranges(&account, Resource::HrisEmployees).await.unwrap_err();
    assert!(format!("{:#}", anyhow::Error::from(error)).contains("tributary unify repair a"));
    assert_eq!(repair(&*state, &account).await.unwrap(), Repaired { heads: 1, ..Repaired::default() });
    assert_eq!(state.ranges(&account, Resource::HrisEmployees).await.unwrap(), before);
    deployment.execute(&format!("UPDATE ks.ranges SET v = 0x02ff {of} AND bits = 0 AND range = 0")).await;
    assert_eq!(repair(&*state, &account).await.unwrap(), Repaired { rows: 1, ..Repaired::default() });
    let after = state.ranges(&account, Resource::HrisEmployees).await.unwrap();
    assert_eq!((after.head, after.rows), (before.head, vec![]), "the range has no baseline any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_lost_something_halts_and_goes_on_once_that_is_accepted() {
    let deployment = Deployment::new("loss").await;
    let mut events = deployment.unified(Resource::HrisEmployees);
    let first = deployment.unify_on(0, Arc::new(Stuck(deployment.stores.state.clone())));
    scan(&deployment, "a", 1, &[("1", 1)]).await;
    let created = events.event().await;
    first.stop().await;
    // What was committed and not applied is trimmed away.
    let wal = deployment.cluster.topics().unify_wal();
    let partition = deployment.trim(&wal).await;
    let second = deployment.unify(0);
    scan(&deployment, "a", 2, &[("1", 2)]).await;
    let state = deployment.stores.state.clone();
    let (loss, accepted) =
        accept_loss(&deployment.cluster, &*state, partition, BELIEVED).await.unwrap().expect("a loss");
    assert_eq!(loss.kind.name(), "unapplied");
    assert!(loss.to_string().contains(&format!("tributary unify accept-loss {partition}")), "{loss}");
    assert!(accepted.metadata.last_ts >= created.sequence.0);
    // It had halted, and looks again.
    let again = events.event().await;
    assert_eq!(again.event.action.name(), "created", "that it had been told was lost");
    assert!(again.sequence > created.sequence);
    assert_eq!(accept_loss(&deployment.cluster, &*state, partition, BELIEVED).await.unwrap(), None);
    second.stop().await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A store that takes writes and never finishes them: its process dies between commit and apply.
struct Stuck(Arc<dyn StateStore>);

#[async_trait::async_trait]
impl StateStore for Stuck {
    async fn read(&self, wants: &[Want]) -> Result<Vec<Cell>, StoreError> {
        self.0.read(wants).await
    }
    async fn apply(&self, mutations: &[(i64, Mutation)]) -> Result<(), StoreError> {
        if mutations.is_empty() { Ok(()) } else { std::future::pending().await }
    }
    async fn outline(&self, account: &AccountId) -> Result<Vec<Cell>, StoreError> {
        self.0.outline(account).await
    }
    async fn ranges(&self, account: &AccountId, resource: Resource) -> Result<Ranges, StoreError> {
        self.0.ranges(account, resource).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_but_not_applied_is_replayed() {
    let deployment = Deployment::new("replay").await;
    let mut events = deployment.unified(Resource::HrisEmployees);
    let first = deployment.unify_on(0, Arc::new(Stuck(deployment.stores.state.clone())));
    scan(&deployment, "a", 1, &[("1", 1)]).await;
    let created = events.event().await;
    // What it has announced it knows itself, though the store does not.
    scan(&deployment, "a", 2, &[("1", 2)]).await;
    let updated = events.event().await;
    assert_eq!(updated.previous_sequence, Some(created.sequence));
    let ranges =
        deployment.stores.state.ranges(&"a".parse().unwrap(), Resource::HrisEmployees).await.unwrap();
    assert_eq!((ranges.head, ranges.rows), (None, vec![]), "nothing was applied");
    first.stop().await;

    let second = deployment.unify(0);
    scan(&deployment, "a", 3, &[("1", 2)]).await;
    scan(&deployment, "a", 4, &[("1", 3)]).await;
    let next = events.event().await;
    assert_eq!((next.event.action.name(), next.previous_sequence), ("updated", Some(updated.sequence)));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_large_for_its_topic_is_set_aside_and_the_batch_goes_on() {
    let deployment = Deployment::new("large").await;
    let topics = deployment.cluster.topics().clone();
    let mut events = deployment.unified(Resource::HrisEmployments);
    let mut dead = deployment.reader(topics.unify_dead());
    // The body goes into the event twice: as raw_event, and what of it maps as event_data.
    let body = |id: u32, title: &str| {
        format!(r#"{{"type":"employment.created","employment":{{"id":{id},"job_title":"{title}"}}}}"#)
    };
    for (id, title) in [(1, "Engineer".to_owned()), (2, "x".repeat(5 << 20)), (3, "Analyst".to_owned())] {
        let request = native("a", &format!("d{id}"), &body(id, &title));
        deployment.publish(topics.ingest_native(), "a", codec::encode(&request)).await;
    }
    let unify = deployment.unify(0);
    for id in ["1", "3"] {
        let event = events.event().await;
        assert!(
            format!("{:?}", event.subject).contains(&format!("RemoteId({id:?})")),
            "{id}: {:?}",
            event.event_id
        );
    }
    assert_eq!(letter(&dead.next().await).reason, "too_large");
    unify.stop().await;
}
