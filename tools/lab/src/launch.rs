//! The steps of bringing a lab up: namespaces, interfaces, addresses, emulator.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::config::Config;
use crate::error::LabError;
use crate::host::Host;
use crate::settle::settle;
use crate::state::{self, Process, State};
use crate::{names, tool};

/// Settings of each host: addresses are usable at once and stay, routes are what the lab says, and no
/// address but a wire's own answers on it.
const SETTINGS: [(&str, &str); 9] = [
    ("ipv4/conf/*/rp_filter", "0"),
    ("ipv4/conf/*/forwarding", "0"),
    ("ipv4/conf/*/arp_ignore", "1"),
    ("ipv4/conf/*/arp_announce", "2"),
    ("ipv6/conf/*/accept_dad", "0"),
    ("ipv6/conf/*/accept_ra", "0"),
    ("ipv6/conf/*/router_solicitations", "0"),
    ("ipv6/conf/*/keep_addr_on_down", "1"),
    ("ipv6/conf/*/forwarding", "0"),
];

/// Whether this process may make namespaces.
pub(crate) fn check_rights() -> Result<(), LabError> {
    let uid = nix::unistd::geteuid();
    if uid.is_root() { Ok(()) } else { Err(LabError::NotRoot { uid: uid.as_raw() }) }
}

/// Builds what `state` describes and notes the emulator in it.
pub(crate) fn build(state: &mut State) -> Result<Option<Child>, LabError> {
    let config = state.config.clone();
    let lab = &config.name;
    let namespaces: Vec<String> =
        (0..config.hosts).map(|host| names::namespace(lab, host)).chain([names::hub(lab)]).collect();
    tool::ip_batch(None, &namespaces.iter().map(|name| format!("netns add {name}")).collect::<Vec<_>>())?;
    for host in 0..config.hosts {
        Host::new(lab, host).make_home()?;
        tool::script(&names::namespace(lab, host), &settings_script())?;
    }
    let is_emulated = |wire: &usize| config.is_emulated(wire - 1);
    let (emulated, bare): (Vec<usize>, Vec<usize>) = (1..=config.wires.len()).partition(is_emulated);
    make_bare(&config, &bare)?;
    let emulator = if emulated.is_empty() { None } else { Some(start_emulator(&config)?) };
    state.emulator = emulator.as_ref().and_then(|child| Process::of(child.id()));
    state.save()?;
    move_emulated(&config, &emulated)?;
    for host in 0..config.hosts {
        tool::ip_batch(Some(&names::namespace(lab, host)), &interface_lines(&config, host))?;
    }
    settle(lab, config.hosts, &[emulated, bare].concat())?;
    Ok(emulator)
}

fn settings_script() -> String {
    let line = |(path, value): &(&str, &str)| {
        format!("for f in /proc/sys/net/{path}; do [ ! -e \"$f\" ] || echo {value} > \"$f\"; done\n")
    };
    SETTINGS.iter().map(line).collect()
}

/// veth pairs, and bridges where there are more than two hosts.
fn make_bare(config: &Config, wires: &[usize]) -> Result<(), LabError> {
    let lab = &config.name;
    let queues = format!("numrxqueues {0} numtxqueues {0}", config.queues);
    let (mut pairs, mut bridges) = (Vec::new(), Vec::new());
    for &wire in wires {
        let name = names::interface(wire);
        let end = |host| format!("{name} netns {} {queues} type veth", names::namespace(lab, host));
        if config.hosts == 2 {
            let peer = format!("peer name {name} netns {} {queues}", names::namespace(lab, 1));
            pairs.push(format!("link add {} {peer}", end(0)));
            continue;
        }
        let mtu = config.mtu;
        bridges.push(format!("link add {} mtu {mtu} type bridge mcast_snooping 0", names::bridge(wire)));
        bridges.push(format!("link set {} up", names::bridge(wire)));
        for host in 0..config.hosts {
            let port = names::hub_port(wire, host);
            pairs.push(format!("link add {} peer name {port} netns {}", end(host), names::hub(lab)));
            bridges.push(format!("link set {port} mtu {mtu} master {} up", names::bridge(wire)));
        }
    }
    tool::ip_batch(None, &pairs)?;
    tool::ip_batch(Some(&names::hub(lab)), &bridges)
}

