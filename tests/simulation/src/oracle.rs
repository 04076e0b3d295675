//! What must hold in the end: the committed events are those of a sequential fold over the inputs, in the WAL's order;
//! each record's chain is whole; nobody was told what never was; and what is known is the truth.

use std::collections::{BTreeMap, HashSet};

use tributary_core::{
    cells::{CellKey, CellValue, Cells},
    unify::decide::{Input, decide},
};
use tributary_schemas::{
    event::{Subject, UnifiedEvent},
    id::{AccountId, RemoteId, Sequence},
    observation::{Announce, Content, Listed, Snapshot},
    resource::Action,
    state::State,
    time::Timestamp,
    wal::{Twin, WalRecord},
};

use crate::{
    source::{Provider, hash, remote},
    world::{PARTITIONS, World},
};

type Check = Result<(), String>;

/// Judges a world that has come to its end.
pub(crate) fn judge(world: &World) -> Check {
    if let Some(violation) = &world.violation {
        return Err(violation.clone());
    }
    for partition in 0..PARTITIONS {
        finished(world, partition)?;
        let state = folded(world, partition)?;
        known(world, partition, &state)?;
    }
    chains(world)?;
    world.providers.iter().enumerate().try_for_each(|(number, it)| true_to(world, number, it))
}

/// Everything was decided, each message once, in order.
fn finished(world: &World, partition: i32) -> Check {
    for twin in [Twin::Native, Twin::Snapshots] {
        let inputs = world.broker.twin(twin, partition).len() as i64;
        let committed = world.broker.offsets.get(&(twin, partition)).map_or(0, |(offset, _)| *offset);
        if committed != inputs {
            return Err(format!("liveness: {twin:?} {partition} is at {committed} of {inputs}"));
        }
        let wal = world.broker.wal[partition as usize].committed();
        let decided = wal.map(|(_, record)| record.input).filter(|input| input.twin == twin);
        for (expected, input) in decided.enumerate() {
            if input.offset != expected as i64 {
                let offset = input.offset;
                return Err(format!("{twin:?} {partition}: {offset} was decided where {expected} was due"));
            }
        }
    }
    Ok(())
}

/// The events of the sequential fold are the ones that were committed. Gives the state that it ends with.
fn folded(world: &World, partition: i32) -> Result<Cells, String> {
    let mut state = Cells::default();
    let mut events = world.broker.events[partition as usize].committed().map(|(_, event)| event);
    for (offset, record) in world.broker.wal[partition as usize].committed() {
        let input = &world.broker.twin(record.input.twin, partition)[record.input.offset as usize];
        let now = Timestamp::from_micros(record.ts);
        let decision = decide(input, &state, now, record.ts).unwrap_or_default();
        for expected in &decision.events {
            let told = events.next().map(facts);
            if told != Some(facts(expected)) {
                let expected = facts(expected);
                return Err(format!("wal {partition}/{offset}: expected {expected:?}, told {told:?}"));
            }
        }
        if decision.mutations != record.mutations {
            return Err(format!(
                "wal {partition}/{offset}: expected {:?}, written {:?}",
                decision.mutations, record.mutations
            ));
        }
        (record.ts..).zip(&decision.mutations).for_each(|(ts, mutation)| state.mutate(ts, mutation));
    }
    match events.next() {
        Some(event) => Err(format!("told beyond what was decided: {:?}", facts(event))),
        None => Ok(state),
    }
}

pub(crate) fn facts(event: &UnifiedEvent) -> (&AccountId, &RemoteId, Action, Sequence, Option<Sequence>) {
    let Subject::Record { remote_id, .. } = &event.subject else { unreachable!("only records are told of") };
    (&event.account, remote_id, event.event.action, event.sequence, event.previous_sequence)
}

/// Where scans alone tell of an account, the last event of each record that is there came of a message that had its last
/// content: no content is had twice, so no change was adopted in silence. Here nothing of what decides is asked.
fn told_of_the_last_change(world: &World, number: usize, provider: &Provider) -> Check {
    let partition = provider.partition;
    let records: BTreeMap<i64, &WalRecord> =
        world.broker.wal[partition as usize].committed().map(|(_, record)| (record.ts, record)).collect();
    let mut told: BTreeMap<&RemoteId, Sequence> = BTreeMap::new();
    for (_, event) in world.broker.events[partition as usize].committed() {
        let (account, record, _, sequence, _) = facts(event);
        if *account == provider.source.account {
            told.insert(record, sequence);
        }
    }
    for (id, content) in provider.truth() {
        let Some(sequence) = told.get(&remote(id)) else { continue };
        let (_, record) = records.range(..=sequence.0).next_back().ok_or("an event of no message")?;
        let input = &world.broker.twin(record.input.twin, partition)[record.input.offset as usize];
        let listed = match input {
            Input::Snapshot(Snapshot::Range(listing)) => &listing.records[..],
            Input::Snapshot(Snapshot::Delta(page)) => &page.changed[..],
            Input::Snapshot(Snapshot::Summary(_) | Snapshot::Forget(_)) | Input::Native(_) => &[],
        };
        let has = |it: &Listed| it.remote_id == remote(id) && it.content == Content::Hash(hash(content));
        if !listed.iter().any(has) {
            return Err(format!("truth: account {number}, record {id}: its last content was not told"));
        }
    }
    Ok(())
}

