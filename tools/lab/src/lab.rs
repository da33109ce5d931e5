//! Bringing a lab up, changing it, taking it down.

use std::process::Child;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::{Config, WireShape, check_name};
use crate::control::{Cut, EmulatorInfo, Reply, Request, ask};
use crate::cut::BareWire;
use crate::error::LabError;
use crate::host::Host;
use crate::launch;
use crate::limits::STOP_TIMEOUT_MS;
use crate::settle::settle;
use crate::state::{self, Process, State};
use crate::{names, tool};

/// A lab that is up. One that [`Lab::up`] made is taken down when this is dropped.
pub struct Lab {
    name: String,
    is_owner: bool,
    emulator: Option<Child>,
}

/// How a wire is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WireKind {
    /// A veth pair.
    Bare,
    /// veth pairs joined by a bridge.
    Bridge,
    /// TAP devices joined by the emulator.
    Emulated,
}

/// One wire.
#[derive(Clone, Debug, Serialize)]
pub struct WireInfo {
    /// From 1.
    pub wire: usize,
    /// How it is made.
    pub kind: WireKind,
    /// Its interface in each host.
    pub interface: String,
    /// MTU of the interfaces.
    pub mtu: u32,
    /// How it is cut, where it has no emulator; with one each of its directions says so.
    pub cut: Option<Cut>,
}

/// One host.
#[derive(Clone, Debug, Serialize)]
pub struct HostInfo {
    /// Its letter.
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Its home directory.
    pub home: std::path::PathBuf,
    /// Its addresses, wire by wire, IPv4 before IPv6.
    pub addresses: Vec<std::net::IpAddr>,
}

/// All of a lab.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<HostInfo>,
    /// Its wires.
    pub wires: Vec<WireInfo>,
    /// The emulator, if a wire has it.
    pub emulator: Option<EmulatorInfo>,
}

impl Lab {
    /// Builds a lab that lives as long as this value. Labs whose owner has died are cleared first.
    ///
    /// # Errors
    /// [`LabError::NotRoot`] and the other things that may be missing; nothing is left behind.
    pub fn up(config: &Config) -> Result<Self, LabError> {
        Self::build(config, Process::of(std::process::id()))
    }

    /// Builds a lab that stays until it is taken down by [`Lab::down`].
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn up_detached(config: &Config) -> Result<(), LabError> {
        let mut lab = Self::build(config, None)?;
        lab.is_owner = false;
        Ok(())
    }

    fn build(config: &Config, owner: Option<Process>) -> Result<Self, LabError> {
        config.check()?;
        launch::check_rights()?;
        for orphan in state::orphans() {
            Self::down(&orphan)?;
        }
        state::create(&config.name)?;
        // From here on a failure takes down whatever is there, by dropping the lab.
        let mut lab = Self { name: config.name.clone(), is_owner: true, emulator: None };
        let cuts = vec![None; config.wires.len()];
        let mut state = State { config: config.clone(), owner, emulator: None, cuts };
        state.save()?;
        lab.emulator = launch::build(&mut state)?;
        Ok(lab)
    }

    /// A lab that is up already; dropping this value changes nothing.
    ///
    /// # Errors
    /// [`LabError::NotUp`].
    pub fn open(name: &str) -> Result<Self, LabError> {
        check_name(name)?;
        let lab = Self { name: name.into(), is_owner: false, emulator: None };
        lab.state().map(|_| lab)
    }

