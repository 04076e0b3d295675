//! A partition's ledger, inbox and overlay, batch by batch; and whose turn it is.

use std::time::Duration;

use tributary_schemas::{
    id::{Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
    observation::{
        Absence, Announce, Baseline, Content, Listed, RangeListing, Run, Snapshot, Source, Summary,
    },
    resource::Resource,
    time::Timestamp,
    wal::{CommitMetadata, Idle, InputPosition, Twin},
};

use super::{
    batch::{Share, Turn, due, pick},
    decide::Input,
    inbox::Inbox,
    overlay::Overlay,
    partition::{Partition, Phase, Reading},
    *,
};
use crate::cells::Cells;

fn run(number: u64) -> Run {
    Run {
        source: Source {
            project: "p".parse().unwrap(),
            account: "a".parse().unwrap(),
            provider: "demo".parse().unwrap(),
            origin_owner_id: None,
        },
        resource: Resource::HrisEmployees,
        run: RunId(number),
        begun_at: Timestamp::from_micros(number as i64 * 1_000_000_000),
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

fn scan(number: u64, hash: u8) -> [Received; 2] {
    let summary = Summary { run: run(number), records: 1, ranges_sent: 1 };
    let content = Content::Hash(RecordHash([hash; 16]));
    let records = vec![Listed { remote_id: RemoteId::new("42"), content }];
    let listing = RangeListing { run: run(number), range: 0, absence: Absence::Sure, records };
    let offset = number as i64 * 2;
    let given = |offset, snapshot| received(Twin::Snapshots, offset, Ok(Input::Snapshot(snapshot)));
    [given(offset, Snapshot::Summary(summary)), given(offset + 1, Snapshot::Range(listing))]
}

fn received(twin: Twin, offset: i64, input: Result<Input, Dead>) -> Received {
    let position = InputPosition { twin, partition: 3, offset };
    let message = Message { key: Vec::new(), payload: Default::default(), input };
    Received { position, epoch: 1, bytes: 1, permit: Memory::new(0).permit(0), message }
}

fn recovered() -> Recovered {
    let told = Some(CommitMetadata { wal_applied: 100, last_ts: 50, idle: Idle::No });
    Recovered { native: 5, snapshots: 2, wal_applied: 100, told, last_ts: 50 }
}

fn reading(recovered: Recovered) -> Reading {
    let ledger = Ledger::new(3, recovered);
    Reading { ledger, inbox: Inbox::default(), overlay: Overlay::default(), told_at: Duration::ZERO }
}

/// Decides a batch with what is announced and not applied, and nothing that is stored.
fn decided(reading: &Reading, batch: &[Received], now: i64) -> Plan {
    let mut known = Cells::default();
    let inputs = || batch.iter().filter_map(|it| it.message.input.as_ref().ok());
    let first: Vec<_> = inputs().flat_map(Input::first_wants).collect();
    reading.overlay.pick(&first, &mut known);
    let then: Vec<_> = inputs().flat_map(|input| input.then_wants(&known)).collect();
    reading.overlay.pick(&then, &mut known);
    plan(&reading.ledger, batch, &mut known, Timestamp::from_micros(now), usize::MAX)
}

/// Commits a plan, with these offsets of its WAL records. Gives the offsets that are to be applied.
fn commit(reading: &mut Reading, plan: &Plan, offsets: &[i64]) -> Vec<i64> {
    let records = reading.commit(plan.committed(offsets), &Memory::new(usize::MAX), Duration::ZERO);
    records.into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn a_batch_sees_what_came_before_it_though_nothing_was_applied() {
    let mut reading = reading(recovered());
    let first = decided(&reading, &scan(1, 1), 10);
    let events: Vec<_> = first.steps.iter().flat_map(|step| &step.events).cloned().collect();
    assert_eq!(events.iter().map(|it| it.event.to_string()).collect::<Vec<_>>(), ["hris_employees.created"]);
    assert_eq!(
        first.next,
        (5, 4),
        "the native twin's offset is committed too, though nothing of it was read"
    );
    assert_eq!(commit(&mut reading, &first, &[100, 101]), [100, 101]);
    let second = decided(&reading, &scan(2, 2), 10);
    let changed = second.steps.iter().flat_map(|step| &step.events).next().unwrap();
    assert_eq!(changed.event.to_string(), "hris_employees.updated");
    assert_eq!(changed.previous_sequence, Some(events[0].sequence));
}

#[test]
fn a_batch_ends_with_the_message_that_makes_its_events_many() {
    let reading = reading(recovered());
    let batch: Vec<_> = (1..=3).flat_map(|number| scan(number, number as u8)).collect();
    for (most, messages, next) in [(1, 2, (5, 4)), (2, 4, (5, 6)), (3, 6, (5, 8)), (9, 6, (5, 8))] {
        let plan = plan(&reading.ledger, &batch, &mut Cells::default(), Timestamp::from_micros(10), most);
        assert_eq!((plan.steps.len(), plan.next), (messages, next), "at most {most}");
    }
}

#[test]
fn timestamps_never_go_back_though_the_clock_does() {
    let mut reading = reading(recovered());
    let mut last = reading.ledger.last_ts();
    for (number, now) in [(1, 1_000), (2, 10), (3, -5)] {
        let plan = decided(&reading, &scan(number, number as u8), now);
        for step in &plan.steps {
            assert!(step.wal.ts > last, "{} after {last}", step.wal.ts);
            last = last.max(step.wal.last_ts());
        }
        assert_eq!(plan.metadata.last_ts, last);
        let offset = 100 + 10 * number as i64;
        commit(&mut reading, &plan, &[offset, offset + 1]);
    }
}

#[test]
fn applied_advances_over_the_contiguous_prefix_only() {
    let mut reading = reading(recovered());
    for (number, offsets) in [(1, [100, 101]), (2, [103, 104])] {
        let plan = decided(&reading, &scan(number, number as u8), 10);
        commit(&mut reading, &plan, &offsets);
    }
    let applied = |reading: &Reading| (reading.ledger.wal_applied(), reading.ledger.lag());
    assert_eq!(applied(&reading), (100, 4));
    reading.applied(&[103, 104]);
    assert_eq!(applied(&reading), (100, 4));
    reading.applied(&[100]);
    assert_eq!(applied(&reading), (101, 3));
    reading.applied(&[101]);
    assert_eq!(applied(&reading), (105, 0));
    assert!(reading.overlay.is_empty(), "the store has it all");
    let mut known = Cells::default();
    let wants: Vec<_> =
        scan(1, 1).iter().flat_map(|it| it.message.input.as_ref().unwrap().first_wants()).collect();
    reading.overlay.pick(&wants, &mut known);
    assert!(known.is_empty());
}

#[test]
fn that_all_is_applied_is_told_and_not_that_it_is_when_the_transaction_adds_to_it() {
    let mut reading = reading(recovered());
    assert!(reading.ledger.has_news(), "what was told says that something may not be applied");
    let standing = |reading: &Reading| reading.ledger.metadata(reading.ledger.last_ts(), Adds::Nothing);
    assert_eq!(standing(&reading).idle, Idle::Yes);
    let plan = decided(&reading, &scan(1, 1), 10);
    assert_eq!(plan.metadata.idle, Idle::No, "it adds two records");
    commit(&mut reading, &plan, &[100, 101]);
    assert_eq!(standing(&reading).idle, Idle::No, "they are not applied");
    reading.applied(&[100, 101]);
    assert_eq!((standing(&reading).idle, reading.ledger.has_news()), (Idle::Yes, true));
    let told = decided(&reading, &[], 10);
    commit(&mut reading, &told, &[]);
    assert!(!reading.ledger.has_news());
}

#[test]
fn a_message_that_can_t_be_read_is_set_aside_and_the_next_is_decided() {
    let reading = reading(recovered());
    let dead = Dead { reason: "undecodable", detail: "an empty snapshot".into() };
    let mut batch = vec![received(Twin::Native, 9, Err(dead.clone()))];
    batch.extend(scan(1, 1));
    let plan = decided(&reading, &batch, 10);
    assert_eq!(plan.steps[0].dead, Some(dead));
    assert!(plan.steps[0].wal.mutations.is_empty());
    assert_eq!(plan.steps[2].events.len(), 1);
    assert_eq!(plan.next, (10, 4));
}

/// A partition that is read, with so many messages of 40 bytes of each twin.
fn waiting(native: i64, scans: i64) -> Partition {
    let mut partition = Partition::new(3, 1);
    partition.phase = Phase::Reading(Box::new(reading(recovered())));
    let dead = || Err(Dead { reason: "undecodable", detail: String::new() });
    for (twin, from, number) in [(Twin::Native, 5, native), (Twin::Snapshots, 2, scans)] {
        for offset in from..from + number {
            let message = Received { bytes: 40, ..received(twin, offset, dead()) };
            partition.push(message, Duration::ZERO);
        }
    }
    partition
}

const LIMITS: Limits = Limits { linger: Duration::from_millis(5), bytes: 200, messages: 10, events: 10 };

/// What a batch takes: the partition, and how many native messages and scans.
fn picked(
    partitions: &std::collections::BTreeMap<i32, Partition>,
    turn: &mut Turn,
) -> Vec<(i32, usize, usize)> {
    let shares = pick(partitions, &LIMITS, &Memory::new(usize::MAX), turn);
    shares.into_iter().map(|Share { partition, taken, .. }| (partition, taken.native, taken.scans)).collect()
}

#[test]
fn messages_of_another_assignment_or_decided_before_are_not_taken_in() {
    for (offset, epoch, taken) in [(2, 1, 1), (1, 1, 0), (2, 0, 0)] {
        let mut partition = waiting(0, 0);
        let dead = Err(Dead { reason: "undecodable", detail: String::new() });
        partition.push(Received { epoch, ..received(Twin::Snapshots, offset, dead) }, Duration::ZERO);
        assert_eq!(partition.reading().unwrap().inbox.len(), taken, "{offset} under {epoch}");
    }
}

#[test]
fn partitions_take_turns_and_each_has_its_part() {
    let partitions = [(1, waiting(9, 0)), (2, waiting(1, 0)), (3, waiting(9, 0))].into();
    let mut turn = Turn::default();
    assert_eq!(
        picked(&partitions, &mut turn),
        [(1, 3, 0), (2, 1, 0), (3, 1, 0)],
        "what is left goes to the first"
    );
    assert_eq!(picked(&partitions, &mut turn), [(2, 1, 0), (3, 3, 0), (1, 1, 0)]);
}

#[test]
fn native_goes_first_but_every_fourth_batch_takes_scans() {
    let partitions = [(1, waiting(9, 9))].into();
    let mut turn = Turn::default();
    let batches: Vec<_> = (0..5).flat_map(|_| picked(&partitions, &mut turn)).collect();
    assert_eq!(batches, [(1, 5, 0), (1, 5, 0), (1, 5, 0), (1, 0, 5), (1, 5, 0)]);
}

#[test]
fn a_batch_is_due_after_the_linger_or_when_it_is_large_and_waits_for_the_store_when_memory_is_full() {
    let memory = Memory::new(100);
    assert_eq!(due(&[(1, waiting(0, 0))].into(), &LIMITS, &memory), None);
    assert_eq!(due(&[(1, waiting(1, 0))].into(), &LIMITS, &memory), Some(LIMITS.linger));
    assert_eq!(due(&[(1, waiting(9, 0))].into(), &LIMITS, &memory), Some(Duration::ZERO));
    let mut full = waiting(9, 0);
    let reading = full.reading_mut().unwrap();
    let plan = decided(reading, &scan(1, 1), 10);
    let _records = reading.commit(plan.committed(&[100, 101]), &memory, Duration::ZERO);
    assert!(memory.is_full());
    assert_eq!(due(&[(1, full)].into(), &LIMITS, &memory), None);
    assert_eq!(memory.held(), 0, "a partition that goes gives back what it held");
}

#[test]
fn what_was_refused_alone_is_set_aside_and_of_several_half_are_tried() {
    let now = Now { wall: Timestamp::from_micros(10), uptime: Duration::from_secs(1) };
    let mut lane = Lane::new(LIMITS, Memory::new(usize::MAX));
    begin(&mut lane, now);
    for offset in 2..6 {
        let [summary, _] = scan(offset as u64, 1);
        let position = InputPosition { offset, ..summary.position };
        lane.on(Event::Message(Box::new(Received { position, ..summary })), now);
    }
    let dead = Dead { reason: "too_large", detail: String::new() };
    let mut at = now.uptime;
    let mut sizes = Vec::new();
    for _ in 0..5 {
        at += Duration::from_secs(2);
        let transaction = commits(&mut lane, Now { uptime: at, ..now });
        let steps = &transaction.parts[0].plan.steps;
        sizes.push((steps.len(), steps.iter().filter(|step| step.dead.is_some()).count()));
        let positions = steps.iter().map(|step| step.wal.input).collect();
        let refused = Abort::Refused(positions, dead.clone());
        lane.on(Event::Ended(Outcome::Aborted(refused)), Now { uptime: at, ..now });
    }
    assert_eq!(sizes, [(4, 0), (2, 0), (1, 0), (1, 1), (1, 1)]);
}

#[test]
fn a_lane_whose_transactions_come_to_nothing_waits_between_them() {
    let now = |millis| Now { wall: Timestamp::from_micros(10), uptime: Duration::from_millis(millis) };
    let mut lane = Lane::new(LIMITS, Memory::new(usize::MAX));
    begin(&mut lane, now(0));
    let dead = Err(Dead { reason: "undecodable", detail: String::new() });
    lane.on(Event::Message(Box::new(received(Twin::Native, 5, dead))), now(0));
    drop(commits(&mut lane, now(100)));
    let actions = lane.on(Event::Ended(Outcome::Aborted(Abort::Again)), now(100));
    assert!(actions.is_empty(), "not at once: {actions:?}");
    assert_eq!(lane.wake(), Some(now(110).uptime));
    drop(commits(&mut lane, now(110)));
    lane.on(Event::Ended(Outcome::Aborted(Abort::Again)), now(110));
    assert_eq!(lane.wake(), Some(now(130).uptime), "twice as long");
}

#[test]
fn a_quiet_partition_tells_beside_a_busy_one_and_at_a_stop() {
    let now = |seconds| Now { wall: Timestamp::from_micros(10), uptime: Duration::from_secs(seconds) };
    let mut lane = Lane::new(LIMITS, Memory::new(usize::MAX));
    begin(&mut lane, now(0));
    let standing = commits(&mut lane, now(30));
    assert_eq!(standing.parts[0].plan.metadata.idle, Idle::Yes);
    lane.on(Event::Ended(Outcome::Committed(Vec::new())), now(30));
    assert!(lane.on(Event::Tick, now(3_000)).is_empty(), "nothing new");
    let [summary, _] = scan(1, 1);
    lane.on(Event::Message(Box::new(summary)), now(3_000));
    let transaction = commits(&mut lane, now(3_001));
    let committed = lane.on(Event::Ended(Outcome::Committed(vec![100])), now(3_001));
    assert!(matches!(committed[..], [Action::Apply { .. }]), "{committed:?}");
    assert_eq!(transaction.parts[0].plan.metadata.idle, Idle::No);
    assert!(lane.on(Event::Stop, now(3_002)).is_empty(), "the store does not have it yet");
    lane.on(Event::Applied { partition: 3, epoch: 1, offsets: vec![100] }, now(3_003));
    let actions = lane.on(Event::Ended(Outcome::Committed(Vec::new())), now(3_003));
    assert!(matches!(actions[..], [Action::Stopped]), "{actions:?}");
}

#[test]
fn a_partition_that_halted_is_looked_at_again_and_goes_on_once_the_loss_is_restored_or_accepted() {
    let now = |seconds| Now { wall: Timestamp::from_micros(10), uptime: Duration::from_secs(seconds) };
    let mut lane = Lane::new(LIMITS, Memory::new(usize::MAX));
    let (partition, epoch) = (3, 1);
    lane.on(Event::Assigned { partition, epoch }, now(0));
    let found = |next, begins| Found { committed: Some((next, recovered().told)), begins, end: 100 };
    let look = |lane: &mut Lane, begins, at| {
        let snapshots = found(2, 0);
        lane.on(Event::Offsets { partition, epoch, native: found(5, begins), snapshots }, now(at));
        lane.on(Event::Wal { partition, epoch, begins: 0, end: 100, stable: 100 }, now(at))
    };
    assert!(look(&mut lane, 6, 0).is_empty(), "it may be a leader that has just become one");
    let actions = look(&mut lane, 6, 30);
    assert!(matches!(actions[..], [Action::Halt(_)]), "{actions:?}");
    for at in [40, 50] {
        assert_eq!(lane.wake(), Some(now(at).uptime));
        let actions = lane.on(Event::Tick, now(at));
        assert!(matches!(actions[..], [Action::AskOffsets { partition: 3, .. }]), "{actions:?}");
        let actions = look(&mut lane, 6, at);
        assert!(actions.is_empty(), "it is told of once: {actions:?}");
    }
    lane.on(Event::Tick, now(60));
    let actions = look(&mut lane, 5, 60);
    assert!(matches!(actions[..], [Action::Begin { native: 5, snapshots: 2, .. }]), "{actions:?}");
}

/// Partition 3 is assigned and recovered.
fn begin(lane: &mut Lane, now: Now) {
    let (partition, epoch) = (3, 1);
    lane.on(Event::Assigned { partition, epoch }, now);
    let found = |next| Found { committed: Some((next, recovered().told)), begins: 0, end: 100 };
    lane.on(Event::Offsets { partition, epoch, native: found(5), snapshots: found(2) }, now);
    let actions = lane.on(Event::Wal { partition, epoch, begins: 0, end: 100, stable: 100 }, now);
    assert!(matches!(actions[..], [Action::Begin { native: 5, snapshots: 2, .. }]), "{actions:?}");
}

/// The transaction that the lane asks for now, without anything in the store.
fn commits(lane: &mut Lane, now: Now) -> std::sync::Arc<Transaction> {
    let mut actions = lane.on(Event::Tick, now);
    while let Some(action) = actions.pop() {
        match action {
            Action::Read { batch, .. } => {
                actions.extend(lane.on(Event::Read { batch, cells: Vec::new() }, now))
            }
            Action::Measure { begun, .. } => {
                actions.extend(lane.on(Event::Measured { begun, shown: Some(now.wall) }, now));
            }
            Action::Commit(transaction) => return transaction,
            other => panic!("{other:?}"),
        }
    }
    panic!("no transaction")
}