/// The store holds what the fold ends with.
fn known(world: &World, partition: i32, folded: &Cells) -> Check {
    let ours = |account: &AccountId| {
        world.providers.iter().any(|it| it.source.account == *account && it.partition == partition)
    };
    let values = |cells: &Cells| -> BTreeMap<CellKey, CellValue> {
        let value = |key: CellKey| cells.get(&key).cloned().map(|value| (key, value));
        cells.cells().filter(|cell| ours(cell.key.account())).filter_map(|cell| value(cell.key)).collect()
    };
    let (stored, folded) = (values(&world.store.cells), values(folded));
    for (key, value) in &folded {
        if stored.get(key) != Some(value) {
            return Err(format!("state: {key:?} is {:?}, not {value:?}", stored.get(key)));
        }
    }
    match stored.keys().find(|key| !folded.contains_key(key)) {
        Some(key) => Err(format!("state: {key:?} is there, and should not")),
        None => Ok(()),
    }
}

/// Each record's events are one chain, and no event's id is used twice.
fn chains(world: &World) -> Check {
    let mut last: BTreeMap<(AccountId, RemoteId), Sequence> = BTreeMap::new();
    let mut ids = HashSet::new();
    for log in &world.broker.events {
        for (_, event) in log.committed() {
            let (account, record, _, sequence, previous) = facts(event);
            if !ids.insert(event.event_id.to_string()) {
                return Err(format!("chain: event id {} is used twice", event.event_id));
            }
            let before = last.insert((account.clone(), record.clone()), sequence);
            if before != previous || before >= Some(sequence) {
                return Err(format!("chain: {account:?} {record:?}: {previous:?} after {before:?}"));
            }
        }
    }
    Ok(())
}

/// Nothing was told more often than it happened, and in the end the reader knows what is there.
fn true_to(world: &World, number: usize, provider: &Provider) -> Check {
    let mut told: BTreeMap<(u32, Action), u32> = BTreeMap::new();
    let mut last: BTreeMap<u32, Action> = BTreeMap::new();
    for (_, event) in world.broker.events[provider.partition as usize].committed() {
        let (account, record, action, ..) = facts(event);
        if *account == provider.source.account
            && let Ok(id) = record.as_str().parse::<u32>()
        {
            *told.entry((id, action)).or_default() += 1;
            last.insert(id, action);
        }
    }
    for ((id, action), times) in &told {
        let done_so = |action| provider.done.get(&(*id, action)).copied().unwrap_or_default();
        let done = done_so(*action);
        // A webhook that is decided after a run has told what came later speaks all the same: it can't be known that the
        // run had begun after it. The next scan puts it right.
        let overtaken = if provider.native { done } else { 0 };
        let may = match action {
            // A baseline that announces tells what a webhook may have told before.
            Action::Created => done + overtaken + u32::from(provider.announce == Announce::Created),
            // What went and came again between two scans has changed.
            Action::Updated => done + overtaken + done_so(Action::Created),
            Action::Deleted => done + overtaken,
        };
        if *times > may {
            return Err(format!(
                "truth: account {number}, record {id}: {action:?} {times} times, {done} happened"
            ));
        }
    }
    if provider.forgotten {
        return Ok(());
    }
    let truth = provider.truth();
    // A silent baseline takes over what is there, whatever was told before.
    if provider.announce == Announce::Created {
        for (id, action) in &last {
            if truth.contains_key(id) != (*action != Action::Deleted) {
                return Err(format!("truth: account {number}, record {id} was last {action:?}"));
            }
        }
        if let Some(id) = truth.keys().find(|id| !last.contains_key(id)) {
            return Err(format!("truth: account {number}, record {id} was never told"));
        }
        if !provider.native {
            told_of_the_last_change(world, number, provider)?;
        }
    }
    let mut live = BTreeMap::new();
    for cell in world.store.cells.cells() {
        if let (true, Some(CellValue::Record(known))) =
            (*cell.key.account() == provider.source.account, world.store.cells.get(&cell.key))
            && known.state != State::Gone
        {
            live.insert(known.remote_id.as_str().parse().unwrap_or(u32::MAX), known.state);
        }
    }
    let expected: BTreeMap<u32, State> =
        truth.into_iter().map(|(id, content)| (id, State::Live(hash(content)))).collect();
    if live != expected {
        return Err(format!("truth: account {number} is known as {live:?}, and is {expected:?}"));
    }
    Ok(())
}
