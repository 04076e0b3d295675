//! Orders in which things can come, one by one. `+1` is `created` of record 1, `~1` `updated`, `-1` `deleted`.

use tributary_schemas::{
    event::Subject,
    id::{Bits, RunId},
    observation::{Absence, Announce, Baseline, DeliveryId, Snapshot},
    resource::{Action, Mode},
    state::State,
};

use super::world::{Flight, World, source};
use crate::{decide::Input, note::Note};

/// A world that has told of these records.
fn told_of(ids: std::ops::Range<u32>) -> World {
    let mut world = World::new(Announce::Created);
    world.set(ids);
    scan(&mut world, 0);
    world.told();
    world
}

/// A full scan that lands at once, well after what was before it.
fn scan(world: &mut World, bits: u8) {
    world.wait(10);
    let flight = world.scan(bits);
    world.land(flight);
}

fn delta(world: &mut World, ids: impl IntoIterator<Item = u32>) {
    world.wait(10);
    let flight = world.delta(ids);
    world.land(flight);
}

/// The first messages of a run, taken out of it.
fn first(flight: &mut Flight, messages: usize) -> Flight {
    flight.drain(..messages).collect()
}

#[test]
fn changes_between_two_scans_are_told_by_the_second() {
    let mut world = told_of(0..4);
    world.set([1, 9]);
    world.remove([2]);
    scan(&mut world, 0);
    let told = world.told();
    let mut told: Vec<_> = told.split(' ').collect();
    told.sort_unstable();
    assert_eq!(told, ["+9", "-2", "~1"]);
}

#[test]
fn a_range_that_loses_its_last_record_tells_it() {
    let mut world = told_of(0..1);
    world.remove([0]);
    scan(&mut world, 0);
    assert_eq!(world.told(), "-0");
}

#[test]
fn a_long_full_scan_and_the_deltas_beside_it_do_not_disturb_each_other() {
    let mut world = told_of(0..3);
    world.set([0]);
    let long = world.scan(0);
    world.wait(10);
    world.set([0, 7]);
    world.remove([1]);
    delta(&mut world, [0, 7, 1]);
    assert_eq!(world.told(), "~0 +7 -1");
    world.land(long);
    assert_eq!(world.told(), "", "the scan had read 0 before, and 1 was still there, and 7 was not yet");
    scan(&mut world, 0);
    assert_eq!(world.told(), "");
}

#[test]
fn a_delta_that_began_before_a_full_scan_is_dropped_after_its_summary() {
    let mut world = told_of(0..2);
    world.wait(10);
    let late = world.delta([0]);
    world.set([0]);
    scan(&mut world, 0);
    assert_eq!(world.told(), "~0");
    world.land(late);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::StaleRun)));
}

#[test]
fn the_ranges_of_a_scan_are_dropped_after_a_later_summary() {
    let mut world = told_of(0..2);
    world.wait(10);
    let mut late = world.scan(0);
    world.remove([0]);
    let mut late_too = {
        world.set([5]);
        world.scan(0)
    };
    let summary = first(&mut late_too, 1);
    world.land(summary);
    first(&mut late, 0);
    world.land(late);
    assert_eq!(world.told(), "");
    world.land(late_too);
    assert_eq!(world.told().split(' ').count(), 2, "0 deleted and 5 created");
}

#[test]
fn a_range_counts_only_after_its_own_summary() {
    let mut world = told_of(0..2);
    world.set([0]);
    world.wait(10);
    let mut flight = world.scan(0);
    first(&mut flight, 1);
    world.land(flight);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::NoSummary)));
}

#[test]
fn a_baseline_that_broke_off_goes_on_and_none_is_taken_twice() {
    let mut world = World::new(Announce::Nothing);
    world.set(0..20);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    let taken = world.records().len();
    assert!(0 < taken && taken < 20);
    world.wait(10);
    scan(&mut world, 2);
    assert_eq!((world.told(), world.records().len()), (String::new(), 20));
    world.set([3]);
    scan(&mut world, 2);
    assert_eq!(world.told(), "~3");
}

#[test]
fn a_change_during_a_broken_baseline_is_told_where_the_baseline_has_been() {
    let mut world = World::new(Announce::Nothing);
    world.set(0..20);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    let taken: Vec<_> = (0..20).filter(|id| world.known(*id).is_some()).collect();
    world.set(0..20);
    scan(&mut world, 2);
    let told = world.told();
    assert_eq!(told.split(' ').count(), taken.len());
    assert!(taken.iter().all(|id| told.split(' ').any(|told| told == format!("~{id}"))), "{told}");
}

#[test]
fn a_delta_before_the_baseline_is_dropped() {
    let mut world = World::new(Announce::Created);
    world.set(0..2);
    delta(&mut world, [0]);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::NoBaseline)));
    assert!(world.records().is_empty() && world.rows().is_empty());
}

