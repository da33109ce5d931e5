//! Random numbers of a seed (SplitMix64).

use std::time::Duration;

/// What is drawn next.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The numbers of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Draw(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A time between two, in milliseconds.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

/// A number that the environment names, or this one.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    let named = std::env::var(name).ok();
    named.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
