//! What a process takes of its machine.

use std::fs;

/// Memory and descriptors of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Bytes of memory that is resident.
    pub(crate) rss: u64,
    pub(crate) descriptors: usize,
}

impl Sample {
    /// Of a process, by its number.
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kib: u64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count();
        Sample { rss: kib << 10, descriptors }
    }

    /// The median of several: memory, and descriptors at least.
    pub(crate) fn median(mut samples: Vec<Sample>) -> Self {
        samples.sort_by_key(|sample| sample.rss);
        let descriptors = samples.iter().map(|sample| sample.descriptors).min().expect("some");
        Sample { rss: samples[samples.len() / 2].rss, descriptors }
    }
}
