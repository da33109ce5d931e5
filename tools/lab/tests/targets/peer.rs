//! One kernel TCP flow from host b to host a, by iperf3.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use xfer_lab::Lab;

use crate::{ON_WIRE, TCP_PAYLOAD};

/// Buffers of TCP that hold several bandwidth-delay products, bytes.
const BUFFERS: &str = "4096 1048576 67108864";

/// A flow under way.
pub(crate) struct Flow {
    server: Child,
    client: Option<Child>,
}

/// Host b's or a's namespace holds TCP to small buffers otherwise.
fn widen(lab: &Lab) {
    for host in ["a", "b"] {
        let script = format!(
            "echo '{BUFFERS}' > /proc/sys/net/ipv4/tcp_rmem && echo '{BUFFERS}' > /proc/sys/net/ipv4/tcp_wmem"
        );
        let status = lab.host(host).command("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "TCP's buffers of host {host}");
    }
}

impl Flow {
    /// Starts a flow under `control` for so long.
    pub(crate) fn start(lab: &Lab, control: &str, length: Duration) -> Flow {
        widen(lab);
        let (a, b) = (lab.host("a"), lab.host("b"));
        let mut server = a.command("iperf3");
        server.args(["-s", "-1", "-J", "-B", &a.ipv4(1).to_string()]);
        let mut server = spawn(&mut server);
        wait_for_port(lab, &mut server);
        let mut client = b.command("iperf3");
        client.args(["-J", "-c", &a.ipv4(1).to_string(), "-C", control]);
        client.args(["-i", "1", "-t", &length.as_secs().to_string()]);
        Flow { server, client: Some(spawn(&mut client)) }
    }

    /// Waits for its end; gives payload bytes a second from one second of it to another.
    pub(crate) fn rate(mut self, from: usize, until: usize) -> f64 {
        let client = self.client.take().expect("it runs").wait_with_output().unwrap();
        let told: Value = serde_json::from_slice(&client.stdout).unwrap();
        let intervals = told["intervals"].as_array().unwrap_or_else(|| panic!("{told}"));
        let chosen = &intervals[from..until.min(intervals.len())];
        let sum = |key: &str| chosen.iter().map(|one| one["sum"][key].as_f64().unwrap()).sum::<f64>();
        sum("bytes") / sum("seconds")
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        for child in [Some(&mut self.server), self.client.as_mut()].into_iter().flatten() {
            if child.try_wait().is_ok_and(|ended| ended.is_none()) {
                child.kill().and_then(|()| child.wait().map(drop)).expect("iperf3 ends");
            }
        }
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().expect("iperf3 is installed (Debian package iperf3)")
}

/// Waits until iperf3 listens.
fn wait_for_port(lab: &Lab, server: &mut Child) {
    let read = || std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    // 5201, listening.
    while !lab.host("a").enter(read).unwrap().lines().any(|line| line.contains(":1451 00000000:0000 0A")) {
        assert!(server.try_wait().unwrap().is_none(), "iperf3 ended");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a wire holds of TCP's payload, bytes a second.
pub(crate) fn tcp_goodput(rate_bps: u64) -> f64 {
    rate_bps as f64 / 8.0 * TCP_PAYLOAD / ON_WIRE
}
