//! iperf3: TCP as the kernel has it, one or more streams; over several wires by MPTCP.

use serde_json::Value;

use super::{Flow, Job};
use crate::failure::{Doing, Failure, Outcome};
use crate::line::Line;
use crate::peers::{Guards, PLAIN, Serving, find_program};
use crate::process::Ready;

/// One way of running it.
pub(crate) struct Iperf {
    /// Congestion control.
    pub(crate) control: &'static str,
    pub(crate) streams: usize,
    /// Through mptcpize.
    pub(crate) multipath: bool,
    /// From host a's address of this wire to host b's, from 1.
    pub(crate) wire: usize,
}

impl Iperf {
    /// One wire, TCP.
    pub(crate) fn new(control: &'static str, streams: usize) -> Self {
        Self { control, streams, multipath: false, wire: 1 }
    }

    fn program(&self) -> Line {
        if self.multipath { Line::new("mptcpize").args("run iperf3") } else { Line::new("iperf3") }
    }
}

impl Flow for Iperf {
    fn name(&self) -> String {
        let kind = if self.multipath { "MPTCP (mptcpize iperf3)" } else { "iperf3" };
        let streams = if self.streams == 1 { String::new() } else { format!(", {} streams", self.streams) };
        let wire = if self.wire == 1 { String::new() } else { format!(", wire {}", self.wire) };
        format!("{kind} {}{streams}{wire}", self.control)
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn available(&self) -> Result<(), String> {
        let missing = |name: &str| find_program(name).is_none();
        if missing("iperf3") {
            return Err("no iperf3 here (Debian: iperf3)".into());
        }
        if self.multipath && missing("mptcpize") {
            return Err("no mptcpize here (Debian: mptcpize)".into());
        }
        Ok(())
    }

    fn serve(&self, job: &Job) -> Serving {
        let line = self.program().args("-s -p").arg(job.port);
        Serving { line, ready: Ready::Tcp(job.port) }
    }

    fn send(&self, job: &Job, _: &[String]) -> Outcome<Line> {
        let line =
            self.program().arg("-c").arg(job.nodes[self.wire - 1]).arg("-B").arg(job.clients[self.wire - 1]);
        let line = line.arg("-p").arg(job.port).arg("-C").arg(self.control).arg("-P").arg(self.streams);
        let line = if job.skip > 0 { line.arg("-O").arg(job.skip) } else { line };
        Ok(line.arg("-t").arg(job.seconds).arg("-J"))
    }

    fn read(&self, _: &Job, output: &str) -> Outcome<f64> {
        let report: Value = serde_json::from_str(output).doing("read iperf3's report")?;
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        rate.ok_or_else(|| Failure::new(format!("iperf3 told no rate: {}", report["error"])))
    }
}
