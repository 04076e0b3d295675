//! Cells come together in any order, and the later one wins.

use proptest::prelude::*;
use tributary_schemas::{
    id::{Bits, RemoteId, RunId},
    state::{At, Introduced, State},
    time::Timestamp,
};

use super::*;

const ACCOUNTS: [&str; 2] = ["a", "b"];

fn bucket(account: &str) -> Bucket {
    Bucket {
        account: account.parse().unwrap(),
        resource: Resource::HrisEmployees,
        bits: Bits::NATIVE,
        range: 0,
    }
}

fn record(id: u32, run: u64) -> Known {
    let remote_id = RemoteId::new(id.to_string());
    let at = At::Run { run: RunId(run), begun_at: Timestamp::from_micros(0) };
    Known { state: State::Touched, at, introduced: Introduced::Yes, sequence: None, remote_id }
}

/// A mutation of one of two accounts; two that are equal in kind write the same cell.
fn mutation() -> impl Strategy<Value = Mutation> {
    let account = prop::sample::select(&ACCOUNTS[..]);
    prop_oneof![
        6 => (account.clone(), 0..3u32, prop::option::of(0..9u64)).prop_map(|(account, id, run)| {
            let key = RemoteId::new(id.to_string()).key();
            Mutation::Record { bucket: bucket(account), key, known: run.map(|run| record(id, run)) }
        }),
        2 => (account.clone(), prop::option::of(0..9u32)).prop_map(|(account, live)| {
            let row = live.map(|live| RangeRow { live, ..RangeRow::EMPTY });
            Mutation::Range { bucket: bucket(account), row }
        }),
        1 => account.prop_map(|account| Mutation::Forget { account: account.parse().unwrap(), cuts: Vec::new() }),
    ]
}

/// What can be seen of an account's cells.
type Seen = (Vec<(RecordKey, Known)>, Option<RangeRow>);

fn seen(cells: &Cells) -> Vec<Seen> {
    let of = |account: &&str| {
        let records = cells.slice(&bucket(account)).map(|(key, known)| (key, known.clone())).collect();
        (records, cells.range(&bucket(account)).cloned())
    };
    ACCOUNTS.iter().map(of).collect()
}

fn written_by(timed: &[(i64, Mutation)]) -> Cells {
    let mut cells = Cells::default();
    timed.iter().for_each(|(ts, mutation)| cells.mutate(*ts, mutation));
    cells
}

#[test]
fn a_removed_cell_is_not_seen_and_hides_what_was_before_it() {
    let key = RemoteId::new("1").key();
    let write = |known| Mutation::Record { bucket: bucket("a"), key, known };
    let cells = written_by(&[(2, write(None)), (1, write(Some(record(1, 1))))]);
    assert_eq!((cells.record(&bucket("a"), key), cells.len()), (None, 1));
}

proptest! {
    #[test]
    fn writing_is_commutative_and_repeatable(
        mutations in prop::collection::vec(mutation(), 0..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let timed: Vec<_> = (1..).zip(mutations).collect();
        let mut shuffled: Vec<_> = order.iter().filter_map(|index| timed.get(index.index(20))).cloned().collect();
        shuffled.extend(timed.iter().rev().cloned());
        prop_assert_eq!(seen(&written_by(&shuffled)), seen(&written_by(&timed)));
    }

    #[test]
    fn of_two_sets_the_later_cells_win(mutations in prop::collection::vec(mutation(), 0..20), cut in 0..20usize) {
        let timed: Vec<_> = (1..).zip(mutations).collect();
        let (early, late) = timed.split_at(cut.min(timed.len()));
        for (first, second) in [(early, late), (late, early)] {
            let mut both = written_by(first);
            both.absorb_all(&written_by(second));
            prop_assert_eq!(seen(&both), seen(&written_by(&timed)));
        }
    }

    #[test]
    fn what_is_forgotten_stays_so(mutations in prop::collection::vec(mutation(), 0..20)) {
        let forget = Mutation::Forget { account: "a".parse().unwrap(), cuts: Vec::new() };
        let mut timed = vec![(100, forget)];
        timed.extend((1..).zip(mutations));
        let cells = written_by(&timed);
        prop_assert_eq!(&seen(&cells)[0], &(vec![], None));
        prop_assert!(cells.marked(&CellKey::Forgotten("a".parse().unwrap())));
    }
}
