//! What this host can do: cores, interfaces, limits of sockets, clock, kernel, backends.

use super::{Finding, Status};
use crate::units::show_size;
use serde_json::json;
use std::fs;
use std::path::Path;
use xfer_client::doctor::{self, Capabilities, Nic, ZeroCopy};

/// Receive buffer that takes in what comes while a chunk is hashed and written, at 10 Gbit/s.
const RMEM_WANTED: u64 = 4 << 20;
/// MTU of jumbo frames.
const MTU_JUMBO: u32 = 9_000;

/// All findings about this host.
pub(super) fn findings() -> Vec<Finding> {
    let mut all = vec![cores()];
    all.extend(nics());
    all.extend([buffers("rmem_max", "receive"), buffers("wmem_max", "send"), clock(), kernel()]);
    all.extend(udp(false).into_iter().chain(udp(true)));
    all.push(xdp());
    all.push(absent("dpdk", "DPDK is not built into this xferctl; the backend `udp` is used"));
    all
}

/// Whether there can be AF_XDP sockets; attaching a program takes rights of its own, and is not tried.
fn xdp() -> Finding {
    let (available, text) = match doctor::xdp() {
        Ok(()) => (
            true,
            "AF_XDP: sockets can be opened; --backend xdp uses them, with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON too"
                .to_owned(),
        ),
        Err(error) => (false, format!("no AF_XDP: {error}; the backend `udp` is used")),
    };
    Finding::new("xdp", Status::Ok, text).fact("available", available)
}

fn absent(check: &'static str, text: &str) -> Finding {
    Finding::new(check, Status::Ok, text).fact("available", false)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn cores() -> Finding {
    let mask = match doctor::affinity() {
        Ok(mask) => mask,
        Err(error) => return Finding::failed("cores", &error),
    };
    let online = read("/sys/devices/system/cpu/online").unwrap_or_default();
    let total = crate::units::cores(&online).map_or(mask.len(), |cores| cores.len());
    let listed: Vec<String> = mask.iter().map(usize::to_string).collect();
    let text = format!("{} of {total} cores may be used: {}", mask.len(), listed.join(","));
    let finding = Finding::new("cores", if mask.len() < 2 { Status::Warn } else { Status::Ok }, text)
        .fact("affinity", mask.clone())
        .fact("online", total);
    if mask.len() >= 2 {
        return finding;
    }
    finding.advise(
        "one core sends, hashes and writes in turns; give the process more with `taskset -c 0-3 xferctl ...`",
    )
}

fn nics() -> Vec<Finding> {
    match doctor::nics() {
        Ok(nics) => nics.iter().map(nic).collect(),
        Err(error) => vec![Finding::failed("nic", &error)],
    }
}

fn nic(nic: &Nic) -> Finding {
    let interface = &nic.interface;
    let name = &interface.name;
    let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
    let queues = queues(name);
    let offloads = nic.offloads.clone().unwrap_or_default();
    let state = match (interface.up, interface.carrier) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    };
    let on: Vec<&str> = [
        ("tso", offloads.tso),
        ("gso", offloads.gso),
        ("gro", offloads.gro),
        ("tx-checksum", offloads.send_checksum),
        ("rx-checksum", offloads.receive_checksum),
    ]
    .iter()
    .filter_map(|(name, on)| on.then_some(*name))
    .collect();
    let driver = if offloads.driver.is_empty() { "no driver" } else { &offloads.driver };
    let queue_text =
        queues.map_or("queues unknown".to_owned(), |(rx, tx)| format!("{rx} rx and {tx} tx queues"));
    let text = format!(
        "{name}: {state}, MTU {}, {driver}, {queue_text}, offloads {}; {}",
        interface.mtu,
        if on.is_empty() { "none".to_owned() } else { on.join(" ") },
        if addresses.is_empty() { "no address".to_owned() } else { addresses.join(" ") },
    );
    let finding = Finding::new("nic", Status::Ok, text)
        .fact("name", name.clone())
        .fact("addresses", addresses)
        .fact("mtu", interface.mtu)
        .fact("up", interface.up)
        .fact("carrier", interface.carrier)
        .fact("rx_queues", queues.map(|(rx, _)| rx))
        .fact("tx_queues", queues.map(|(_, tx)| tx))
        .fact("driver", offloads.driver.clone())
        .fact("offloads", on);
    advice_for(nic, finding)
}