#[test]
fn a_delta_waits_for_the_baseline_when_a_resource_is_wanted_anew() {
    let mut world = told_of(0..2);
    world.baseline = Baseline { from: RunId(world.next_run), announce: Announce::Nothing };
    world.set([0]);
    delta(&mut world, [0]);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::NoBaseline)));
    scan(&mut world, 0);
    assert_eq!(world.told(), "", "the baseline is silent");
    world.set([0]);
    delta(&mut world, [0]);
    assert_eq!(world.told(), "~0");
}

#[test]
fn a_delta_of_another_projection_is_dropped() {
    let mut world = told_of(0..2);
    world.projection += 1;
    delta(&mut world, [0]);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::OtherProjection)));
    scan(&mut world, 0);
    assert_eq!(world.told(), "", "the first full run adopts the hashes");
    world.set([0]);
    delta(&mut world, [0]);
    assert_eq!(world.told(), "~0");
}

#[test]
fn native_events_before_the_first_scan_are_moved_into_its_cut() {
    let mut world = World::new(Announce::Nothing);
    world.set(0..20);
    (0..20).for_each(|id| world.hear(Action::Created, id));
    assert_eq!(world.head().map(|head| head.bits), Some(Bits::NATIVE));
    world.told();
    world.remove([19]);
    scan(&mut world, 2);
    assert_eq!(world.told(), "", "the baseline is silent");
    assert_eq!((world.live(), world.rows().len()), (world.true_live(), 4), "the old rows are gone");
    world.remove([18]);
    scan(&mut world, 2);
    assert_eq!(world.told(), "-18");
}

#[test]
fn an_account_that_grows_is_cut_finer_without_an_event() {
    let mut world = told_of(0..40);
    for bits in [1, 4, 2] {
        scan(&mut world, bits);
        assert_eq!(world.told(), "", "a move tells nothing");
        assert_eq!((world.live(), world.rows().len()), (world.true_live(), 1 << bits));
    }
}

#[test]
fn a_move_that_broke_off_goes_on_and_no_other_begins_before_its_end() {
    let mut world = told_of(0..40);
    world.wait(10);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    world.set([0]);
    world.hear(Action::Updated, 1);
    world.told();
    scan(&mut world, 3);
    assert_eq!((world.told(), world.notes.contains(&Note::MoveUnfinished)), (String::new(), true));
    scan(&mut world, 2);
    assert_eq!(world.told(), "~0");
    scan(&mut world, 3);
    assert_eq!((world.told(), world.rows().len()), (String::new(), 8));
    assert_eq!(world.live(), world.true_live());
}

#[test]
fn a_move_of_which_nothing_was_done_may_take_another_cut() {
    let mut world = told_of(0..40);
    for bits in [2, 3, 0, 1] {
        world.wait(10);
        let summary = first(&mut world.scan(bits), 1);
        world.land(summary);
        assert_eq!(world.head().and_then(|head| head.bits_before), Bits::new(0).filter(|_| bits != 0));
    }
    world.set([0]);
    world.hear(Action::Updated, 1);
    world.told();
    scan(&mut world, 4);
    assert_eq!((world.told(), world.rows().len()), ("~0".into(), 16));
    assert_eq!(world.live(), world.true_live());
}

#[test]
fn during_a_move_a_record_is_found_where_it_is() {
    let mut world = told_of(0..40);
    world.wait(10);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    world.set(0..40);
    delta(&mut world, 0..40);
    assert_eq!(world.told().split(' ').filter(|told| told.starts_with('~')).count(), 40);
    (0..40).for_each(|id| world.hear(Action::Deleted, id));
    assert_eq!(world.told().split(' ').filter(|told| told.starts_with('-')).count(), 40);
}

#[test]
fn a_resync_during_a_move_announces_each_record_once() {
    let mut world = told_of(0..20);
    world.wait(10);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    world.baseline = Baseline { from: RunId(world.next_run), announce: Announce::Created };
    for _ in 0..2 {
        scan(&mut world, 2);
    }
    let told = world.told();
    assert_eq!(told.split(' ').filter(|told| told.starts_with('+')).count(), 20);
    assert_eq!(told.split(' ').count(), 20, "{told}");
}

#[test]
fn what_comes_after_a_forget_is_dropped() {
    let mut world = told_of(0..4);
    world.wait(10);
    world.set([9]);
    let late = world.scan(0);
    world.feed(&[Input::Snapshot(Snapshot::Forget(source()))]);
    world.land(late);
    world.hear(Action::Created, 5);
    assert_eq!(world.told(), "");
    assert!(world.records().is_empty() && world.rows().is_empty() && world.head().is_none());
    assert_eq!(world.notes.iter().filter(|note| **note == Note::Forgotten).count(), 3);
}

#[test]
fn several_changes_of_one_record_in_one_body_are_told_in_order() {
    let mut world = World::new(Announce::Nothing);
    let changes = [(Action::Created, 1), (Action::Updated, 1), (Action::Created, 2), (Action::Deleted, 1)];
    let input = world.native(DeliveryId::Declared("x".into()), &changes);
    let decision = world.feed(&[input]).remove(0).unwrap();
    assert_eq!(world.told(), "+1 ~1 +2 -1");
    let sequences: Vec<_> = decision.events.iter().map(|event| event.sequence).collect();
    assert!(sequences.is_sorted_by(|one, next| one < next), "each has a timestamp of its own");
}

