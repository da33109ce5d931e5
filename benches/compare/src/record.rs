//! One figure: a tool in a case of a workload, with all its runs and the commands. Kept as JSON lines, a file a workload.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Outcome};
use crate::statistics::Spread;

/// What a figure counts in, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "Gbit/s")]
    Gbit,
    #[serde(rename = "Mbit/s")]
    Mbit,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Millis,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Gbit => "Gbit/s",
            Unit::Mbit => "Mbit/s",
            Unit::Seconds => "s",
            Unit::Millis => "ms",
        }
    }

    /// Whether more is better.
    pub(crate) fn is_rate(self) -> bool {
        matches!(self, Unit::Gbit | Unit::Mbit)
    }
}

/// A tool in a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) workload: String,
    pub(crate) case: String,
    pub(crate) peer: String,
    /// The product itself.
    pub(crate) ours: bool,
    pub(crate) encrypted: bool,
    pub(crate) verified: bool,
    pub(crate) unit: Unit,
    /// One for each run, in their order.
    pub(crate) values: Vec<f64>,
    /// Seconds of CPU of each side, medians; 0 where it is not known.
    pub(crate) client_cpu_s: f64,
    pub(crate) server_cpu_s: f64,
    /// Bytes of content of one run; 0 where it is not known.
    pub(crate) bytes: u64,
    /// Most memory resident in any run, KiB; 0 where it is not known.
    pub(crate) client_rss_kib: u64,
    pub(crate) server_rss_kib: u64,
    /// As one could type them.
    pub(crate) client: String,
    pub(crate) servers: Vec<String>,
    /// What is special about its runs, or why there are none.
    pub(crate) note: String,
}

impl Record {
    pub(crate) fn spread(&self) -> Option<Spread> {
        Spread::of(&self.values)
    }

    /// What the tool does for content besides moving it.
    pub(crate) fn guards(&self) -> &'static str {
        match (self.encrypted, self.verified) {
            (false, false) => "plain",
            (false, true) => "verified",
            (true, false) => "encrypted",
            (true, true) => "encrypted, verified",
        }
    }

    /// Seconds of CPU for 10^9 bytes of content: of the client and of what serves.
    pub(crate) fn cpu_s_per_gb(&self) -> Option<[f64; 2]> {
        let gigabytes = self.bytes as f64 / 1e9;
        let known = gigabytes > 0.0 && self.client_cpu_s > 0.0 && self.server_cpu_s > 0.0;
        known.then(|| [self.client_cpu_s, self.server_cpu_s].map(|seconds| seconds / gigabytes))
    }
}

/// A workload's records and how they came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) workload: String,
    /// The command that made it.
    pub(crate) command: String,
    /// Day, as 2026-11-21.
    pub(crate) day: String,
    /// How long it took.
    pub(crate) seconds: u64,
    /// Processor, cores, kernel.
    pub(crate) machine: String,
    /// The product's commit.
    pub(crate) commit: String,
}

fn place(dir: &Path, workload: &str) -> PathBuf {
    dir.join(format!("{workload}.jsonl"))
}

/// Writes `dir`/WORKLOAD.jsonl anew: first the run, then its records.
pub(crate) fn save(dir: &Path, run: &Run, records: &[Record]) -> Outcome {
    fs::create_dir_all(dir).doing(format_args!("make {}", dir.display()))?;
    let mut text = serde_json::to_string(run).doing("write a run as JSON")? + "\n";
    for record in records {
        text += &serde_json::to_string(record).doing("write a record as JSON")?;
        text.push('\n');
    }
    let path = place(dir, &run.workload);
    fs::write(&path, text).doing(format_args!("write {}", path.display()))
}

/// Reads what [`save`] wrote; none where there is no such file.
pub(crate) fn load(dir: &Path, workload: &str) -> Outcome<Option<(Run, Vec<Record>)>> {
    let path = place(dir, workload);
    if !path.exists() {
        return Ok(None);
    }
    let what = || format!("read {}", path.display());
    let text = fs::read_to_string(&path).doing(what())?;
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let run = serde_json::from_str(first).doing(what())?;
    let records: Result<Vec<Record>, _> = rest.lines().map(serde_json::from_str).collect();
    Ok(Some((run, records.doing(what())?)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of `peer` with these values.
    pub(crate) fn sample(peer: &str, unit: Unit, values: &[f64]) -> Record {
        Record {
            workload: "big".into(),
            case: "MTU 1500".into(),
            peer: peer.into(),
            ours: peer.starts_with("xferctl"),
            encrypted: false,
            verified: true,
            unit,
            values: values.to_vec(),
            client_cpu_s: 1.0,
            server_cpu_s: 0.5,
            bytes: 2_000_000_000,
            client_rss_kib: 2_048,
            server_rss_kib: 0,
            client: format!("{peer} a b"),
            servers: vec!["serve".into()],
            note: String::new(),
        }
    }

    /// How the figures of a workload came to be.
    pub(crate) fn run(workload: &str) -> Run {
        Run {
            workload: workload.into(),
            command: format!("cargo xtask bench compare --only {workload}"),
            day: "2026-11-21".into(),
            seconds: 61,
            machine: "m".into(),
            commit: "0".into(),
        }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let run = run("big");
        let records = [sample("nc", Unit::Gbit, &[1.5, 2.0]), sample("scp", Unit::Seconds, &[])];
        save(dir.path(), &run, &records).unwrap();
        assert_eq!(load(dir.path(), "big").unwrap(), Some((run, records.to_vec())));
        assert_eq!(load(dir.path(), "small").unwrap(), None);
    }

    #[test]
    fn cpu_is_counted_per_gigabyte() {
        let mut record = sample("nc", Unit::Gbit, &[1.0]);
        assert_eq!(record.cpu_s_per_gb(), Some([0.5, 0.25]));
        record.server_cpu_s = 0.0;
        assert_eq!(record.cpu_s_per_gb(), None);
    }
}
