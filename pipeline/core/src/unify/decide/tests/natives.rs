//! Native requests, what an event tells, and forgotten accounts. `+1` is `created` of record 1, `~1` `updated`, `-1`
//! `deleted`.

use tributary_schemas::{
    event::Subject,
    observation::{Announce, DeliveryId, Snapshot},
    resource::{Action, Mode},
};

use super::world::{World, source};
use crate::{record::Note, unify::decide::Input};

#[test]
fn what_comes_after_a_forget_is_dropped() {
    let mut world = World::told_of(0..4);
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
fn the_same_delivery_is_silent() {
    for (rule, wait) in [
        ("at once", 0),
        ("across midnight", 24 * 60),
        ("three days later", 3 * 24 * 60),
        ("by a clock that is behind, across midnight", -24 * 60),
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
        assert_eq!(world.told(), "", "{rule}");
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