#[test]
fn the_same_delivery_is_silent_for_three_days() {
    for (rule, wait, told) in [
        ("at once", 0, ""),
        ("across midnight", 24 * 60, ""),
        ("three days later", 3 * 24 * 60, ""),
        ("four days later the mark is gone", 4 * 24 * 60, "~1"),
        ("by a clock that is behind, across midnight", -24 * 60, ""),
    ] {
        let mut world = World::new(Announce::Nothing);
        world.wait(30 * 24 * 60);
        let delivery = DeliveryId::Digest([7; 16]);
        let first = world.native(delivery.clone(), &[(Action::Updated, 1)]);
        world.feed(&[first]);
        world.told();
        world.wait(wait);
        let again = world.native(delivery, &[(Action::Updated, 1)]);
        world.feed(&[again]);
        assert_eq!(world.told(), told, "{rule}");
    }
}

#[test]
fn deliveries_that_cannot_be_told_apart_each_speak() {
    let mut world = World::new(Announce::Nothing);
    let input = world.native(DeliveryId::None, &[(Action::Updated, 1)]);
    world.feed(&[input.clone(), input]);
    assert_eq!(world.told(), "~1 ~1");
}

#[test]
fn a_mass_loss_is_doubted_until_the_next_full_run_or_a_release() {
    for (rule, loss, absence, at_once, later) in [
        ("ten are believed", 10, Absence::Sure, 10, 10),
        ("a fifth is believed", 20, Absence::Sure, 20, 20),
        ("more than a fifth is not", 21, Absence::Sure, 0, 21),
        ("unless it was released", 21, Absence::Released, 21, 21),
        ("one is not, where a listing can skip", 1, Absence::Doubtful, 0, 1),
    ] {
        let mut world = told_of(0..100);
        world.absence = absence;
        world.remove(0..loss);
        scan(&mut world, 0);
        let deleted = |told: String| told.split(' ').filter(|told| told.starts_with('-')).count();
        let first = deleted(world.told());
        assert_eq!(first, at_once, "{rule}");
        scan(&mut world, 0);
        assert_eq!(first + deleted(world.told()), later, "{rule}, later");
    }
}

#[test]
fn a_gone_record_is_removed_after_seven_days_when_its_range_is_next_read() {
    let mut world = told_of(0..3);
    world.remove([0]);
    scan(&mut world, 0);
    world.set([1]);
    world.wait(6 * 24 * 60);
    scan(&mut world, 0);
    assert_eq!(world.known(0), Some(State::Gone));
    world.set([1]);
    world.wait(2 * 24 * 60);
    scan(&mut world, 0);
    assert_eq!((world.known(0), world.told()), (None, "-0 ~1 ~1".into()));
}

#[test]
fn a_range_that_did_not_change_writes_nothing() {
    let mut world = told_of(0..50);
    world.unread.insert(7);
    world.wait(10);
    let mut flight = world.scan(0);
    assert_eq!(flight.len(), 2, "the range is sent, as a record could not be read");
    let summary = first(&mut flight, 1);
    world.land(summary);
    let decision = world.feed(&Vec::from(flight)).remove(0).unwrap();
    assert_eq!((decision.mutations, decision.events), (vec![], vec![]));
}

#[test]
fn an_event_has_its_facts() {
    let mut world = World::new(Announce::Created);
    world.set([42]);
    let decisions = world.scan(0);
    let synthetic = world.feed(&Vec::from(decisions)).remove(1).unwrap().events.remove(0);
    assert_eq!(
        (synthetic.mode, synthetic.event.to_string()),
        (Mode::Synthetic, "hris_employees.created".into())
    );
    assert_eq!((synthetic.event_date, synthetic.detected_at), (world.now(), world.now()));
    let Subject::Record { record_id, remote_id, raw_event, event_data } = synthetic.subject else {
        panic!("a record was to be told of")
    };
    assert_eq!((&*record_id, remote_id.as_str()), ("dHIxIWlkOjQy", "42"));
    assert_eq!((raw_event, event_data), (None, None));

    let mut input = world.native(DeliveryId::None, &[(Action::Deleted, 42)]);
    let Input::Native(native) = &mut input else { unreachable!() };
    let happened = world.now().minus(std::time::Duration::from_secs(5));
    native.changes[0].occurred_at = Some(happened);
    let native = world.feed(&[input]).remove(0).unwrap().events.remove(0);
    assert_eq!(
        (native.mode, native.event_date, native.detected_at),
        (Mode::NativeManual, happened, world.now())
    );
    assert_eq!(native.previous_sequence, Some(synthetic.sequence));
    assert!(matches!(native.subject, Subject::Record { raw_event: Some(_), .. }));
}
