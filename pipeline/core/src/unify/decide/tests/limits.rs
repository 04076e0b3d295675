//! What one message may not be: it is turned away with a reason, and changes nothing.

use tributary_schemas::{
    event::Subject,
    id::{Bits, RemoteId},
    observation::{
        Absence, Announce, Content, DeliveryId, DeltaPage, Listed, RangeListing, Snapshot, Tombstone,
    },
    resource::{Action, Resource},
};

use super::world::{World, remote, source};
use crate::{
    cells::{Cell, CellKey, CellValue},
    record::Note,
    unify::decide::{Input, MAX_EVENT_BYTES, MAX_RECORDS, MAX_REMOTE_ID, MAX_WAL_BYTES},
    unify::rejection::Rejection,
};

/// A listing of range 0 of this cut, in an account whose cut it is.
fn listing(bits: u8, records: Vec<Listed>) -> (World, RangeListing) {
    let mut world = World::new(Announce::Created);
    let run = world.run(bits);
    (world, RangeListing { run, range: 0, absence: Absence::Sure, records })
}

fn unread(ids: impl IntoIterator<Item = u32>) -> Vec<Listed> {
    let mut records: Vec<_> =
        ids.into_iter().map(|id| Listed { remote_id: remote(id), content: Content::Unread }).collect();
    records.sort_by_key(|listed| listed.remote_id.key());
    records
}

fn rejection(world: &mut World, input: Snapshot) -> Option<Rejection> {
    world.feed(&[Input::Snapshot(input)]).remove(0).err()
}

#[test]
fn a_listing_must_be_one() {
    let mut backwards = unread(0..3);
    backwards.reverse();
    let mut twice = unread(0..3);
    twice.insert(1, twice[1].clone());
    for (rule, bits, range, records, expected) in [
        ("sorted", 0, 0, unread(0..3), None),
        ("backwards", 0, 0, backwards, Some(Rejection::Unsorted)),
        ("one twice", 0, 0, twice, Some(Rejection::Unsorted)),
        ("of another range", 1, 0, unread(0..9), Some(Rejection::Misplaced)),
        ("no such range", 2, 4, unread([]), Some(Rejection::NoSuchRange)),
        ("cut too finely", 15, 0, unread([]), Some(Rejection::CutTooFine)),
        ("too many", 0, 0, unread(0..MAX_RECORDS as u32 + 1), Some(Rejection::TooManyRecords)),
    ] {
        let (mut world, listing) = listing(bits, records);
        let listing = RangeListing { range, ..listing };
        assert_eq!(rejection(&mut world, Snapshot::Range(listing)), expected, "{rule}");
    }
}

#[test]
fn a_range_of_another_cut_than_its_summary_s_is_dropped() {
    let mut world = World::new(Announce::Created);
    world.set(0..9);
    let mut flight = world.scan(0);
    let Some(Input::Snapshot(Snapshot::Range(listing))) = flight.back_mut() else { unreachable!() };
    listing.run.bits = Bits::NATIVE;
    listing.records.retain(|listed| listed.remote_id.key().range(Bits::NATIVE) == 0);
    world.land(flight);
    assert_eq!((world.told(), world.notes.pop()), (String::new(), Some(Note::OtherCut)));
}

#[test]
fn a_message_holds_no_more_records_than_one_decision_may() {
    let (mut world, listing) = listing(0, vec![]);
    let tombstone = |id| Tombstone { remote_id: remote(id), deleted_at: None };
    let deleted = (0..MAX_RECORDS as u32 + 1).map(tombstone).collect();
    let page = DeltaPage { run: listing.run, changed: vec![], deleted, notification: None };
    assert_eq!(rejection(&mut world, Snapshot::Delta(page)), Some(Rejection::TooManyRecords));
}

#[test]
fn what_does_not_fit_into_one_transaction_changes_nothing() {
    let mut world = World::new(Announce::Created);
    let long = |id: u32| RemoteId::new(format!("{id:04}{}", "x".repeat(MAX_REMOTE_ID - 4)));
    let mut input =
        world.native(DeliveryId::None, &[(Action::Created, 0); MAX_WAL_BYTES / MAX_REMOTE_ID + 1]);
    let Input::Native(native) = &mut input else { unreachable!() };
    (0..).zip(&mut native.changes).for_each(|(id, change)| change.remote_id = long(id));
    assert_eq!(world.feed(&[input]), [Err(Rejection::TooManyChanges)]);

    let mut input = world.native(DeliveryId::None, &[(Action::Updated, 0); 5]);
    let Input::Native(native) = &mut input else { unreachable!() };
    native.changes.iter_mut().for_each(|change| change.event_data = Some("x".repeat(MAX_EVENT_BYTES / 4)));
    assert_eq!(world.feed(&[input]), [Err(Rejection::TooManyChanges)]);
    assert!(world.records().is_empty());
}