/// Gives each host its end of the emulated wires.
fn move_emulated(config: &Config, wires: &[usize]) -> Result<(), LabError> {
    let lines: Vec<String> = wires
        .iter()
        .flat_map(|&wire| (0..config.hosts).map(move |host| (wire, host)))
        .map(|(wire, host)| {
            let namespace = names::namespace(&config.name, host);
            format!(
                "link set {} netns {namespace} name {}",
                names::hub_port(wire, host),
                names::interface(wire)
            )
        })
        .collect();
    tool::ip_batch(Some(&names::hub(&config.name)), &lines)
}

/// Everything that `host` needs on its interfaces.
fn interface_lines(config: &Config, host: usize) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_string()];
    for wire in 1..=config.wires.len() {
        let (name, mac) = (names::interface(wire), names::mac_text(wire, host));
        lines.push(format!("link set {name} mtu {} address {mac} up", config.mtu));
        lines.extend(address_lines(wire, host, config.hosts));
    }
    lines
}

/// Addresses and neighbours of `host` on `wire`. Neighbours are permanent: no packet waits for one to be
/// found, and none is lost because the question was.
pub(crate) fn address_lines(wire: usize, host: usize, hosts: usize) -> Vec<String> {
    let name = names::interface(wire);
    let mut lines = vec![
        format!("addr replace {}/24 dev {name}", names::ipv4(wire, host)),
        format!("addr replace {}/64 dev {name} nodad", names::ipv6(wire, host)),
    ];
    for other in (0..hosts).filter(|other| *other != host) {
        let mac = names::mac_text(wire, other);
        for address in [names::ipv4(wire, other).to_string(), names::ipv6(wire, other).to_string()] {
            lines.push(format!("neigh replace {address} lladdr {mac} dev {name} nud permanent"));
        }
    }
    lines
}

/// Starts the emulator in the hub and waits until its devices are there.
fn start_emulator(config: &Config) -> Result<Child, LabError> {
    let directory = state::directory(&config.name);
    let log_path = directory.join("emulator.log");
    let log = File::create(&log_path).map_err(LabError::io("make", &log_path))?;
    let mut command = tool::inside(&names::hub(&config.name));
    command
        .arg(program(config)?)
        .arg("emulate")
        .arg(&config.name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    // Out of the terminal's process group: Ctrl-C is for the lab's owner, not for its wires.
    command.process_group(0);
    let mut child = command.spawn().map_err(LabError::io("start", "the emulator"))?;
    let mut ready = String::new();
    let stdout = child.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut ready).map_err(LabError::io("read from", "the emulator"))?;
    if ready.trim() == "ready" {
        if config.spin_ns == 0 {
            make_urgent(child.id());
        }
        return Ok(child);
    }
    child.wait().map_err(LabError::io("wait for", "the emulator"))?;
    let cause = std::fs::read_to_string(&log_path).map_err(LabError::io("read", &log_path))?;
    Err(LabError::Emulator { what: "did not start", cause: cause.trim().into() })
}

/// Puts the emulator before all programs of the hosts, as the hardware that it stands for: on a busy
/// machine packets are milliseconds late without. A busy-polling one would starve them instead.
fn make_urgent(pid: u32) {
    let output = Command::new("chrt").args(["--fifo", "--pid", "1", &pid.to_string()]).output();
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        let cause = output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_string());
        eprintln!("lab: the emulator runs without real-time priority, packets may be late: {cause:?}");
    }
}

/// The `lab` program.
fn program(config: &Config) -> Result<PathBuf, LabError> {
    if let Some(program) = config.program.clone().or_else(|| std::env::var_os("XFER_LAB_BIN").map(Into::into))
    {
        return Ok(program);
    }
    let own = std::env::current_exe().map_err(LabError::io("find", "the running program"))?;
    // Tests run in target/PROFILE/deps, examples in target/PROFILE/examples, programs in target/PROFILE.
    let places = own.ancestors().skip(1).take(2).map(|place| place.join("lab"));
    let found = places.into_iter().find(|place| place.is_file());
    found.ok_or_else(|| LabError::MissingLab { beside: own.clone() })
}
