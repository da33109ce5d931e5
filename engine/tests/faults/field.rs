//! Copies of a small tree between two engines over loopback, from a directory with faults into a directory with faults.

use crate::pair::{PATIENCE, connector, listener, noise, start, workers};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;
use xfer_engine::codec::Compression;
use xfer_engine::sink::{FileSink, SinkSpec, Target};
use xfer_engine::source::{FileSource, Filter, Location, Preserve, SourceItem, SourceSpec};
use xfer_engine::{Durability, Engine, Error, Event, FileEnd, Outcome, Transfer, TransferConfig};
use xfer_io::file::Root;
use xfer_io::file::faults::Faults;

pub(crate) const CHUNK_LOG2: u8 = 16;
pub(crate) const CHUNK: usize = 1 << CHUNK_LOG2;

/// Two engines and the settings of what is copied between them.
pub(crate) struct Engines {
    from: Engine,
    to: Engine,
    secret: AtomicU8,
}

impl Engines {
    pub(crate) fn new() -> Self {
        Engines { from: connector(workers(1)), to: listener(workers(1)), secret: AtomicU8::new(1) }
    }
}

/// A source tree and a destination, each with faults of its own.
pub(crate) struct Field {
    pub(crate) from: TempDir,
    pub(crate) to: TempDir,
    pub(crate) source: Faults,
    pub(crate) destination: Faults,
    pub(crate) durability: Durability,
    /// The destination, open before anything fails.
    root: Root,
}

/// What a copy came to, as both ends tell it.
pub(crate) struct Copied {
    pub(crate) sender: Told,
    pub(crate) receiver: Told,
}

pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) ends: Vec<FileEnd>,
}

impl Told {
    /// Reads what a transfer tells until it ends.
    fn all(transfer: &Transfer) -> Told {
        let mut ends = Vec::new();
        loop {
            match transfer.events().recv_timeout(PATIENCE).expect("the transfer ends") {
                Event::File(end) => ends.push(end),
                Event::Finished(outcome) => return Told { outcome: *outcome, ends },
                _ => {}
            }
        }
    }

    /// Everything that went wrong, the whole transfer's error first.
    pub(crate) fn errors(&self) -> Vec<&Error> {
        let files = self.ends.iter().filter_map(|end| end.error.as_ref());
        self.outcome.error.iter().chain(files).collect()
    }
}

impl fmt::Debug for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (end, told) in [("sender", &self.sender), ("receiver", &self.receiver)] {
            let errors: Vec<String> = told.errors().iter().map(ToString::to_string).collect();
            writeln!(f, "{end}: {} failed, {errors:#?}", told.outcome.progress.failed)?;
        }
        Ok(())
    }
}

impl Copied {
    pub(crate) fn is_clean(&self) -> bool {
        self.sender.errors().is_empty() && self.receiver.errors().is_empty()
    }
}

/// Files of a directory and all below it, those of ours that are in progress left out.
pub(crate) type Contents = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) fn contents(top: &Path) -> Contents {
    let mut found = Contents::new();
    let mut open = vec![top.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if entry.file_type().expect("a kind").is_dir() {
                if entry.file_name() != ".xfer-partial" {
                    open.push(path);
                }
            } else {
                let name = path.strip_prefix(top).expect("below").to_path_buf();
                let content = match entry.file_type().expect("a kind").is_symlink() {
                    true => fs::read_link(&path).expect("a symlink").as_os_str().as_bytes().to_vec(),
                    false => fs::read(&path).expect("a file"),
                };
                found.insert(name, content);
            }
        }
    }
    found
}

impl Field {
    /// One file of six chunks, some that share a chunk, one that travels in the manifest, in two directories, and a symlink.
    pub(crate) fn new() -> Self {
        let field = Field::empty();
        field.put("large", 1, 6 * CHUNK - 5);
        for n in 0..4 {
            field.put(&format!("sub/packed{n}"), 10 + n, 3_000 + 700 * n as usize);
        }
        field.put("sub/deep/inline", 30, 100);
        field.put("sub/deep/empty", 31, 0);
        std::os::unix::fs::symlink("large", field.from.path().join("to-large")).expect("a symlink");
        field
    }