/// What would make a NIC that carries faster.
fn advice_for(nic: &Nic, mut finding: Finding) -> Finding {
    let interface = &nic.interface;
    if interface.loopback || !interface.up || !interface.carrier || interface.addresses.is_empty() {
        return finding;
    }
    let name = &interface.name;
    let mut advice = Vec::new();
    if let Some(offloads) = &nic.offloads {
        if !offloads.gso {
            advice.push(format!("segmented sending is off: ethtool -K {name} gso on"));
        }
        if !offloads.gro {
            advice.push(format!("coalesced receiving is off: ethtool -K {name} gro on"));
        }
    }
    if !advice.is_empty() {
        finding.status = Status::Warn;
    }
    if interface.mtu < MTU_JUMBO {
        advice.push(format!("if all of the way takes jumbo frames: ip link set {name} mtu {MTU_JUMBO}"));
    }
    if advice.is_empty() { finding } else { finding.advise(advice.join("\n")) }
}

/// Receive and transmit queues.
fn queues(name: &str) -> Option<(usize, usize)> {
    let entries = fs::read_dir(Path::new("/sys/class/net").join(name).join("queues")).ok()?;
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let count = |prefix| names.iter().filter(|name| name.starts_with(prefix)).count();
    Some((count("rx-"), count("tx-")))
}

fn buffers(setting: &'static str, what: &str) -> Finding {
    let path = format!("/proc/sys/net/core/{setting}");
    let Some(bytes) = read(&path).and_then(|text| text.parse::<u64>().ok()) else {
        return Finding::new(setting, Status::Warn, format!("{path} cannot be read; the limit is not known"));
    };
    let text = format!("{what} buffers of up to {}", show_size(bytes));
    let enough = bytes >= RMEM_WANTED;
    let finding =
        Finding::new(setting, if enough { Status::Ok } else { Status::Warn }, text).fact("bytes", bytes);
    if enough {
        return finding;
    }
    finding
        .advise(format!("sysctl -w net.core.{setting}={RMEM_WANTED}  (to keep it: a line in /etc/sysctl.d/)"))
}

fn clock() -> Finding {
    let base = "/sys/devices/system/clocksource/clocksource0";
    let Some(source) = read(&format!("{base}/current_clocksource")) else {
        return Finding::new("clock", Status::Warn, "the kernel does not tell its clock source");
    };
    let available = read(&format!("{base}/available_clocksource")).unwrap_or_default();
    // These are read without a system call; others cost about a microsecond each time.
    let fast =
        ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"].contains(&source.as_str());
    let finding =
        Finding::new("clock", if fast { Status::Ok } else { Status::Warn }, format!("clock source {source}"))
            .fact("source", source)
            .fact("available", available.split_whitespace().collect::<Vec<_>>());
    if fast {
        return finding;
    }
    let advice = "reading this clock is slow; if tsc is available: echo tsc > ";
    finding.advise(format!("{advice}{base}/current_clocksource"))
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let finding = |status, text: String| {
        Finding::new("files", status, text)
            .fact("kernel", release.clone())
            .fact("openat2", status == Status::Ok)
    };
    match doctor::confinement() {
        Ok(()) => finding(Status::Ok, format!("Linux {release}, names are confined by openat2")),
        Err(error) => finding(Status::Fail, format!("Linux {release}: {}", crate::complain::render(&error)))
            .advise("xfer needs Linux 5.6 or later, and a sandbox that allows openat2"),
    }
}

