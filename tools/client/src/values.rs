//! The engine's values that a user of this crate meets: one crate to depend on, not two.

pub use crate::transfer::best_suite;
pub use xfer_engine::codec::Compression;
pub use xfer_engine::io::descriptors::raise as raise_descriptor_limit;
pub use xfer_engine::io::error::IoError;
pub use xfer_engine::io::thread::{affinity, pin_current};
pub use xfer_engine::sink::Action;
pub use xfer_engine::stages;
pub use xfer_engine::{
    Backend, Class, CongestionControl, Durability, EngineConfig, EngineSize, Error, FileEnd, PathPair,
    PathReport, Poll, Progress, Quantiles, Side, Stage, Suite, XdpMode, XdpOptions,
};
