//! What this machine's stages allow, as `xferctl bench stages` measures them: the line to which the product is compared.

use std::process::Stdio;

use serde_json::Value;

use crate::failure::{Doing, Failure, Outcome};
use crate::flows::has_verb;
use crate::line::Line;
use crate::peers::xfer;
use crate::record::{Record, Unit};
use crate::stage::Stage;
use crate::statistics::digits;
use crate::workloads::Setting;

/// Where content comes from and goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Files of so many bytes.
    File(u64),
    Memory,
}

impl From {
    /// How the names of its kinds begin.
    fn name(self) -> &'static str {
        match self {
            From::File(_) => "file to file",
            From::Memory => "memory to memory",
        }
    }
}

/// The limits of each kind of transfer, as records of case `case`; none, and a line that says why, where they cannot be measured.
pub(crate) fn records(
    stage: &Stage,
    setting: &Setting<'_>,
    workload: &str,
    case: &str,
    from: From,
    mtu: u32,
) -> Vec<Record> {
    if !setting.wants("xferctl") {
        return Vec::new();
    }
    if !has_verb("stages") {
        eprintln!("  limit: {} has no `bench stages`", xfer::program().display());
        return Vec::new();
    }
    let mut line =
        Line::new("xferctl").args("bench stages --json --mtu").arg(mtu).arg("--dir").path(setting.dir);
    if let From::File(bytes) = from {
        line = line.arg("--size").arg(bytes);
    }
    let shown = line.show(&xfer::hidden(&[], setting.dir));
    match measure(stage, setting, &line.words()[1..]) {
        Ok(summary) => read(&summary, from).map(|kind| record(workload, case, &shown, kind)).collect(),
        Err(failure) => {
            eprintln!("  limit: {failure}");
            Vec::new()
        }
    }
}

/// A kind of transfer and what the stages allow it.
#[derive(Debug, PartialEq)]
struct Kind {
    name: String,
    encrypted: bool,
    verified: bool,
    bits_per_second: f64,
    /// `send` or `receive`.
    side: String,
}

fn record(workload: &str, case: &str, shown: &str, kind: Kind) -> Record {
    let gbit = kind.bits_per_second / 1e9;
    eprintln!("  limit: {} Gbit/s", digits(gbit));
    Record {
        workload: workload.into(),
        case: case.into(),
        peer: format!("limit of the stages, {}", kind.name),
        ours: true,
        encrypted: kind.encrypted,
        verified: kind.verified,
        unit: Unit::Gbit,
        values: vec![gbit],
        client_cpu_s: 0.0,
        server_cpu_s: 0.0,
        bytes: 0,
        client_rss_kib: 0,
        server_rss_kib: 0,
        client: shown.to_owned(),
        servers: Vec::new(),
        note: format!("set by the side that {}s", kind.side),
    }
}

/// On no host: it makes its own wire.
fn measure(stage: &Stage, setting: &Setting<'_>, words: &[String]) -> Outcome<Value> {
    let mut command = stage.client.host.command(xfer::program());
    command.args(words).current_dir(setting.dir).stdin(Stdio::null());
    let output = command.output().doing("start xferctl bench stages")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = text.lines().rev().find_map(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        (value["type"] == "summary").then_some(value)
    });
    summary.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Failure::new(format!("xferctl bench stages told no summary: {}", crate::process::last_words(&said)))
    })
}

fn read(summary: &Value, from: From) -> impl Iterator<Item = Kind> {
    let cases = summary["cases"].as_array().cloned().unwrap_or_default();
    cases.into_iter().filter_map(move |case| {
        let name = case["case"].as_str().filter(|name| name.starts_with(from.name()))?.to_owned();
        Some(Kind {
            name,
            encrypted: case["encrypted"].as_bool()?,
            verified: case["verified"].as_bool()?,
            bits_per_second: case["limit_gbps"].as_f64()? * 1e9,
            side: case["limited_side"].as_str().unwrap_or_default().to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_files_are_read() {
        let case = |name: &str, gbps: f64| serde_json::json!({"case": name, "encrypted": true, "verified": false, "limit_gbps": gbps, "limited_side": "send"});
        let summary = serde_json::json!({"type": "summary", "cases": [case("memory to memory", 30.0), case("file to file", 15.0)]});
        let found: Vec<Kind> = read(&summary, From::File(1)).collect();
        let wanted = Kind {
            name: "file to file".into(),
            encrypted: true,
            verified: false,
            bits_per_second: 15e9,
            side: "send".into(),
        };
        assert_eq!(found, [wanted]);
        assert_eq!(read(&serde_json::json!({}), From::File(1)).count(), 0);
    }
}