    /// Two empty directories.
    pub(crate) fn empty() -> Self {
        let directory = || tempfile::tempdir().expect("a directory");
        let (from, to) = (directory(), directory());
        let faults = |dir: &TempDir| Faults::below(dir.path()).expect("faults");
        let (source, destination) = (faults(&from), faults(&to));
        let root = Root::open(to.path()).expect("the destination");
        Field { from, to, source, destination, durability: Durability::Batch, root }
    }

    /// A file of the source.
    pub(crate) fn put(&self, name: &str, seed: u64, len: usize) {
        put(self.from.path(), name, seed, len);
    }

    /// Copies what is in the source into the destination.
    pub(crate) fn copy(&self, engines: &Engines) -> Copied {
        let item = SourceItem {
            location: Location::Path(self.from.path().to_path_buf()),
            name: b".".to_vec(),
            shown: b"src".to_vec(),
        };
        let source = FileSource::new(SourceSpec {
            items: vec![item],
            recursive: true,
            filter: Filter::default(),
            preserve: Preserve::default(),
            compression: Compression::None,
            digests: true,
            inline_max: 512,
            list_digests: false,
            want_digests: true,
            cache: None,
        });
        let target = Target::into_directory(self.root.clone());
        let spec = SinkSpec { durability: self.durability, ..SinkSpec::new(target, CHUNK_LOG2) };
        let config = TransferConfig { chunk_log2: CHUNK_LOG2, ..TransferConfig::default() };
        let secret = engines.secret.fetch_add(1, Ordering::Relaxed);
        let ends = start(
            (&engines.from, Arc::new(source.expect("a source"))),
            (&engines.to, Arc::new(FileSink::new(spec))),
            secret,
            &config,
        );
        Copied { sender: Told::all(&ends.sender), receiver: Told::all(&ends.receiver) }
    }

    /// The fault is gone: a rerun completes, and nothing of ours is left anywhere.
    #[track_caller]
    pub(crate) fn completes(&self, engines: &Engines, case: &str) {
        self.source.clear();
        self.destination.clear();
        let copied = self.copy(engines);
        assert!(copied.is_clean(), "{case}: the rerun fails: {copied:#?}");
        let (wanted, got) = (contents(self.from.path()), contents(self.to.path()));
        assert!(wanted == got, "{case}: {:?} and {:?}", wanted.keys(), got.keys());
        self.leaks_nothing(case);
        assert_eq!(partials(self.to.path()), Vec::<PathBuf>::new(), "{case}");
    }

    /// No descriptor is open on anything of the field, though the engines live on. A transfer that ended early leaves its last jobs to I/O
    /// threads; only the end of these would tell that they are done, and would close what leaks as well. So this looks until it is so.
    #[track_caller]
    pub(crate) fn leaks_nothing(&self, case: &str) {
        let mut open = Vec::new();
        let end = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < end {
            open = descriptors(&[self.from.path(), self.to.path()]);
            // `root` alone.
            if open.len() == 1 {
                return;
            }
            std::thread::yield_now();
        }
        panic!("{case}: still open: {open:?}");
    }

    /// Each name of the destination is whole: what it was before, or what the source has.
    #[track_caller]
    pub(crate) fn is_whole(&self, before: &Contents, case: &str) {
        let source = contents(self.from.path());
        let now = contents(self.to.path());
        for (name, content) in &now {
            let known = [source.get(name), before.get(name)];
            assert!(known.contains(&Some(content)), "{case}: {} is torn", name.display());
        }
        for name in before.keys() {
            assert!(now.contains_key(name), "{case}: {} is gone", name.display());
        }
    }
}

pub(crate) fn put(top: &Path, name: &str, seed: u64, len: usize) {
    let path = top.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    fs::write(path, noise(len, seed)).expect("a file");
}

/// Partial directories below `top`.
pub(crate) fn partials(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top).expect("a directory").map(|entry| entry.expect("an entry")) {
        if entry.file_name() == ".xfer-partial" {
            found.push(entry.path());
        } else if entry.file_type().expect("a kind").is_dir() {
            found.extend(partials(&entry.path()));
        }
    }
    found
}

/// What this process has open below these directories.
fn descriptors(tops: &[&Path]) -> Vec<PathBuf> {
    let tops: Vec<PathBuf> = tops.iter().map(|top| top.canonicalize().expect("there")).collect();
    let open = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    open.filter(|path| tops.iter().any(|top| path.starts_with(top))).collect()
}
