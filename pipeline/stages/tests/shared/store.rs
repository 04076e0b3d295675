//! What both implementations of the stores promise.

#[path = "api_store.rs"]
mod api_store;

use std::sync::atomic::{AtomicU32, Ordering};

use tributary_core::{
    cells::{Cell, CellKey, CellValue, Want},
    deliver::{
        blocks::Blocks,
        position::{RowFacts, Why},
        process::Row,
        record::Reader,
    },
};
use tributary_schemas::{
    delivery::Line,
    id::{AccountId, Bits, RecordHash, RecordKey, RemoteId, RunId, Sequence, WebhookId},
    observation::DeliveryId,
    resource::Resource,
    state::{At, Bucket, Head, Introduced, Known, RangeRow, State},
    time::Timestamp,
    wal::{Cut, Mutation},
};
use tributary_stages::store::{
    AttemptRow, Cas, ControlStore, EntityRef, Held, Kind, Lookup, StateStore, Stored, Stores, Unpublished,
    backlog::{Backlog, BacklogChange, BacklogStore, LogPartition},
};

/// An account that no other test has.
fn account() -> AccountId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("a{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().unwrap()
}

fn bucket(account: &AccountId, bits: u8, range: u32) -> Bucket {
    let (account, resource) = (account.clone(), Resource::HrisEmployees);
    Bucket { account, resource, bits: Bits::new(bits).unwrap(), range }
}

fn known(hash: u8) -> Known {
    Known {
        state: State::Live(RecordHash([hash; 16])),
        at: At::Run { run: RunId(1), begun_at: Timestamp::from_micros(1_700_000_000_000_000) },
        introduced: Introduced::Yes,
        sequence: None,
        remote_id: RemoteId::new("42"),
    }
}

fn record(bucket: &Bucket, key: u8, hash: Option<u8>) -> Mutation {
    let known = hash.map(known);
    Mutation::Record { bucket: bucket.clone(), key: RecordKey([key; 16]), known }
}

async fn held(store: &dyn StateStore, want: Want) -> Vec<(i64, CellValue)> {
    let mut cells = store.read(&[want]).await.unwrap();
    cells.sort_by(|a, b| a.key.cmp(&b.key));
    cells.into_iter().filter_map(|Cell { ts, value, .. }| Some((ts, value?))).collect()
}

pub(crate) async fn all(stores: &Stores) {
    the_later_timestamp_wins_in_any_order(&*stores.state).await;
    a_slice_is_its_bucket_s_records_and_row(&*stores.state).await;
    a_large_slice_is_read_whole(&*stores.state).await;
    marks_and_heads_are_read_back(&*stores.state).await;
    what_is_forgotten_is_gone_and_older_writes_never_show(&*stores.state).await;
    a_compare_and_set_has_one_winner(&*stores.control).await;
    only_its_last_claimant_writes_a_partition_s_rows(&*stores.backlog).await;
    a_webhook_fails_since_its_first_failure(&*stores.backlog).await;
    entities_are_listed_by_id_within_their_project(&*stores.control).await;
    changes_stay_registered_until_published(&*stores.control).await;
    lookups_find_until_removed(&*stores.control).await;
    poll_states_are_set_by_version(&*stores.control).await;
    attempts_are_listed_latest_first_and_by_delivery(&*stores.control).await;
    a_line_s_parked_deliveries_are_held_until_they_are_let_go(&*stores.control).await;
    api_store::all(stores).await;
}

async fn the_later_timestamp_wins_in_any_order(store: &dyn StateStore) {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let bucket = bucket(&account(), 2, 1);
        let writes = [
            (10, record(&bucket, 7, Some(1))),
            (11, record(&bucket, 7, None)),
            (12, record(&bucket, 7, Some(3))),
        ];
        let want = Want::Cell(CellKey::Record(bucket.clone(), RecordKey([7; 16])));
        for write in order {
            store.apply(&writes[write..=write]).await.unwrap();
        }
        store.apply(&writes[..2]).await.unwrap();
        assert_eq!(held(store, want).await, [(12, CellValue::Record(known(3)))], "{order:?}");
    }
    let bucket = bucket(&account(), 2, 1);
    store.apply(&[(11, record(&bucket, 7, None)), (10, record(&bucket, 7, Some(1)))]).await.unwrap();
    let want = Want::Cell(CellKey::Record(bucket.clone(), RecordKey([7; 16])));
    assert!(held(store, want).await.is_empty(), "an older write stays removed");
}

