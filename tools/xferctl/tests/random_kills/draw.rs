//! What is drawn of a kill: a value made of a seed and the kill's number.

use std::hash::{BuildHasher, RandomState};

/// The end that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Client,
    Node,
}

/// Parts of a copy's life, each from a sign that can be seen to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// From the start of the client until something is made at the destination.
    Handshake,
    /// Until content is there.
    Manifest,
    /// Until the last file has its name.
    Data,
    /// Until the client has ended.
    Finish,
}

impl Phase {
    pub(crate) const ALL: [Phase; 4] = [Phase::Handshake, Phase::Manifest, Phase::Data, Phase::Finish];
}

/// A kill.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    pub(crate) victim: Victim,
    pub(crate) phase: Phase,
    /// How far into the phase, of how long it usually takes; a little more than all of it at most.
    pub(crate) share: f64,
    /// Whether the journal is written by time, not by bytes.
    pub(crate) slow: bool,
}

/// How far beyond a phase's usual end a kill may come.
const BEYOND: f64 = 1.1;

impl Draw {
    /// Kill `number` of `seed`. Eight in a row reach both ends in all phases.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        let mut state = seed ^ number.wrapping_mul(0xa076_1d64_78bd_642f);
        let share = (next(&mut state) >> 11) as f64 / (1_u64 << 53) as f64 * BEYOND;
        let victim = if number.is_multiple_of(2) { Victim::Client } else { Victim::Node };
        let slow = next(&mut state).is_multiple_of(2);
        Draw { victim, phase: Phase::ALL[(number / 2) as usize % Phase::ALL.len()], share, slow }
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A seed that no run had before.
pub(crate) fn any_seed() -> u64 {
    RandomState::new().hash_one(0) >> 32
}
