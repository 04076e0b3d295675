//! A listing and what is kept, side by side, by record key.

use std::cmp::Ordering;

use tributary_schemas::{
    id::{RecordKey, RemoteId},
    observation::{Content, Listed, RangeListing},
};

use super::stored::Kept;
use crate::{
    range::FINEST,
    unify::{decide::limits::MAX_RECORDS, rejection::Rejection},
};

/// A listed record with its key.
pub(super) type Keyed<'a> = (RecordKey, &'a Listed);

/// A record that is listed, kept, or both.
pub(super) struct Pair<'a> {
    pub(super) key: RecordKey,
    pub(super) remote_id: &'a RemoteId,
    /// What the listing says of it; `None`: it is not listed.
    pub(super) content: Option<Content>,
    /// What is kept of it.
    pub(super) kept: Option<&'a Kept<'a>>,
}

/// The listed records with their keys.
///
/// # Errors
/// A [`Rejection`] unless they are sorted, each once, and all of the listing's range.
pub(super) fn keyed(listing: &RangeListing) -> Result<Vec<Keyed<'_>>, Rejection> {
    let bits = listing.run.bits;
    if bits > FINEST {
        return Err(Rejection::CutTooFine);
    }
    if listing.range >= bits.ranges() {
        return Err(Rejection::NoSuchRange);
    }
    if listing.records.len() > MAX_RECORDS {
        return Err(Rejection::TooManyRecords);
    }
    let keyed: Vec<_> = listing.records.iter().map(|listed| (listed.remote_id.key(), listed)).collect();
    if keyed.iter().any(|(key, _)| key.range(bits) != listing.range) {
        return Err(Rejection::Misplaced);
    }
    if !keyed.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(Rejection::Unsorted);
    }
    Ok(keyed)
}

/// Both lists, which are sorted by key, as one.
pub(super) fn pair<'a>(listed: &[Keyed<'a>], kept: &'a [Kept<'a>]) -> Vec<Pair<'a>> {
    let (mut listed, mut kept) = (listed.iter().peekable(), kept.iter().peekable());
    let mut pairs = Vec::with_capacity(listed.len().max(kept.len()));
    loop {
        let order = match (listed.peek(), kept.peek()) {
            (Some((key, _)), Some(kept)) => key.cmp(&kept.key),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return pairs,
        };
        let there = listed.next_if(|_| order.is_le());
        let known = kept.next_if(|_| order.is_ge());
        let named = there.map(|(key, listed)| (*key, &listed.remote_id));
        pairs.extend(named.or(known.map(|kept| (kept.key, &kept.known.remote_id))).map(
            |(key, remote_id)| Pair {
                key,
                remote_id,
                content: there.map(|(_, listed)| listed.content),
                kept: known,
            },
        ));
    }
}
