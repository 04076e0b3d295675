//! Scans and deltas in the orders in which they can land. `+1` is `created` of record 1, `~1` `updated`, `-1` `deleted`.

use std::time::Duration;

use tributary_schemas::{
    event::Subject,
    observation::{Absence, Announce, Notification, Snapshot},
    resource::{Action, Mode},
    state::State,
};

use super::world::{World, first};
use crate::{record::Note, unify::decide::Input};

#[test]
fn changes_between_two_scans_are_told_by_the_second() {
    let mut world = World::told_of(0..4);
    world.set([1, 9]);
    world.remove([2]);
    world.scan_now(0);
    let told = world.told();
    let mut told: Vec<_> = told.split(' ').collect();
    told.sort_unstable();
    assert_eq!(told, ["+9", "-2", "~1"]);
}

#[test]
fn a_range_that_loses_its_last_record_tells_it() {
    let mut world = World::told_of(0..1);
    world.remove([0]);
    world.scan_now(0);
    assert_eq!(world.told(), "-0");
}

#[test]
fn a_long_full_scan_and_the_deltas_beside_it_do_not_disturb_each_other() {
    let mut world = World::told_of(0..3);
    world.set([0]);
    let long = world.scan(0);
    world.wait(10);
    world.set([0, 7]);
    world.remove([1]);
    world.delta_now([0, 7, 1]);
    assert_eq!(world.told(), "~0 +7 -1");
    world.land(long);
    assert_eq!(world.told(), "", "the scan had read 0 before, and 1 was still there, and 7 was not yet");
    world.scan_now(0);
    assert_eq!(world.told(), "");
}

#[test]
fn a_delta_that_began_before_a_full_scan_is_dropped_after_its_summary() {
    let mut world = World::told_of(0..2);
    world.wait(10);
    let late = world.delta([0]);
    world.set([0]);
    world.scan_now(0);
    assert_eq!(world.told(), "~0");
    world.land(late);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::StaleRun)));
}

#[test]
fn the_ranges_of_a_scan_are_dropped_after_a_later_summary() {
    let mut world = World::told_of(0..2);
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
    let mut world = World::told_of(0..2);
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
    world.scan_now(2);
    assert_eq!((world.told(), world.records().len()), (String::new(), 20));
    world.set([3]);
    world.scan_now(2);
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
    world.scan_now(2);
    let told = world.told();
    assert_eq!(told.split(' ').count(), taken.len());
    assert!(taken.iter().all(|id| told.split(' ').any(|told| told == format!("~{id}"))), "{told}");
}

#[test]
fn a_delta_before_the_baseline_is_dropped() {
    let mut world = World::new(Announce::Created);
    world.set(0..2);
    world.delta_now([0]);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::NoBaseline)));
    assert!(world.records().is_empty() && world.rows().is_empty());
}

#[test]
fn a_delta_waits_for_the_baseline_when_a_resource_is_wanted_anew() {
    let mut world = World::told_of(0..2);
    world.begin_anew(Announce::Nothing);
    world.set([0]);
    world.delta_now([0]);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::NoBaseline)));
    world.scan_now(0);
    assert_eq!(world.told(), "", "the baseline is silent");
    world.set([0]);
    world.delta_now([0]);
    assert_eq!(world.told(), "~0");
}

#[test]
fn a_delta_of_another_projection_is_dropped() {
    let mut world = World::told_of(0..2);
    world.projection += 1;
    world.delta_now([0]);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::OtherProjection)));
    world.scan_now(0);
    assert_eq!(world.told(), "", "the first full run adopts the hashes");
    world.set([0]);
    world.delta_now([0]);
    assert_eq!(world.told(), "~0");
}