async fn a_slice_is_its_bucket_s_records_and_row(store: &dyn StateStore) {
    let account = account();
    let (ours, other) = (bucket(&account, 2, 1), bucket(&account, 2, 2));
    let row = RangeRow { live: 2, ..RangeRow::EMPTY };
    let writes = [
        (1, record(&ours, 1, Some(1))),
        (2, record(&ours, 2, Some(2))),
        (3, record(&other, 3, Some(3))),
        (4, Mutation::Range { bucket: ours.clone(), row: Some(row.clone()) }),
        (5, Mutation::Range { bucket: other.clone(), row: Some(RangeRow::EMPTY) }),
        (6, Mutation::Range { bucket: other, row: None }),
    ];
    store.apply(&writes).await.unwrap();
    let expected = [
        (1, CellValue::Record(known(1))),
        (2, CellValue::Record(known(2))),
        (4, CellValue::Range(row.clone())),
    ];
    assert_eq!(held(store, Want::Slice(ours)).await, expected);
    let ranges = store.ranges(&account, Resource::HrisEmployees).await.unwrap();
    assert_eq!((ranges.head, ranges.rows), (None, vec![(Bits::new(2).unwrap(), 1, row)]));
}

async fn a_large_slice_is_read_whole(store: &dyn StateStore) {
    let bucket = bucket(&account(), 0, 0);
    let writes: Vec<_> = (0..4_500u32)
        .map(|id| {
            let key = RemoteId::new(id.to_string()).key();
            (i64::from(id), Mutation::Record { bucket: bucket.clone(), key, known: Some(known(1)) })
        })
        .collect();
    store.apply(&writes).await.unwrap();
    assert_eq!(held(store, Want::Slice(bucket)).await.len(), 4_500);
}

async fn marks_and_heads_are_read_back(store: &dyn StateStore) {
    let account = account();
    let delivery = |id: &str| DeliveryId::Declared(id.into()).key().unwrap();
    let head =
        Head { last_full_run: Some(RunId(3)), bits: Bits::new(4).unwrap(), bits_before: None, moved: 0 };
    let writes = [
        (1, Mutation::Delivery { account: account.clone(), delivery: delivery("evt-1") }),
        (2, Mutation::Head { account: account.clone(), resource: Resource::HrisEmployees, head }),
    ];
    store.apply(&writes).await.unwrap();
    let key = |id| CellKey::Delivery { account: account.clone(), delivery: delivery(id) };
    assert_eq!(held(store, Want::Cell(key("evt-1"))).await, [(1, CellValue::Mark)]);
    assert!(held(store, Want::Cell(key("evt-2"))).await.is_empty());
    let head_of = CellKey::Head(account.clone(), Resource::HrisEmployees);
    assert_eq!(held(store, Want::Cell(head_of)).await, [(2, CellValue::Head(head))]);
    assert_eq!(store.ranges(&account, Resource::HrisEmployees).await.unwrap().head, Some(head));
}

