//! Two hosts of the lab, joined by wires, each pinned to one core: host a runs clients, host b what serves.

use std::cell::Cell;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use xfer_lab::{Config, Host, Lab};

use crate::failure::{Doing, Failure, Outcome};
use crate::limits::{HOLD_BURST_BYTES, HOLD_QUEUE_BYTES, PORTS, PORTS_OF_RUN, TCP_BUFFER_BYTES_MAX};

/// Two hosts that are up, taken down with everything that runs on them when this is dropped.
pub(crate) struct Stage {
    _lab: Lab,
    pub(crate) client: Side,
    pub(crate) node: Side,
    port: Cell<u16>,
}

/// One host and its core.
pub(crate) struct Side {
    pub(crate) host: Host,
    pub(crate) core: usize,
}

/// The lab's name: one at a time for each process, and never another's.
pub(crate) fn lab_name() -> String {
    format!("cmp{}", std::process::id())
}

impl Stage {
    /// Brings the hosts up with the wires of `config`.
    pub(crate) fn up(config: Config) -> Outcome<Stage> {
        let [first, second] = cores()?;
        let is_single = config.wires.len() == 1;
        let lab = Lab::up(&Config { name: lab_name(), ..config }).doing("bring the lab up")?;
        let side = |letter, core| Side { host: lab.host(letter), core };
        let (client, node) = (side("a", first), side("b", second));
        let stage = Stage { _lab: lab, client, node, port: Cell::new(PORTS.start) };
        for setting in ["tcp_rmem", "tcp_wmem"] {
            stage.set(&format!("ipv4/{setting}"), &format!("4096 131072 {TCP_BUFFER_BYTES_MAX}"))?;
        }
        if is_single {
            stage.add_broadcast()?;
        }
        Ok(stage)
    }

    /// Gives wire 1 a broadcast address, by which some receivers and senders find each other. The kernel takes one with a new address only.
    fn add_broadcast(&self) -> Outcome {
        for side in [&self.client, &self.node] {
            let address = format!("{}/24", side.host.ipv4(1));
            let words = [vec!["del", address.as_str()], vec!["add", address.as_str(), "brd", "+"]];
            for words in words {
                let mut command = side.host.command("ip");
                command.arg("addr").args(words).args(["dev", "x1"]);
                if !command.status().doing("start ip")?.success() {
                    return Err(Failure::new(format!("host {} gets no broadcast address", side.host.name())));
                }
            }
        }
        Ok(())
    }

    /// Holds what both hosts send over `wire`, from 1, to `gbit` Gbit/s, by the kernel.
    pub(crate) fn hold(&self, wire: usize, gbit: u64) -> Outcome {
        for side in [&self.client, &self.node] {
            let mut command = side.host.command("tc");
            command.args(["qdisc", "add", "dev", &format!("x{wire}"), "root", "tbf", "rate"]);
            command.arg(format!("{gbit}gbit")).args(["burst", HOLD_BURST_BYTES, "limit", HOLD_QUEUE_BYTES]);
            if !command.status().doing("start tc")?.success() {
                return Err(Failure::new(format!(
                    "tc does not hold wire {wire} of host {}",
                    side.host.name()
                )));
            }
        }
        Ok(())
    }

    /// Writes a value below `/proc/sys/net` on both hosts.
    pub(crate) fn set(&self, name: &str, value: &str) -> Outcome {
        let path = Path::new("/proc/sys/net").join(name);
        for side in [&self.client, &self.node] {
            let written = side.host.enter(|| fs::write(&path, value)).doing("enter a host")?;
            written.doing(format_args!(
                "write {value} to {} on host {}",
                path.display(),
                side.host.name()
            ))?;
        }
        Ok(())
    }

    /// The congestion control of TCP on both hosts.
    pub(crate) fn set_congestion(&self, name: &str) -> Outcome {
        self.set("ipv4/tcp_congestion_control", name)
    }

    /// Host b's address on `wire`, from 1.
    pub(crate) fn node_address(&self, wire: usize) -> Ipv4Addr {
        self.node.host.ipv4(wire)
    }

    /// Host a's address on `wire`, from 1.
    pub(crate) fn client_address(&self, wire: usize) -> Ipv4Addr {
        self.client.host.ipv4(wire)
    }

    /// The first of a few ports that no run has used before.
    pub(crate) fn fresh_port(&self) -> u16 {
        let port = self.port.get();
        let next = port + PORTS_OF_RUN;
        self.port.set(if next + PORTS_OF_RUN > PORTS.end { PORTS.start } else { next });
        port
    }
}

impl Side {
    /// Bytes that this host has received over all its wires, headers included.
    pub(crate) fn received_bytes(&self) -> Outcome<u64> {
        let read = || fs::read_to_string("/proc/thread-self/net/dev");
        let table = self.host.enter(read).doing("enter a host")?.doing("read /proc/net/dev")?;
        Ok(received(&table))
    }

    /// Whether something on this host waits for TCP connections to `port`, or has a UDP socket there.
    pub(crate) fn listens(&self, protocol: &str, port: u16) -> Outcome<bool> {
        let tables = [protocol.to_owned(), format!("{protocol}6")];
        let read = || tables.map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")));
        let found = self.host.enter(read).doing("enter a host")?;
        Ok(found.into_iter().flatten().any(|table| has_socket(&table, port)))
    }
}

/// Sum of the bytes that the lab's interfaces received in a table of `/proc/net/dev`.
fn received(table: &str) -> u64 {
    let wires = table.lines().filter_map(|line| line.trim().split_once(':'));
    let wires = wires.filter(|(name, _)| name.starts_with('x'));
    wires.filter_map(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// Whether a table of `/proc/net/tcp` or its kin has a socket at `port` in state 0A (TCP listens) or 07 (UDP is bound).
fn has_socket(table: &str, port: u16) -> bool {
    let end = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&end)) && matches!(fields.nth(1), Some("0A" | "07"))
    })
}

/// The cores of host a and host b: the first two that this process may use, or its only one.
fn cores() -> Outcome<[usize; 2]> {
    let set = sched_getaffinity(Pid::from_raw(0)).doing("ask for the cores of this process")?;
    let mut own = (0..CpuSet::count()).filter(|core| set.is_set(*core) == Ok(true));
    let first = own.next().ok_or_else(|| Failure::new("this process has no core"))?;
    Ok([first, own.next().unwrap_or(first)])
}

/// Takes down what a run that was interrupted has left: lab and scratch directory.
pub(crate) fn abandon(scratch: &Path) {
    let lab = Lab::down(&lab_name()).doing("take the lab down");
    let files = crate::scratch::clear(scratch);
    for failure in [lab, files].into_iter().filter_map(Result::err) {
        eprintln!("compare: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_port_and_state() {
        let line = |port: u16, state| {
            format!("  sl  local\n 0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 0\n")
        };
        assert!(has_socket(&line(5_001, "0A"), 5_001) && has_socket(&line(5_001, "07"), 5_001));
        assert!(!has_socket(&line(5_001, "01"), 5_001) && !has_socket(&line(5_002, "0A"), 5_001));
        assert!(!has_socket("", 0));
    }

    #[test]
    fn only_the_wires_count() {
        let table = "Inter-| Receive\n face |bytes packets\n  lo: 5 1 0\n  x1: 70 1 0\n x2:  7 1 0\n";
        assert_eq!(received(table), 77);
    }
}
