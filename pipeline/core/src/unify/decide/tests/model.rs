//! Random histories: full scans and deltas that break off, land late or beside each other, native events, other cuts,
//! baselines, projections. However it went, clean scans find the truth, and what was told adds up to it.

use proptest::prelude::*;
use tributary_schemas::{
    observation::{Absence, Announce, DeliveryId, Snapshot},
    resource::Action,
};

use super::world::{Flight, World, source};
use crate::unify::decide::Input;

/// The provider's records have ids below this.
const IDS: u32 = 10;

#[derive(Debug, Clone)]
enum Op {
    /// A record is there with a new content, or is gone.
    Set(u32),
    Remove(u32),
    /// It can't be read from here on, or can again.
    Unread(u32),
    /// A run begins: it reads the truth now.
    Scan(u8),
    /// A full scan of a cut that may not be had now.
    RudeScan(u8),
    Delta(Vec<u32>),
    /// So many messages of one of the runs that have begun land, as one batch.
    Land(usize, usize),
    /// The first messages of two runs land, as one batch.
    LandBoth(usize),
    /// A run breaks off.
    Break(usize),
    /// The provider tells of a record: what is true, or, late, what was.
    Native(u32, Option<Action>),
    /// It tells of two at once, and again.
    Redelivered(u32, u32),
    Wait(i64),
    Doubtful,
    Projection,
    Resync,
}

fn quiet_ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4u8).prop_map(Op::Scan),
        1 => (0..7u8).prop_map(Op::RudeScan),
        2 => prop::collection::vec(0..IDS, 1..4).prop_map(Op::Delta),
        6 => (0..4usize, 1..9usize).prop_map(|(run, messages)| Op::Land(run, messages)),
        2 => (0..4usize).prop_map(Op::LandBoth),
        1 => (0..4usize).prop_map(Op::Break),
        2 => prop_oneof![Just(1i64), Just(3), Just(30), Just(8 * 24 * 60)].prop_map(Op::Wait),
    ]
}

fn polled_ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..IDS).prop_map(Op::Set),
        2 => (0..IDS).prop_map(Op::Remove),
        1 => (0..IDS).prop_map(Op::Unread),
        1 => Just(Op::Doubtful),
        8 => quiet_ops(),
    ]
}

fn all_ops() -> impl Strategy<Value = Op> {
    let action = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(&Action::ALL[..]).prop_map(Some),
    ];
    prop_oneof![
        10 => polled_ops(),
        3 => (0..IDS, action).prop_map(|(id, action)| Op::Native(id, action)),
        1 => (0..IDS, 0..IDS).prop_map(|(one, other)| Op::Redelivered(one, other)),
        1 => Just(Op::Projection),
        1 => Just(Op::Resync),
    ]
}

/// Plays a history. Runs that have begun wait in `flights` until they land.
fn play(world: &mut World, ops: &[Op]) {
    let mut flights: Vec<Flight> = Vec::new();
    for op in ops {
        let pick = |index: usize, flights: &Vec<Flight>| index % flights.len().max(1);
        match op {
            Op::Set(id) => world.set([*id]),
            Op::Remove(id) => world.remove([*id]),
            Op::Unread(id) => {
                if !world.unread.remove(id) {
                    world.unread.insert(*id);
                }
            }
            Op::Scan(bits) => flights.push(world.polite_scan(*bits)),
            Op::RudeScan(bits) => flights.push(world.scan(*bits)),
            Op::Delta(ids) => flights.push(world.delta(ids.iter().copied())),
            Op::Land(index, messages) => {
                let index = pick(*index, &flights);
                if let Some(flight) = flights.get_mut(index) {
                    let batch: Vec<_> = flight.drain(..(*messages).min(flight.len())).collect();
                    world.feed(&batch);
                }
            }
            Op::LandBoth(messages) => {
                let most = |flight: &mut Flight| {
                    flight.drain(..(*messages + 1).min(flight.len())).collect::<Vec<_>>()
                };
                let batch: Vec<_> = flights.iter_mut().rev().take(2).flat_map(most).collect();
                world.feed(&batch);
            }
            Op::Break(index) => {
                let index = pick(*index, &flights);
                if index < flights.len() {
                    flights.remove(index);
                }
            }
            Op::Native(id, action) => {
                let true_action =
                    if world.truth.contains_key(id) { Action::Updated } else { Action::Deleted };
                world.hear(action.unwrap_or(true_action), *id);
            }
            Op::Redelivered(one, other) => {
                let delivery = DeliveryId::Declared(format!("{one} {other} {}", world.minutes));
                let changes = [(Action::Updated, *one), (Action::Created, *other), (Action::Updated, *one)];
                let input = world.native(delivery, &changes);
                world.feed(&[input.clone(), input.clone()]);
                world.told();
                world.feed(&[input]);
                assert_eq!(world.told(), "", "the same delivery again is silent");
            }
            Op::Wait(minutes) => world.wait(*minutes),
            Op::Doubtful => {
                world.absence = match world.absence {
                    Absence::Sure | Absence::Released => Absence::Doubtful,
                    Absence::Doubtful => Absence::Partial,
                    Absence::Partial => Absence::Sure,
                }
            }
            Op::Projection => world.projection += 1,
            Op::Resync => {
                world.begin_anew(Announce::Created);
            }
        }
    }
    let rest: Vec<_> = flights.into_iter().flatten().collect();
    world.feed(&rest);
}

fn histories(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op, 0..40)
}

proptest! {
    #[test]
    fn what_was_told_adds_up_to_the_truth(ops in histories(all_ops()), bits in 0..4u8) {
        let mut world = World::new(Announce::Created);
        play(&mut world, &ops);
        world.come_to_rest(bits);
        prop_assert_eq!(world.live(), world.true_live());
        prop_assert!(world.reader.keys().eq(world.truth.keys()), "{:?} != {:?}", world.reader, world.truth);
    }

    #[test]
    fn a_polled_change_is_told_after_it_happened(ops in histories(polled_ops()), bits in 0..4u8) {
        let mut world = World::new(Announce::Created);
        play(&mut world, &ops);
        world.come_to_rest(bits);
        let truth = world.truth.iter().map(|(id, content)| (*id, Some(*content))).collect();
        prop_assert_eq!(&world.reader, &truth);
    }

    #[test]
    fn a_silent_baseline_announces_nothing_then_or_later(ops in histories(quiet_ops()), bits in 0..4u8) {
        let mut world = World::new(Announce::Nothing);
        world.set(0..IDS);
        play(&mut world, &ops);
        world.come_to_rest(bits);
        prop_assert_eq!(world.told(), "");
        prop_assert_eq!(world.live(), world.true_live());
    }

    #[test]
    fn a_backfill_announces_each_record_once(ops in histories(quiet_ops()), bits in 0..4u8) {
        let mut world = World::new(Announce::Created);
        world.set(0..IDS);
        play(&mut world, &ops);
        world.come_to_rest(bits);
        let told = world.told();
        let mut told: Vec<_> = told.split(' ').collect();
        told.sort_unstable();
        let expected: Vec<_> = (0..IDS).map(|id| format!("+{id}")).collect();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn a_forgotten_account_stays_forgotten(before in histories(all_ops()), after in histories(all_ops())) {
        let mut world = World::new(Announce::Created);
        play(&mut world, &before);
        world.feed(&[Input::Snapshot(Snapshot::Forget(source()))]);
        world.told();
        play(&mut world, &after);
        prop_assert_eq!(world.told(), "");
        prop_assert!(world.records().is_empty() && world.rows().is_empty() && world.head().is_none());
    }
}
