//! Chance, from a seed: SplitMix64, so that a seed means the same history on every machine and release.

/// A source of chance.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// One of `from..to`.
    pub(crate) fn within(&mut self, from: i64, to: i64) -> i64 {
        from + (self.next() % (to - from).max(1) as u64) as i64
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.within(0, end as i64) as usize
    }

    /// Happens so many times in a thousand.
    pub(crate) fn permille(&mut self, times: i64) -> bool {
        self.within(0, 1_000) < times
    }

    /// A span of up to `most` microseconds, short ones more often than long ones.
    pub(crate) fn span(&mut self, most: i64) -> i64 {
        let bits = 64 - (most as u64).leading_zeros();
        let ceiling = 1_i64 << self.within(6, i64::from(bits.max(7)));
        self.within(1, ceiling.min(most).max(2))
    }
}
