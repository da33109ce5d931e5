//! What several test programs of this crate share.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod stand_in;
pub(crate) mod strategies;