async fn what_is_forgotten_is_gone_and_older_writes_never_show(store: &dyn StateStore) {
    let account = account();
    let bucket = bucket(&account, 1, 1);
    let head =
        Head { last_full_run: Some(RunId(3)), bits: Bits::new(1).unwrap(), bits_before: None, moved: 0 };
    let writes = [
        (10, record(&bucket, 1, Some(1))),
        (11, Mutation::Range { bucket: bucket.clone(), row: Some(RangeRow::EMPTY) }),
        (12, Mutation::Head { account: account.clone(), resource: Resource::HrisEmployees, head }),
    ];
    store.apply(&writes).await.unwrap();
    let cuts = vec![Cut { resource: Resource::HrisEmployees, bits: head.bits }];
    store.apply(&[(20, Mutation::Forget { account: account.clone(), cuts })]).await.unwrap();
    store.apply(&writes).await.unwrap();
    assert!(held(store, Want::Slice(bucket)).await.is_empty());
    let ranges = store.ranges(&account, Resource::HrisEmployees).await.unwrap();
    assert_eq!((ranges.head, ranges.rows), (None, vec![]));
    assert_eq!(held(store, Want::Cell(CellKey::Forgotten(account))).await, [(20, CellValue::Mark)]);
}

fn stored(version: u64) -> Stored {
    Stored { version, doc: format!("{{\"version\":{version}}}").into_bytes() }
}

async fn a_compare_and_set_has_one_winner(store: &dyn ControlStore) {
    let account = account();
    let entity = EntityRef { kind: Kind::Account, project: "p".parse().unwrap(), id: account.to_string() };
    assert_eq!(store.get(&entity).await.unwrap(), None);
    assert_eq!(store.put(&entity, None, &stored(1)).await.unwrap(), Cas::Done);
    assert_eq!(store.put(&entity, None, &stored(1)).await.unwrap(), Cas::Conflict);
    let (a, b) = (stored(2), stored(2));
    let (a, b) = tokio::join!(store.put(&entity, Some(1), &a), store.put(&entity, Some(1), &b));
    let won = [a.unwrap(), b.unwrap()].into_iter().filter(|cas| *cas == Cas::Done).count();
    assert_eq!(won, 1);
    assert_eq!(store.get(&entity).await.unwrap(), Some(stored(2)));
    assert_eq!(store.delete(&entity, 1).await.unwrap(), Cas::Conflict);
    assert_eq!(store.delete(&entity, 2).await.unwrap(), Cas::Done);
    assert_eq!(store.get(&entity).await.unwrap(), None);
}

async fn entities_are_listed_by_id_within_their_project(store: &dyn ControlStore) {
    let (ours, theirs) = (account(), account());
    let of = |project: &AccountId, id: &str| EntityRef {
        kind: Kind::Webhook,
        project: project.as_str().parse().unwrap(),
        id: id.into(),
    };
    for entity in [of(&ours, "c"), of(&ours, "a"), of(&ours, "b"), of(&theirs, "d")] {
        assert_eq!(store.put(&entity, None, &stored(1)).await.unwrap(), Cas::Done);
    }
    let project = ours.as_str().parse().unwrap();
    let list = async |after, limit| {
        let listed = store.list(Kind::Webhook, &project, after, limit).await.unwrap();
        listed.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, ["a", "b"]);
    assert_eq!(list(Some("b"), 2).await, ["c"]);
}

async fn changes_stay_registered_until_published(store: &dyn ControlStore) {
    let account = account();
    let entity = EntityRef { kind: Kind::Account, project: "p".parse().unwrap(), id: account.to_string() };
    let changes = [1, 2].map(|version| Unpublished {
        entity: entity.clone(),
        version,
        registered_at: Timestamp::from_micros(1_700_000_000_000_000 + version as i64),
    });
    for change in &changes {
        store.register(change).await.unwrap();
    }
    store.published(&changes[0]).await.unwrap();
    for (version, registered) in [(1, false), (2, true), (3, false)] {
        assert_eq!(store.is_registered(&entity, version).await.unwrap(), registered, "version {version}");
    }
    let open = store.unpublished().await.unwrap();
    assert_eq!(open.into_iter().filter(|it| it.entity == entity).collect::<Vec<_>>(), changes[1..]);
    store.published(&changes[1]).await.unwrap();
}