#[test]
fn another_identity_is_taken_over_in_silence_and_what_comes_after_speaks() {
    for absence in [Absence::Sure, Absence::Doubtful, Absence::Partial] {
        let mut world = World::told_of(0..3);
        world.absence = absence;
        world.identity += 1;
        world.remove(0..3);
        world.set(10..13);
        world.scan_now(0);
        world.absence = Absence::Sure;
        world.scan_now(0);
        assert_eq!(world.told(), "", "all have other names now: {absence:?}");
        world.set([10]);
        world.remove([11]);
        world.scan_now(0);
        let told = world.told();
        let mut told: Vec<_> = told.split(' ').collect();
        told.sort_unstable();
        assert_eq!(told, ["-11", "~10"]);
    }
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
        let mut world = World::told_of(0..100);
        world.absence = absence;
        world.remove(0..loss);
        world.scan_now(0);
        let deleted = |told: String| told.split(' ').filter(|told| told.starts_with('-')).count();
        let first = deleted(world.told());
        assert_eq!(first, at_once, "{rule}");
        world.scan_now(0);
        assert_eq!(first + deleted(world.told()), later, "{rule}, later");
    }
}

#[test]
fn what_a_native_event_has_just_told_of_is_no_loss() {
    let mut world = World::told_of(0..30);
    world.wait(10);
    (30..50).for_each(|id| world.hear(Action::Created, id));
    world.told();
    world.remove([0]);
    let flight = world.scan(0);
    world.land(flight);
    assert_eq!(world.told(), "-0", "the other 20 are not listed yet, which says nothing about them");
}

#[test]
fn a_gone_record_is_removed_after_seven_days_when_its_range_is_next_read() {
    let mut world = World::told_of(0..3);
    world.remove([0]);
    world.scan_now(0);
    world.set([1]);
    world.wait(6 * 24 * 60);
    world.scan_now(0);
    assert_eq!(world.known(0), Some(State::Gone));
    world.set([1]);
    world.wait(2 * 24 * 60);
    world.scan_now(0);
    assert_eq!((world.known(0), world.told()), (None, "-0 ~1 ~1".into()));
}

#[test]
fn a_range_that_did_not_change_writes_nothing() {
    let mut world = World::told_of(0..50);
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
fn a_partial_run_compares_what_it_names_and_deletes_nothing() {
    let mut world = World::told_of(0..3);
    world.absence = Absence::Partial;
    world.set([1, 9]);
    world.remove([2]);
    world.scan_now(0);
    let told = world.told();
    let mut told: Vec<_> = told.split(' ').collect();
    told.sort_unstable();
    assert_eq!(told, ["+9", "~1"]);
    world.absence = Absence::Sure;
    world.scan_now(0);
    assert_eq!(world.told(), "-2", "a whole one tells it");
}

#[test]
fn a_tombstone_counts_unless_it_is_older_than_what_is_known() {
    for (rule, minutes_ago, told) in [("after the run that saw the record", 1, "-0"), ("before it", 20, "")] {
        let mut world = World::told_of(0..1);
        world.remove([0]);
        world.wait(10);
        let mut flight = world.delta([0]);
        let Input::Snapshot(Snapshot::Delta(page)) = &mut flight[0] else { panic!("a delta") };
        page.deleted[0].deleted_at = Some(world.now().minus(Duration::from_secs(minutes_ago * 60)));
        world.land(flight);
        assert_eq!(world.told(), told, "{rule}");
    }
}

#[test]
fn a_feed_that_a_notification_made_be_read_is_decided_by_hash_and_told_as_native() {
    let mut world = World::told_of(0..2);
    world.set([0]);
    world.wait(10);
    let mut flight = world.delta([0, 1]);
    let Input::Snapshot(Snapshot::Delta(page)) = &mut flight[0] else { panic!("a delta") };
    let raw_event = Some(r#"{"headers":{},"body":null}"#.to_owned());
    let (received_at, mode) = (world.now().minus(Duration::from_secs(5)), Mode::NativeAutomatic);
    page.notification = Some(Notification { received_at, mode, raw_event: raw_event.clone() });
    let decision = world.feed(&Vec::from(flight)).remove(0).unwrap();
    let [event] = &decision.events[..] else { panic!("record 1 did not change: {decision:?}") };
    assert_eq!((event.mode, event.event_date), (mode, received_at));
    let Subject::Record { raw_event: raw, event_data, .. } = &event.subject else { panic!("a record") };
    assert_eq!((raw, event_data), (&raw_event, &None));
}
