//! Ranges that move from one cut to another, whatever comes meanwhile. `+1` is `created` of record 1, `~1` `updated`,
//! `-1` `deleted`.

use tributary_schemas::{id::Bits, observation::Announce, resource::Action};

use super::world::{World, first};
use crate::record::Note;

#[test]
fn native_events_before_the_first_scan_are_moved_into_its_cut() {
    let mut world = World::new(Announce::Nothing);
    world.set(0..20);
    (0..20).for_each(|id| world.hear(Action::Created, id));
    assert_eq!(world.head().map(|head| head.bits), Some(Bits::NATIVE));
    world.told();
    world.remove([19]);
    world.scan_now(2);
    assert_eq!(world.told(), "", "the baseline is silent");
    assert_eq!((world.live(), world.rows().len()), (world.true_live(), 4), "the old rows are gone");
    world.remove([18]);
    world.scan_now(2);
    assert_eq!(world.told(), "-18");
}

#[test]
fn an_account_that_grows_is_cut_finer_without_an_event() {
    let mut world = World::told_of(0..40);
    for bits in [1, 4, 2] {
        world.scan_now(bits);
        assert_eq!(world.told(), "", "a move tells nothing");
        assert_eq!((world.live(), world.rows().len()), (world.true_live(), 1 << bits));
    }
}

#[test]
fn a_move_that_broke_off_goes_on_and_no_other_begins_before_its_end() {
    let mut world = World::told_of(0..40);
    world.wait(10);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    world.set([0]);
    world.hear(Action::Updated, 1);
    world.told();
    world.scan_now(3);
    assert_eq!((world.told(), world.notes.contains(&Note::MoveUnfinished)), (String::new(), true));
    world.scan_now(2);
    assert_eq!(world.told(), "~0");
    world.scan_now(3);
    assert_eq!((world.told(), world.rows().len()), (String::new(), 8));
    assert_eq!(world.live(), world.true_live());
}

#[test]
fn a_move_of_which_nothing_was_done_may_take_another_cut() {
    let mut world = World::told_of(0..40);
    for bits in [2, 3, 0, 1] {
        world.wait(10);
        let summary = first(&mut world.scan(bits), 1);
        world.land(summary);
        assert_eq!(world.head().and_then(|head| head.bits_before), Bits::new(0).filter(|_| bits != 0));
    }
    world.set([0]);
    world.hear(Action::Updated, 1);
    world.told();
    world.scan_now(4);
    assert_eq!((world.told(), world.rows().len()), ("~0".into(), 16));
    assert_eq!(world.live(), world.true_live());
}

#[test]
fn during_a_move_a_record_is_found_where_it_is() {
    let mut world = World::told_of(0..40);
    world.wait(10);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    world.set(0..40);
    world.delta_now(0..40);
    assert_eq!(world.told().split(' ').filter(|told| told.starts_with('~')).count(), 40);
    (0..40).for_each(|id| world.hear(Action::Deleted, id));
    assert_eq!(world.told().split(' ').filter(|told| told.starts_with('-')).count(), 40);
}

#[test]
fn a_resync_during_a_move_announces_each_record_once() {
    let mut world = World::told_of(0..20);
    world.wait(10);
    let mut broken = world.scan(2);
    let begun = first(&mut broken, 3);
    world.land(begun);
    world.begin_anew(Announce::Created);
    for _ in 0..2 {
        world.scan_now(2);
    }
    let told = world.told();
    assert_eq!(told.split(' ').filter(|told| told.starts_with('+')).count(), 20);
    assert_eq!(told.split(' ').count(), 20, "{told}");
}
