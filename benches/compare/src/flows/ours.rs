//! The product: `xferctl bench run` to `xferctl bench serve`.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Flow, Job};
use crate::failure::{Failure, Outcome};
use crate::line::Line;
use crate::peers::{ENCRYPTED, Guards, PLAIN, Serving, xfer};

/// One way of running it.
pub(crate) struct Ours {
    pub(crate) encrypted: bool,
    /// More options, and what the tables call them.
    pub(crate) options: &'static str,
    /// Wires to use, from 1; all without any.
    pub(crate) wires: Vec<usize>,
}

impl Ours {
    /// All wires, nothing special.
    pub(crate) fn new(encrypted: bool) -> Self {
        Self { encrypted, options: "", wires: Vec::new() }
    }
}

/// Whether the product has `bench VERB`.
pub(crate) fn has_verb(verb: &str) -> bool {
    let mut command = Command::new(xfer::program());
    command.args(["bench", verb, "--help"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Flow for Ours {
    fn name(&self) -> String {
        let kind = if self.encrypted { "xferctl bench run" } else { "xferctl bench run --no-encrypt" };
        let wires: Vec<String> = self.wires.iter().map(|wire| format!(" wire {wire}")).collect();
        let options = if self.options.is_empty() { String::new() } else { format!(" {}", self.options) };
        format!("{kind}{options}{}", wires.concat())
    }

    fn guards(&self) -> Guards {
        if self.encrypted { ENCRYPTED } else { PLAIN }
    }

    fn available(&self) -> Result<(), String> {
        let both = has_verb("run") && has_verb("serve");
        if both { Ok(()) } else { Err(format!("{} has no `bench run`", xfer::program().display())) }
    }

    fn serve(&self, job: &Job) -> Serving {
        xfer::node("bench serve", &job.dir, &job.nodes, job.port)
    }

    fn send(&self, job: &Job, told: &[String]) -> Outcome<Line> {
        let line = Line::new(xfer::program()).args("bench run --json --seconds").arg(job.seconds + job.skip);
        let line = if self.encrypted { line } else { line.arg("--no-encrypt") };
        let line = line.args(self.options);
        let pair = |wire: &usize| format!("{}={}", job.clients[wire - 1], job.nodes[wire - 1]);
        let line = self.wires.iter().fold(line, |line, wire| line.arg("--path").arg(pair(wire)));
        Ok(line.arg(xfer::link(told)?))
    }

    fn read(&self, job: &Job, output: &str) -> Outcome<f64> {
        let lines: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let summary = lines.iter().rfind(|line| line["type"] == "summary");
        let gbps = summary.and_then(|summary| summary["gbps"].as_f64());
        let gbps = gbps.ok_or_else(|| Failure::new("xferctl told no summary"))?;
        if job.skip == 0 {
            return Ok(gbps * 1e9);
        }
        steady(&lines, job.skip as f64).ok_or_else(|| Failure::new("xferctl told no intervals"))
    }
}

/// Mean rate of the intervals that begin after `skip` seconds, bits per second.
fn steady(lines: &[Value], skip: f64) -> Option<f64> {
    let span = |line: &Value| {
        let (from, to) = (line["from_s"].as_f64()?, line["to_s"].as_f64()?);
        (from >= skip - 0.05 && to > from).then_some((to - from, line["gbps"].as_f64()?))
    };
    let spans: Vec<(f64, f64)> = lines.iter().filter_map(span).collect();
    let seconds: f64 = spans.iter().map(|(seconds, _)| seconds).sum();
    (seconds > 0.0).then(|| spans.iter().map(|(seconds, gbps)| seconds * gbps * 1e9).sum::<f64>() / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_does_not_count() {
        let interval =
            |from: f64, to: f64, gbps: f64| serde_json::json!({"from_s": from, "to_s": to, "gbps": gbps});
        let lines = [
            interval(0.0, 1.0, 1.0),
            interval(1.0, 2.0, 4.0),
            interval(2.0, 2.5, 8.0),
            serde_json::json!({"type": "summary", "gbps": 3.0}),
        ];
        assert_eq!(steady(&lines, 1.0), Some((4.0 + 4.0) / 1.5 * 1e9));
        assert_eq!(steady(&lines, 3.0), None);
    }
}
