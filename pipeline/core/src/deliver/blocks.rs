//! Which blocks of a partition hold anything that a webhook missed, so that a sweep can pass over the others (design §7).
//!
//! A bitmap of at most 4 KiB; past that, the blocks are twice as large. What it does not know is to be read.

use serde::{Deserialize, Serialize};

/// A block's offsets at first.
const SIZE: i64 = 4_096;
/// The most bytes of a bitmap.
const BYTES_MOST: usize = 4_096;

/// A bitmap over the blocks of `start..end`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// The first offset that it knows, and the one after the last.
    start: i64,
    end: i64,
    /// Offsets a block: `SIZE` doubled so often.
    doubled: u8,
    bits: Vec<u8>,
}

impl Blocks {
    /// Knows nothing below `start`.
    pub const fn from(start: i64) -> Self {
        Self { start, end: start, doubled: 0, bits: Vec::new() }
    }

    /// The offset after the last that it knows.
    pub const fn end(&self) -> i64 {
        self.end
    }

    /// What it takes.
    pub const fn bytes(&self) -> usize {
        self.bits.len()
    }

    /// Everything below `offset` that was not marked holds nothing.
    pub fn known_to(&mut self, offset: i64) {
        self.end = self.end.max(offset);
    }

    /// The record at `offset` was missed.
    pub fn mark(&mut self, offset: i64) {
        if offset < self.start {
            return;
        }
        self.end = self.end.max(offset + 1);
        while self.index(offset) >= BYTES_MOST * 8 {
            self.double();
        }
        let index = self.index(offset);
        if self.bits.len() <= index / 8 {
            self.bits.resize(index / 8 + 1, 0);
        }
        self.bits[index / 8] |= 1 << (index % 8);
    }

    /// What lies between what it knows and `offset` is not known: it is to be read.
    pub fn unknown_to(&mut self, offset: i64) {
        let step = SIZE << self.doubled;
        let mut at = self.end;
        while at < offset {
            self.mark(at);
            at = (at / step + 1) * step;
        }
        self.end = self.end.max(offset);
    }

    /// The first offset from `offset` on that may have been missed.
    pub fn next(&self, offset: i64) -> i64 {
        if offset < self.start || offset >= self.end {
            return offset;
        }
        let marked =
            |index: usize| self.bits.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0);
        let last = self.index(self.end - 1);
        let index = self.index(offset);
        if marked(index) {
            return offset;
        }
        match (index + 1..=last).find(|index| marked(*index)) {
            Some(found) => self.first_of(found).max(offset),
            None => self.end,
        }
    }

    fn index(&self, offset: i64) -> usize {
        let base = self.start / SIZE;
        usize::try_from((offset / SIZE - base) >> self.doubled).unwrap_or(0)
    }

    fn first_of(&self, index: usize) -> i64 {
        ((self.start / SIZE) + ((index as i64) << self.doubled)) * SIZE
    }

    fn double(&mut self) {
        let halves =
            |index: usize| self.bits.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0);
        let mut bits = vec![0; self.bits.len().div_ceil(2)];
        for index in 0..bits.len() * 8 {
            if halves(index * 2) || halves(index * 2 + 1) {
                bits[index / 8] |= 1 << (index % 8);
            }
        }
        self.bits = bits;
        self.doubled += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It never passes over what was missed, never goes back, and stays small.
        #[test]
        fn nothing_that_was_missed_is_passed_over(start in 0_i64..100_000, steps in prop::collection::vec((1_i64..3_000_000, any::<bool>()), 0..200)) {
            let (mut blocks, mut missed, mut at) = (Blocks::from(start), BTreeSet::new(), start);
            for (step, wanted) in steps {
                at += step;
                if wanted { blocks.mark(at); missed.insert(at); }
                blocks.known_to(at + 1);
            }
            let (mut from, end) = (start, blocks.end());
            while from < end {
                let next = blocks.next(from);
                prop_assert!(next >= from);
                prop_assert_eq!(missed.range(from..next).next(), None);
                from = next + 1;
            }
            prop_assert!(blocks.bits.len() <= BYTES_MOST);
        }
    }

    #[test]
    fn foreign_blocks_are_passed_over_and_the_unknown_is_read() {
        let mut blocks = Blocks::from(100);
        blocks.mark(50_000);
        blocks.known_to(90_000);
        for (offset, next, rule) in [
            (10, 10, "below what it knows"),
            (100, 49_152, "the first block that holds something"),
            (49_999, 49_999, "within it"),
            (53_248, 90_000, "nothing more"),
            (95_000, 95_000, "not known yet"),
        ] {
            assert_eq!(blocks.next(offset), next, "{rule}");
        }
        blocks.unknown_to(200_000);
        assert_eq!(blocks.next(120_000), 120_000);
    }
}