    /// Takes lab `name` down, and whatever a crash left of it: its processes, namespaces and directory.
    /// There need be nothing.
    ///
    /// # Errors
    /// What could not be cleared.
    pub fn down(name: &str) -> Result<(), LabError> {
        check_name(name)?;
        launch::check_rights()?;
        if let Some(emulator) = State::load(name).and_then(|state| state.emulator) {
            emulator.kill()?;
        }
        let list = tool::ip(None, &["netns", "list"])?;
        let ours: Vec<&str> = list
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|namespace| names::is_ours(name, namespace))
            .collect();
        stop_processes(&ours)?;
        tool::ip_batch(None, &ours.iter().map(|name| format!("netns del {name}")).collect::<Vec<_>>())?;
        state::remove(name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host of this letter.
    ///
    /// # Panics
    /// Where the lab has no such host; [`Lab::find_host`] says so instead.
    #[must_use]
    pub fn host(&self, letter: &str) -> Host {
        self.find_host(letter).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The host of this letter.
    ///
    /// # Errors
    /// [`LabError::NoHost`], [`LabError::NotUp`].
    pub fn find_host(&self, letter: &str) -> Result<Host, LabError> {
        self.host_index(&self.state()?, letter).map(|index| Host::new(&self.name, index))
    }

    /// Changes what wire `wire`, from 1, does to packets that `from` sends, or everyone.
    ///
    /// # Errors
    /// [`LabError::Bare`] for a wire without emulator.
    pub fn set(&self, wire: usize, from: Option<&str>, shape: &WireShape) -> Result<(), LabError> {
        let state = self.state()?;
        self.check_wire(&state, wire)?;
        if !state.config.is_emulated(wire - 1) {
            return Err(LabError::Bare { wire, what: "change what it does" });
        }
        let from = from.map(|letter| self.host_index(&state, letter)).transpose()?;
        self.ask(&Request::Set { wire, from, shape: shape.clone() }).map(drop)
    }

    /// What wire `wire`, from 1, does to packets that `from` sends (host a without one).
    ///
    /// # Errors
    /// [`LabError::Bare`] for a wire without emulator.
    pub fn shape(&self, wire: usize, from: Option<&str>) -> Result<WireShape, LabError> {
        self.check_wire(&self.state()?, wire)?;
        let directions = self.info()?.emulator.map(|emulator| emulator.directions).unwrap_or_default();
        let sender = from.unwrap_or("a");
        let found = directions.into_iter().find(|one| one.wire == wire && one.from == sender);
        found.map(|one| one.shape).ok_or(LabError::Bare { wire, what: "change what it does" })
    }

    /// Cuts wire `wire`, from 1, for packets that `from` sends, or altogether. What is under way is lost
    /// where the whole wire is cut. A second cut replaces the first.
    ///
    /// # Errors
    /// [`LabError::Bare`] for one direction of a wire without emulator.
    pub fn cut(&self, wire: usize, from: Option<&str>, cut: Cut) -> Result<(), LabError> {
        let mut state = self.state()?;
        self.check_wire(&state, wire)?;
        let host = from.map(|letter| self.host_index(&state, letter)).transpose()?;
        if state.config.is_emulated(wire - 1) {
            return self.ask(&Request::Cut { wire, from: host, cut }).map(drop);
        }
        if host.is_some() {
            return Err(LabError::Bare { wire, what: "be cut in one direction" });
        }
        self.restore(wire)?;
        // Noted first: a cut that fails halfway can be restored.
        state.cuts[wire - 1] = Some(cut);
        state.save()?;
        self.bare(&state, wire).cut(cut)
    }

    /// Undoes every cut of wire `wire`, from 1, and waits until both ends can send again; a wire that is not
    /// cut stays as it is.
    ///
    /// # Errors
    /// [`LabError::NoWire`] and what the system says.
    pub fn restore(&self, wire: usize) -> Result<(), LabError> {
        let mut state = self.state()?;
        self.check_wire(&state, wire)?;
        if state.config.is_emulated(wire - 1) {
            self.ask(&Request::Restore { wire })?;
        } else if let Some(cut) = state.cuts[wire - 1].take() {
            self.bare(&state, wire).restore(cut)?;
            state.save()?;
        }
        settle(&self.name, state.config.hosts, &[wire])
    }

    /// Hosts, wires and the emulator's counters.
    ///
    /// # Errors
    /// [`LabError::NotUp`], or an emulator that does not answer.
    pub fn info(&self) -> Result<Info, LabError> {
        let state = self.state()?;
        let config = &state.config;
        let emulator = match state.emulator.map(|_| self.ask(&Request::Info)).transpose()? {
            Some(Reply::Info(info)) => Some(info),
            _ => None,
        };
        let hosts = (0..config.hosts).map(|index| host_info(config, index)).collect();
        let wires = (0..config.wires.len()).map(|index| wire_info(&state, index)).collect();
        Ok(Info { name: self.name.clone(), hosts, wires, emulator })
    }

    fn state(&self) -> Result<State, LabError> {
        State::load(&self.name).ok_or_else(|| LabError::NotUp { name: self.name.clone() })
    }

    fn ask(&self, request: &Request) -> Result<Reply, LabError> {
        ask(&state::directory(&self.name), request)
    }

    fn bare<'a>(&'a self, state: &State, wire: usize) -> BareWire<'a> {
        BareWire { lab: &self.name, wire, hosts: state.config.hosts }
    }

    fn host_index(&self, state: &State, letter: &str) -> Result<usize, LabError> {
        let known: Vec<String> = (0..state.config.hosts).map(names::host).collect();
        known.iter().position(|name| name == letter).ok_or_else(|| LabError::NoHost {
            lab: self.name.clone(),
            host: letter.into(),
            known: known.join(", "),
        })
    }

    fn check_wire(&self, state: &State, wire: usize) -> Result<(), LabError> {
        let wires = state.config.wires.len();
        let fits = (1..=wires).contains(&wire);
        if fits { Ok(()) } else { Err(LabError::NoWire { lab: self.name.clone(), wire, wires }) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.is_owner {
            return;
        }
        if let Err(error) = Self::down(&self.name) {
            eprintln!("lab: cannot take lab {} down: {error}", self.name);
        }
        if let Some(Err(error)) = self.emulator.as_mut().map(Child::wait) {
            eprintln!("lab: cannot collect the emulator of lab {}: {error}", self.name);
        }
    }
}

fn host_info(config: &Config, index: usize) -> HostInfo {
    let host = Host::new(&config.name, index);
    let on_wire = |wire| [host.ipv4(wire).into(), host.ipv6(wire).into()];
    let addresses = (1..=config.wires.len()).flat_map(on_wire).collect();
    HostInfo { name: host.name(), namespace: host.namespace(), home: host.home(), addresses }
}

fn wire_info(state: &State, index: usize) -> WireInfo {
    let config = &state.config;
    let kind = match (config.is_emulated(index), config.hosts) {
        (true, _) => WireKind::Emulated,
        (false, 2) => WireKind::Bare,
        (false, _) => WireKind::Bridge,
    };
    let (wire, interface) = (index + 1, names::interface(index + 1));
    WireInfo { wire, kind, interface, mtu: config.mtu, cut: state.cuts[index] }
}

/// Ends what still runs in `namespaces`: asks, waits a bounded time, kills.
fn stop_processes(namespaces: &[&str]) -> Result<(), LabError> {
    let mut left = Vec::new();
    for namespace in namespaces {
        let pids = tool::ip(None, &["netns", "pids", namespace])?;
        left.extend(pids.lines().filter_map(|pid| pid.trim().parse().ok()).filter_map(Process::of));
    }
    left.iter().try_for_each(|process| process.terminate())?;
    let deadline = Instant::now() + Duration::from_millis(STOP_TIMEOUT_MS);
    while left.iter().any(|process| process.is_alive()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    left.iter().try_for_each(|process| process.kill())
}