#[test]
fn of_a_request_that_is_too_much_for_its_events_the_body_is_left_out_and_each_is_told() {
    let mut world = World::new(Announce::Created);
    let mut input = world.native(DeliveryId::None, &[(Action::Updated, 0); 5]);
    let Input::Native(native) = &mut input else { unreachable!() };
    let raw = format!(r#"{{"headers":{{}},"body":"{}"}}"#, "x".repeat(MAX_EVENT_BYTES / 4));
    native.changes.iter_mut().for_each(|change| change.raw_event = Some(raw.clone()));
    let decision = world.feed(&[input]).remove(0).unwrap();
    assert_eq!(decision.events.len(), 5);
    for event in decision.events {
        let Subject::Record { raw_event, .. } = event.subject else { panic!("a record") };
        assert_eq!(raw_event.as_deref(), Some(r#"{"headers":{},"body_omitted":true}"#));
    }
}

#[test]
fn a_name_that_is_too_long_is_turned_away_in_each_kind_of_message() {
    let mut world = World::new(Announce::Created);
    let long = RemoteId::new("x".repeat(MAX_REMOTE_ID + 1));
    let mut native = world.native(DeliveryId::None, &[(Action::Updated, 0)]);
    if let Input::Native(native) = &mut native {
        native.changes[0].remote_id = long.clone();
    }
    assert_eq!(world.feed(&[native]), [Err(Rejection::RemoteIdTooLong)]);
    let listed = Listed { remote_id: long.clone(), content: Content::Unread };
    let (mut world, range) = listing(0, vec![listed.clone()]);
    let tombstone = Tombstone { remote_id: long, deleted_at: None };
    let (changed, deleted, notification) = (vec![listed], vec![tombstone], None);
    let changed =
        DeltaPage { run: range.run.clone(), changed, deleted: vec![], notification: notification.clone() };
    let deleted = DeltaPage { run: range.run.clone(), changed: vec![], deleted, notification };
    for snapshot in [Snapshot::Range(range), Snapshot::Delta(changed), Snapshot::Delta(deleted)] {
        assert_eq!(rejection(&mut world, snapshot), Some(Rejection::RemoteIdTooLong));
    }
}

#[test]
fn what_can_t_be_decoded_sets_its_account_aside_alone() {
    let mut world = World::told_of(0..3);
    let key = CellKey::Head(source().account, Resource::HrisEmployees);
    world.state.absorb(Cell { key, ts: i64::MAX, value: Some(CellValue::Unreadable) });
    let input = world.native(DeliveryId::None, &[(Action::Updated, 0)]);
    assert_eq!(world.feed(std::slice::from_ref(&input)), [Err(Rejection::UnreadableState)]);
    let Input::Native(mut other) = input else { unreachable!() };
    other.source.account = "another".parse().unwrap();
    other.changes[0].remote_id = remote(9);
    assert!(world.feed(&[Input::Native(other)])[0].is_ok());
}

#[test]
fn a_cut_is_not_left_for_one_that_is_too_coarse() {
    let mut world = World::new(Announce::Created);
    for bits in [7, 0] {
        let flight = world.scan(bits);
        let decided = world.feed(&[flight[0].clone()]).remove(0);
        assert_eq!(decided.err(), (bits == 0).then_some(Rejection::CutTooCoarse));
        let head = world.head().map(|head| head.bits);
        assert_eq!(head, Bits::new(7));
    }
}

#[test]
fn an_account_is_no_record() {
    let mut world = World::new(Announce::Created);
    let mut input = world.native(DeliveryId::None, &[(Action::Created, 0)]);
    let Input::Native(native) = &mut input else { unreachable!() };
    native.changes[0].resource = Resource::Account;
    assert_eq!(world.feed(&[input]), [Err(Rejection::NotARecord)]);
}