async fn lookups_find_until_removed(store: &dyn ControlStore) {
    let account = account();
    let project = "p".parse().unwrap();
    store.index(Lookup::Token, account.as_str(), &project, "x").await.unwrap();
    assert_eq!(store.find(Lookup::Token, account.as_str()).await.unwrap(), Some((project, "x".into())));
    assert_eq!(store.find(Lookup::ApiKey, account.as_str()).await.unwrap(), None);
    store.unindex(Lookup::Token, account.as_str()).await.unwrap();
    assert_eq!(store.find(Lookup::Token, account.as_str()).await.unwrap(), None);
}

async fn poll_states_are_set_by_version(store: &dyn ControlStore) {
    let account = account();
    let resource = Resource::HrisEmployees;
    assert_eq!(store.put_poll_state(&account, resource, None, &stored(1)).await.unwrap(), Cas::Done);
    assert_eq!(store.put_poll_state(&account, resource, None, &stored(1)).await.unwrap(), Cas::Conflict);
    assert_eq!(store.put_poll_state(&account, resource, Some(1), &stored(2)).await.unwrap(), Cas::Done);
    assert_eq!(store.poll_state(&account, resource).await.unwrap(), Some(stored(2)));
    store.delete_poll_states(&account).await.unwrap();
    assert_eq!(store.poll_state(&account, resource).await.unwrap(), None);
}

async fn attempts_are_listed_latest_first_and_by_delivery(store: &dyn ControlStore) {
    let webhook = account().as_str().parse().unwrap();
    let noon = 1_764_000_000_000_000;
    let attempt = |minute: i64, delivery: &str| AttemptRow {
        webhook: Clone::clone(&webhook),
        delivery: delivery.into(),
        at: Timestamp::from_micros(noon + minute * 60_000_000),
        doc: b"{}".to_vec(),
    };
    let (first, second, third) = (attempt(0, "d1"), attempt(1, "d2"), attempt(24 * 60, "d1"));
    store.add_attempts(&[first.clone(), second.clone(), third.clone()]).await.unwrap();
    let end = Timestamp::from_micros(noon + 3 * 86_400_000_000);
    assert_eq!(store.attempts(&webhook, end, 2).await.unwrap(), [third.clone(), second.clone()]);
    assert_eq!(store.attempts(&webhook, second.at, 9).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.attempts_of(&webhook, "d1").await.unwrap(), [first, third]);
}

async fn a_line_s_parked_deliveries_are_held_until_they_are_let_go(store: &dyn ControlStore) {
    let line = |record: u8| Line {
        webhook: "w".parse().unwrap(),
        account: account(),
        resource: Resource::HrisEmployees,
        record: RecordKey([record; 16]),
    };
    let time = |second: i64| Timestamp::from_micros(1_764_000_000_000_000 + second * 1_000_000);
    let (ours, theirs) = (line(0), line(1));
    let held = |sequence: i64, due: i64| Held { sequence: Sequence(sequence), due: time(due) };
    for (line, held) in
        [(&ours, held(2, 20)), (&ours, held(1, 10)), (&ours, held(3, 30)), (&theirs, held(0, 5))]
    {
        store.hold(line, held, time(1)).await.unwrap();
    }
    let until = async |sequence, limit| store.held(&ours, Sequence(sequence), limit).await.unwrap();
    assert_eq!(until(0, 9).await, []);
    assert_eq!(until(2, 9).await, [held(2, 20), held(1, 10)]);
    assert_eq!(until(9, 2).await, [held(3, 30), held(2, 20)]);

    store.hold(&ours, held(2, 99), time(2)).await.unwrap();
    store.hold(&ours, held(2, 20), time(1)).await.unwrap();
    assert_eq!(until(2, 1).await, [held(2, 99)], "the later note wins");
    store.let_go(&ours, Sequence(2), time(3)).await.unwrap();
    store.hold(&ours, held(2, 98), time(2)).await.unwrap();
    assert_eq!(
        until(3, 9).await,
        [held(3, 30), held(1, 10)],
        "a note that comes late does not outlive its delivery"
    );
    store.let_go(&ours, Sequence(4), time(3)).await.unwrap();
    store.hold(&ours, held(2, 40), time(4)).await.unwrap();
    assert_eq!(
        until(3, 9).await,
        [held(3, 30), held(2, 40), held(1, 10)],
        "asked for again, it is held again"
    );
}

