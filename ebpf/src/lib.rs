//! eBPF programs that steer, filter and measure the traffic of a node, and the code that loads them.
//!
//! `programs/` holds them in C, `objects/` what clang makes of them, which is committed, so that users need no compiler; `cargo xtask
//! ebpf` makes the objects again and CI compares. Rust code here loads an object, attaches it and speaks to it by its maps:
//! [`attach()`] is the XDP program, for AF_XDP and as a filter before the kernel's sockets; [`watch()`] are the tcx programs,
//! which count the paths of a node whose bytes the kernel moves. Which connections there are, which queue
//! a worker has, and what figures mean is decided elsewhere. The wire is that of PROTOCOL.md; tests hold the programs against
//! the codec of `xfer-proto`.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod attach;
mod census;
mod clock;
mod error;
mod interface;
mod layout;
pub mod limits;
mod maps;
mod pins;
mod rights;
mod watch;

pub use attach::{Attached, Tried, Verdict, attach, load_only};
pub use census::{Census, Figures, Hook, census};
pub use error::EbpfError;
pub use interface::XdpMode;
pub use layout::{Fate, Fates, META_LEN, Meta, PathKey, PathRow, Point, Row, Seen, bucket_end_ns};
pub use pins::{adopt, attach_pinned, detach, pinned};
pub use watch::{Sights, Watched, watch, watch_only};
