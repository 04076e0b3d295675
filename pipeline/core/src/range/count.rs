//! What a range's row counts of its records.

use tributary_schemas::{
    id::RecordKey,
    state::{RangeRow, State, weight},
};

/// Counts a record in.
pub(super) fn add(row: &mut RangeRow, key: RecordKey, state: State) {
    match state {
        State::Live(hash) => {
            row.live += 1;
            row.sum = row.sum.wrapping_add(weight(key, hash));
        }
        State::Touched => row.touched += 1,
        State::Missing { .. } => row.missing += 1,
        State::Gone => {}
    }
}

/// Counts a record out that was counted in.
pub(super) fn remove(row: &mut RangeRow, key: RecordKey, state: State) {
    match state {
        State::Live(hash) => {
            row.live = row.live.saturating_sub(1);
            row.sum = row.sum.wrapping_sub(weight(key, hash));
        }
        State::Touched => row.touched = row.touched.saturating_sub(1),
        State::Missing { .. } => row.missing = row.missing.saturating_sub(1),
        State::Gone => {}
    }
}

/// The row with its records counted anew.
pub fn counted(row: &RangeRow, records: impl IntoIterator<Item = (RecordKey, State)>) -> RangeRow {
    let empty = RangeRow { projection: row.projection, run: row.run, ..RangeRow::EMPTY };
    records.into_iter().fold(empty, |mut row, (key, state)| {
        add(&mut row, key, state);
        row
    })
}