fn backlog(webhook: &str, replay: Option<&str>, from: i64) -> Backlog {
    let reader = Reader { webhook: webhook.parse().unwrap(), replay: replay.map(Into::into) };
    let mut blocks = Blocks::from(from);
    blocks.mark(from + 5_000);
    let since = Timestamp::from_micros(1_764_000_000_000_001);
    let facts = RowFacts { why: Why::Slow, since, missed: 7, blocks };
    let row = Row { from, until: replay.map(|_| from + 10_000), facts };
    Backlog { reader, project: "acme".parse().unwrap(), row }
}

async fn only_its_last_claimant_writes_a_partition_s_rows(store: &dyn BacklogStore) {
    let webhook = account();
    let at = LogPartition { topic: format!("unified.{webhook}").into(), partition: 3 };
    let other = LogPartition { partition: 4, ..at.clone() };
    assert_eq!(store.backlogs(&at).await.unwrap(), []);
    let [live, replay] = [backlog(webhook.as_str(), None, 10), backlog(webhook.as_str(), Some("r1"), 20)];
    let put = [live.clone(), replay.clone()].map(BacklogChange::Put);
    assert!(!store.write_backlogs(&at, "nobody", &put).await.unwrap(), "nobody has claimed it");
    store.claim(&at, "one").await.unwrap();
    store.claim(&at, "one").await.unwrap();
    store.claim(&other, "one").await.unwrap();
    assert!(store.write_backlogs(&at, "one", &put).await.unwrap());
    assert!(store.write_backlogs(&at, "one", &put).await.unwrap(), "repeatable");
    let mut rows = store.backlogs(&at).await.unwrap();
    rows.sort_by(|a, b| a.reader.cmp(&b.reader));
    assert_eq!(rows, [live.clone(), replay.clone()]);
    let id = live.reader.webhook.clone();
    assert_eq!(store.backlogs_of(&id).await.unwrap().len(), 2);

    store.claim(&at, "two").await.unwrap();
    let remove = [BacklogChange::Remove(live.reader.clone())];
    assert!(!store.write_backlogs(&at, "one", &remove).await.unwrap(), "it is another's");
    assert_eq!(store.backlogs(&at).await.unwrap().len(), 2, "nothing of it was written");
    assert!(store.write_backlogs(&at, "two", &remove).await.unwrap());
    assert_eq!(store.backlogs(&at).await.unwrap(), std::slice::from_ref(&replay));
    assert_eq!(store.backlogs_of(&id).await.unwrap(), [(at.clone(), replay.clone())]);
    let remove = [BacklogChange::Remove(replay.reader)];
    assert!(store.write_backlogs(&at, "two", &remove).await.unwrap());
    assert_eq!(store.backlogs(&at).await.unwrap(), [], "an owner alone is no row");
    assert!(store.write_backlogs(&other, "one", &put).await.unwrap(), "each partition is its own");
}

async fn a_webhook_fails_since_its_first_failure(store: &dyn BacklogStore) {
    let webhook: WebhookId = account().as_str().parse().unwrap();
    let at = Timestamp::from_micros;
    assert_eq!(store.end_failing(&webhook).await.unwrap(), None);
    assert_eq!(store.begin_failing(&webhook, at(5)).await.unwrap(), (at(5), true));
    assert_eq!(store.begin_failing(&webhook, at(9)).await.unwrap(), (at(5), false));
    assert_eq!(store.end_failing(&webhook).await.unwrap(), Some(at(5)));
    assert_eq!(store.end_failing(&webhook).await.unwrap(), None);
    assert_eq!(store.begin_failing(&webhook, at(9)).await.unwrap(), (at(9), true));
}
