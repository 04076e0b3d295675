//! What is kept of an account and can't be read, taken away, so that the account can be decided again.
//!
//! Cells are unify's to write. Nothing here takes anything away that unify writes later: what can't be read is removed at
//! its own timestamp, and what is written anew has the next.

use tributary_core::{
    cells::{Cell, CellKey, CellValue, Want},
    range::counted,
};
use tributary_schemas::{
    id::AccountId,
    resource::Resource,
    state::{Bucket, Head, RangeRow},
    wal::Mutation,
};

use crate::store::{StateStore, StoreError};

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Records of which nothing is known any more: the next full scan that lists them tells them as created, again.
    pub records: usize,
    /// Ranges whose row could not be read: the next full scan takes what it finds in them over as a baseline.
    pub rows: usize,
    /// Heads that could not be read: they were made anew, of the ranges' rows.
    pub heads: usize,
    /// Ranges whose row did not count what is in them: the next full scan sends them, and unify counts anew.
    pub miscounted: usize,
}

/// Takes away what can't be read of an account. Repeatable.
///
/// # Errors
/// When the store is away: ask again.
pub async fn repair(state: &dyn StateStore, account: &AccountId) -> Result<Repaired, StoreError> {
    let mut repaired = Repaired::default();
    let outline = state.outline(account).await?;
    let mut mutations = Vec::new();
    for cell in &outline {
        match (&cell.key, &cell.value) {
            (CellKey::Head(_, resource), Some(CellValue::Unreadable)) => {
                repaired.heads += 1;
                let (account, resource) = (account.clone(), *resource);
                let head = head_of(&outline, resource);
                mutations.push((cell.ts + 1, Mutation::Head { account, resource, head }));
            }
            (CellKey::Range(bucket), value) => {
                let row = match value {
                    Some(CellValue::Range(row)) => Some(row),
                    _ => {
                        repaired.rows += 1;
                        mutations.push((cell.ts, Mutation::Range { bucket: bucket.clone(), row: None }));
                        None
                    }
                };
                mutations
                    .extend(in_slice(state, bucket, row.map(|row| (cell.ts, row)), &mut repaired).await?);
            }
            _ => {}
        }
    }
    state.apply(&mutations).await?;
    Ok(repaired)
}

/// What is to be done in a range. One that lost a record, or whose row counts otherwise than it has records, is to be sent by
/// the next full scan: its row is made to differ from whatever is listed.
async fn in_slice(
    state: &dyn StateStore,
    bucket: &Bucket,
    row: Option<(i64, &RangeRow)>,
    repaired: &mut Repaired,
) -> Result<Vec<(i64, Mutation)>, StoreError> {
    let mut mutations = Vec::new();
    let mut records = Vec::new();
    for Cell { key, ts, value } in state.read(&[Want::Slice(bucket.clone())]).await? {
        match (key, value) {
            (CellKey::Record(bucket, key), Some(CellValue::Unreadable)) => {
                mutations.push((ts, Mutation::Record { bucket, key, known: None }));
            }
            (CellKey::Record(_, key), Some(CellValue::Record(known))) => records.push((key, known.state)),
            _ => {}
        }
    }
    repaired.records += mutations.len();
    if let Some((ts, row)) = row {
        let differs = counted(row, records) != *row;
        repaired.miscounted += usize::from(differs && mutations.is_empty());
        if differs {
            let row = Some(RangeRow { sum: row.sum.wrapping_add(1), ..row.clone() });
            mutations.push((ts + 1, Mutation::Range { bucket: bucket.clone(), row }));
        }
    }
    Ok(mutations)
}

/// How a resource stands, as its ranges' rows have it: the cut that the last run was in, and the other one, if there is one.
fn head_of(outline: &[Cell], resource: Resource) -> Head {
    let rows = outline.iter().filter_map(|cell| match (&cell.key, &cell.value) {
        (CellKey::Range(bucket), Some(CellValue::Range(row))) if bucket.resource == resource => {
            Some((row.run, bucket.bits))
        }
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    let Some((last_full_run, bits)) = rows.iter().copied().max() else { return Head::NATIVE };
    let bits_before = rows.iter().map(|(_, other)| *other).find(|other| *other != bits);
    let here = rows.iter().filter(|(_, other)| *other == bits).count() as u32;
    let moved = if bits_before.is_some() { here } else { 0 };
    Head { last_full_run, bits, bits_before, moved }
}
