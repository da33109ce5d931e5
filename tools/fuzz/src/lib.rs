//! Fuzz targets: what reads bytes of a peer or of a file, each fed with any bytes. In: an input. Out: nothing, or a panic that says which
//! promise is broken.

#![forbid(unsafe_code)]

mod duel;
mod targets;

/// Names the target that the fuzzing program runs.
pub const TARGET_VARIABLE: &str = "XFER_FUZZ_TARGET";

/// What becomes of an input that ends in the middle of something: it has said all it has to say.
const ENDED_EARLY: () = ();

/// One thing that is fed with bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of the folder with its inputs.
    pub name: &'static str,
    /// Takes an input; panics where a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const fn targets() -> &'static [Target] {
    targets::ALL
}

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    targets::ALL.iter().find(|target| target.name == name)
}
