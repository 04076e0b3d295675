//! Ranges: which bucket holds a record, and what a range's row says of its records.
//!
//! The row describes *what unify knows*, not the last message: whoever changes a record changes its range's row with it.

mod count;
mod editor;

use std::ops::RangeInclusive;

use tributary_schemas::{
    id::{AccountId, Bits, RecordKey},
    resource::Resource,
    state::{Bucket, Head},
};

pub use self::count::counted;
pub(crate) use self::editor::{Count, Editor};
use crate::cells::Cells;

/// The finest cut that a run may choose, in bits. The rows of a cut are removed in one WAL record when it is left behind.
pub const FINEST: Bits = match Bits::new(14) {
    Some(bits) => bits,
    None => Bits::MAX,
};
/// By how many bits a cut may be coarser than the one before. What only native events made has 6.
pub const COARSENS: u8 = 6;

/// The records of an (account, resource), and how they are cut.
#[derive(Debug, Clone)]
pub struct Ground {
    account: AccountId,
    resource: Resource,
    /// The cut that stands.
    bits: Bits,
    /// The cut that is being left.
    before: Option<Bits>,
}

impl Ground {
    /// Nothing known is as if only native events had been seen.
    pub fn new(account: &AccountId, resource: Resource, head: Option<Head>) -> Self {
        Self {
            account: account.clone(),
            resource,
            bits: head.map_or(Bits::NATIVE, |head| head.bits),
            before: head.and_then(|head| head.bits_before),
        }
    }

    /// As its head in `known` says.
    pub fn of(known: &Cells, account: &AccountId, resource: Resource) -> Self {
        Self::new(account, resource, known.head(account, resource))
    }

    /// A bucket of some cut.
    pub fn bucket(&self, bits: Bits, range: u32) -> Bucket {
        Bucket { account: self.account.clone(), resource: self.resource, bits, range }
    }

    /// The buckets that a record can be in: the new range, and the old one while ranges are being moved.
    pub fn places(&self, key: RecordKey) -> impl Iterator<Item = Bucket> + '_ {
        std::iter::once(self.bits).chain(self.before).map(move |bits| self.bucket(bits, key.range(bits)))
    }

    /// The bucket that a record is in: the new range if that has a row, else the old.
    pub fn place(&self, known: &Cells, key: RecordKey) -> Bucket {
        let new = self.bucket(self.bits, key.range(self.bits));
        match self.before {
            Some(before) if known.range(&new).is_none() => self.bucket(before, key.range(before)),
            Some(_) | None => new,
        }
    }
}

/// The ranges of the cut `of` that share keys with a range of the cut `bits`.
pub fn overlapping(of: Bits, bits: Bits, range: u32) -> RangeInclusive<u32> {
    let (fine, coarse) = (of.get(), bits.get());
    if fine <= coarse {
        let one = range >> (coarse - fine);
        return one..=one;
    }
    let first = range << (fine - coarse);
    first..=first + ((1 << (fine - coarse)) - 1)
}
