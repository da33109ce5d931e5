//! What a user asks of a copy, and what they are told while it goes: values only.

use super::explain::Explained;
use crate::backend::BackendChoice;
use crate::limits::CONNECT_TIMEOUT;
use crate::location::Location;
use crate::paths::PathChoice;
use crate::retry::Patience;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use xfer_engine::codec::Compression;
use xfer_engine::sink::{Compare, Overwrite};
use xfer_engine::source::Preserve;
use xfer_engine::{Class, CongestionControl, Durability, Error, FileEnd, PathPair, Poll, Progress};

/// How content is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM, or ChaCha20-Poly1305 where this CPU has no AES instructions.
    #[default]
    Auto,
    /// Not: only where the node allows it.
    None,
}

/// One of the ordered `--include` and `--exclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Whether what matches is taken.
    pub include: bool,
    /// A glob as in gitignore, on the path relative to the source.
    pub glob: String,
}

/// How to copy.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the options of `xferctl cp`")]
pub struct CopyOptions {
    pub recursive: bool,
    pub backend: BackendChoice,
    pub congestion: CongestionControl,
    /// Bits a second: cap of the whole transfer; with `fixed` the rate of each path.
    pub rate: Option<u64>,
    pub cipher: Cipher,
    /// Whether content is verified by BLAKE3.
    pub digests: bool,
    pub compression: Compression,
    /// log2 of the chunk size; `None`: 1 MiB.
    pub chunk_log2: Option<u8>,
    pub compare: Compare,
    pub overwrite: Overwrite,
    pub preserve: Preserve,
    pub durability: Durability,
    pub dry_run: bool,
    /// Whether a forecast is wanted ([`CopyEvent::Explained`]).
    pub explain: bool,
    pub connect_timeout: Duration,
    /// `--retries` and `--max-duration`.
    pub patience: Patience,
    /// Content bytes after which the copy ends (class `TransferLimit`).
    pub max_transfer: Option<u64>,
    pub error_on_no_transfer: bool,
    pub filters: Vec<Filter>,
    /// Paths relative to the only source; empty: all of it.
    pub files_from: Vec<Vec<u8>>,
    /// `--path`; empty: chosen.
    pub paths: Vec<PathChoice>,
    pub cores: Vec<usize>,
    pub workers: Option<usize>,
    pub poll: Poll,
}

impl Default for CopyOptions {
    fn default() -> Self {
        CopyOptions {
            recursive: false,
            backend: BackendChoice::default(),
            congestion: CongestionControl::Bbr,
            rate: None,
            cipher: Cipher::Auto,
            digests: true,
            compression: Compression::None,
            chunk_log2: None,
            compare: Compare::Mtime,
            overwrite: Overwrite::Always,
            preserve: Preserve::default(),
            durability: Durability::Batch,
            dry_run: false,
            explain: false,
            connect_timeout: CONNECT_TIMEOUT,
            patience: Patience::default(),
            max_transfer: None,
            error_on_no_transfer: false,
            filters: Vec::new(),
            files_from: Vec::new(),
            paths: Vec::new(),
            cores: Vec::new(),
            workers: None,
            poll: Poll::Adaptive,
        }
    }
}

impl CopyOptions {
    /// # Errors
    /// `Usage` for what contradicts itself.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let usage = |why: &str| Err(Error::new(Class::Usage, why));
        if self.congestion == CongestionControl::Fixed && self.rate.is_none() {
            return usage("--cc fixed needs --rate");
        }
        if self.rate == Some(0) {
            return usage("a rate is above 0");
        }
        if self.chunk_log2.is_some_and(|log2| !(16..=26).contains(&log2)) {
            return usage("a chunk is a power of two from 64 KiB to 64 MiB");
        }
        if self.compare == Compare::Digest && !self.digests {
            return usage("--compare digest needs digests");
        }
        Ok(())
    }
}

/// A copy to be made.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// What to copy, at least one.
    pub sources: Vec<Location>,
    /// Where to.
    pub destination: Location,
    /// How.
    pub options: CopyOptions,
    /// When the process started: durations count from here.
    pub started: Instant,
    /// Set by a signal: the copy ends soon, keeping what it has.
    pub cancel: Arc<AtomicBool>,
}

impl CopyRequest {
    /// A request with default options that starts now.
    pub fn new(sources: Vec<Location>, destination: Location) -> Self {
        CopyRequest {
            sources,
            destination,
            options: CopyOptions::default(),
            started: Instant::now(),
            cancel: Arc::default(),
        }
    }
}

/// What a copy tells while it goes.
#[derive(Clone, Debug)]
pub enum CopyEvent {
    /// A decision, for `--explain` and `-v`.
    Decision(String),
    /// What is about to be done, and what to expect; only when asked for.
    Explained(Box<Explained>),
    /// Dry run: what would go where.
    Mapping {
        /// As the source's end knows it.
        source: Vec<u8>,
        /// As the destination's end knows it.
        destination: Vec<u8>,
        /// Bytes of a regular file.
        size: u64,
    },
    /// The connection stands; the node calls the transfer so.
    Connected(String),
    /// A path carries.
    PathUp(PathPair),
    /// A path is gone, and why.
    PathDown(PathPair, String),
    /// An object ended.
    File(FileEnd),
    /// Something was left out or is degraded.
    Warning {
        /// The object, if it is about one.
        name: Option<Vec<u8>>,
        /// What and why.
        text: String,
    },
    /// Totals of the copy by now, earlier attempts included; several times a second.
    Progress(Box<Progress>),
    /// The attempt failed; the next one starts after `wait`.
    Retry {
        /// How many retries without progress this makes.
        number: u32,
        /// Until then.
        wait: Duration,
        /// Why.
        error: Error,
    },
}
