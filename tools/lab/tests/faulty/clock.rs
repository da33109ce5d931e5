//! The wall clock of one process, which a test can set: `clock.c`, built by the C compiler that linking needs anyway. The machine's clock is
//! left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::Environment;

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// A clock that can be set.
pub(crate) struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// A clock that is right, with what it needs in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faulty/clock.c");
        let library = directory.join("clock.so");
        let mut build = Command::new("cc");
        build.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        assert!(build.status().expect("there is cc").success(), "clock.c is built");
        Clock { library, offset: directory.join("clock-offset") }
    }

    /// What a process has to find in its environment to use it.
    pub(crate) fn environment(&self) -> Environment {
        vec![("LD_PRELOAD", self.library.clone().into()), ("CLOCK_OFFSET", self.offset.clone().into())]
    }

    /// Steps it by so many seconds from the right time.
    pub(crate) fn step(&self, seconds: i64) {
        // At once, so that nobody reads half of it.
        let whole = self.offset.with_extension("new");
        fs::write(&whole, seconds.to_string()).unwrap();
        fs::rename(whole, &self.offset).unwrap();
    }
}