fn udp(ipv6: bool) -> Option<Finding> {
    let check = if ipv6 { "udp6" } else { "udp" };
    match doctor::udp(ipv6) {
        Ok(capabilities) => Some(udp_socket(check, &capabilities)),
        // A host without IPv6 is none the worse.
        Err(_) if ipv6 => {
            Some(Finding::new(check, Status::Ok, "no IPv6 on this host").fact("available", false))
        }
        Err(error) => Some(Finding::failed(check, &error).fact("available", false)),
    }
}

/// What sending without copying is worth depends on the way out, so a socket that sent nothing yet has not tried it.
fn zero_copy_text(zero_copy: ZeroCopy) -> &'static str {
    match zero_copy {
        ZeroCopy::Absent => "no",
        ZeroCopy::Untried => "to be tried with each destination",
        ZeroCopy::Used => "yes",
        ZeroCopy::Refused => "no, the kernel copies",
    }
}

fn udp_socket(check: &'static str, capabilities: &Capabilities) -> Finding {
    let trains = capabilities.gso_segments_max > 1;
    let text = format!(
        "trains out (GSO) {}, trains in (GRO) {}, ECN {}, sending without copying {}, busy polling {}, socket buffers {} in and {} out",
        if trains { format!("up to {} datagrams", capabilities.gso_segments_max) } else { "no".to_owned() },
        if capabilities.gro { "yes" } else { "no" },
        if capabilities.ecn { "yes" } else { "no" },
        zero_copy_text(capabilities.zero_copy),
        if capabilities.busy_poll_us > 0 { "yes" } else { "no" },
        show_size(capabilities.receive_buffer as u64),
        show_size(capabilities.send_buffer as u64),
    );
    let whole = trains && capabilities.gro;
    let finding = Finding::new(check, if whole { Status::Ok } else { Status::Warn }, text)
        .fact("available", true)
        .fact("gso_segments", capabilities.gso_segments_max)
        .fact("gro", capabilities.gro)
        .fact("ecn", capabilities.ecn)
        .fact("arrival", capabilities.arrival)
        .fact("zero_copy", capabilities.zero_copy.name())
        .fact("busy_poll_us", capabilities.busy_poll_us)
        .fact("receive_buffer", capabilities.receive_buffer)
        .fact("send_buffer", capabilities.send_buffer)
        .fact("notes", json!(capabilities.notes));
    let mut advice = capabilities.notes.clone();
    if !whole {
        advice.push("trains are worth a factor of nine; they need Linux 4.18 (out) and 5.0 (in)".to_owned());
    }
    if advice.is_empty() { finding } else { finding.advise(advice.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_looked_at() {
        let all = findings();
        for check in ["cores", "nic", "rmem_max", "wmem_max", "clock", "files", "udp", "udp6", "xdp", "dpdk"]
        {
            assert!(all.iter().any(|finding| finding.check == check), "{check}");
        }
    }

    #[test]
    fn a_socket_without_trains_is_told_what_they_are_worth() {
        let bare = Capabilities {
            backend: "udp",
            gso_segments_max: 1,
            gro: false,
            ecn: true,
            arrival: true,
            zero_copy: ZeroCopy::Untried,
            busy_poll_us: 0,
            receive_buffer: 425_984,
            send_buffer: 425_984,
            bound_interface: None,
            xdp: Vec::new(),
            notes: vec!["no trains".to_owned()],
        };
        let finding = udp_socket("udp", &bare);
        assert_eq!(finding.status, Status::Warn);
        assert!(finding.advice.unwrap().starts_with("no trains\n"));
        let whole = Capabilities { gso_segments_max: 64, gro: true, notes: Vec::new(), ..bare };
        let finding = udp_socket("udp", &whole);
        assert_eq!((finding.status, finding.advice), (Status::Ok, None));
    }
}
