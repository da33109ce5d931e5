//! Files beneath a root (stages 1 and 9): chunk bytes come from here and end here.
//!
//! A [`Root`] is an open directory; names are raw bytes relative to it and cannot leave it, whatever symlinks are
//! there (openat2 with `RESOLVE_BENEATH`, Linux 5.6). Reading follows symlinks that stay inside, writing follows
//! none. Every system call on a file is in one place, `sys`. Nothing here is asynchronous: calls may block.
//!
//! Below `sys` tests may switch in faults and have calls recorded (feature `faults`, asked for by development dependencies alone).

mod call;
mod error;
mod extents;
#[cfg(feature = "faults")]
pub mod faults;
#[cfg(not(feature = "faults"))]
#[path = "faults_absent.rs"]
mod faults;
mod handle;
mod listing;
mod name;
mod root;
mod stat;
mod sys;

pub use error::FileError;
pub use extents::Extents;
pub use handle::File;
pub use listing::{Entry, Listing};
pub use root::{Follow, Replace, Root};
pub use stat::{Kind, Space, Stat, Timestamp};
