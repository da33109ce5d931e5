//! What this host offers a transfer, and which pairs of addresses to a node answer: facts, without judging them.

use crate::bench::{BenchEvent, BenchOptions, BenchRequest, Mode, bench};
use crate::client::Client;
use crate::copy::{CopyEvent, CopyOptions, CopyRequest, Filter, copy};
use crate::limits::{PROBES_AT_ONCE, TRIAL_TIME};
use crate::location::{Location, Remote};
use crate::offer::{self, Offer};
use crate::paths::{self, HostRoutes, PathChoice};
use crate::pb;
use crate::retry::Patience;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xfer_engine::io::file::Root;
use xfer_engine::io::limits::BUSY_POLL_US;
use xfer_engine::io::queue::Queue as _;
use xfer_engine::io::route::{self, Interface, Offloads};
use xfer_engine::io::thread;
use xfer_engine::io::udp::{UdpConfig, UdpQueue};
use xfer_engine::{Class, Error, PathPair};

pub use xfer_engine::io::queue::{Capabilities, ZeroCopy};
pub use xfer_engine::io::xdp::available as xdp;

/// A network interface.
#[derive(Clone, Debug)]
pub struct Nic {
    /// Name, addresses, MTU, state.
    pub interface: Interface,
    /// Driver and offloads; `None` when it does not tell.
    pub offloads: Option<Offloads>,
}

/// Numbers of the cores that this process may use.
///
/// # Errors
/// The kernel does not tell.
pub fn affinity() -> Result<Vec<usize>, Error> {
    thread::affinity().map_err(|e| Error::new(Class::Other, "read the affinity mask").because(e))
}

/// All interfaces.
///
/// # Errors
/// The kernel does not tell.
pub fn nics() -> Result<Vec<Nic>, Error> {
    let interfaces = interfaces()?;
    let with_offloads = |interface: Interface| {
        let offloads = route::offloads(&interface.name).ok();
        Nic { interface, offloads }
    };
    Ok(interfaces.into_iter().map(with_offloads).collect())
}

fn interfaces() -> Result<Vec<Interface>, Error> {
    route::interfaces().map_err(|e| Error::new(Class::Other, "list this host's interfaces").because(e))
}

/// What a UDP socket gets on loopback of one family: buffers, trains out and in, marks.
///
/// # Errors
/// There is no UDP for this family.
pub fn udp(ipv6: bool) -> Result<Capabilities, Error> {
    let local = if ipv6 {
        SocketAddr::from((Ipv6Addr::LOCALHOST, 0))
    } else {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    };
    // What `--poll busy` would ask, so that it is told whether that is granted.
    let config = UdpConfig { busy_poll_us: Some(BUSY_POLL_US), ..UdpConfig::new(local) };
    let queue = UdpQueue::open(&config);
    let queue = queue.map_err(|e| Error::new(Class::Fatal, "open a UDP socket").because(e))?;
    Ok(queue.capabilities().clone())
}

/// Whether names can be confined beneath a directory (openat2).
///
/// # Errors
/// Why not.
pub fn confinement() -> Result<(), Error> {
    Root::open(Path::new("/"))
        .map(drop)
        .map_err(|e| Error::new(Class::Fatal, "confine names beneath a directory").because(e))
}

/// What became of one pair of addresses.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The pair.
    pub pair: PathPair,
    /// Whether it would be used by default, or be on standby.
    pub active: bool,
    /// How long a connection over this pair alone took, or why there was none.
    pub answer: Result<Duration, Error>,
}

/// How a pair of addresses is tried: what is moved over it.
enum Trial<'a> {
    /// Nothing of this directory of the node, into an empty one.
    Nothing(Vec<u8>, &'a Path),
    /// A message to a node that serves benchmarks.
    Message,
}

/// Tries each pair of addresses between this host and a node that has a route: the engine's own handshake and challenge, and a transfer
/// of nothing, or of a message where the node `serves_benchmarks`. `scratch` is an empty directory, which stays empty.
///
/// # Errors
/// The node gives no ticket, or no pair has a route.
pub fn probe(
    client: &Client,
    remote: &Remote,
    serves_benchmarks: bool,
    scratch: &Path,
) -> Result<Vec<Probed>, Error> {
    let (addresses, trial) = if serves_benchmarks {
        (client.bench_addresses()?, Trial::Message)
    } else {
        let options = pb::TransferOptions { digests: true, chunk_log2: 20, ..Default::default() };
        let Offer { addresses, source, .. } = offer::ask(client, &options)?;
        (addresses, Trial::Nothing(source, scratch))
    };
    let interfaces = interfaces()?;
    let pairs = paths::select(&interfaces, &addresses, &HostRoutes(&interfaces), &[])?;
    let all: Vec<(PathPair, bool)> = pairs
        .active
        .iter()
        .map(|pair| (*pair, true))
        .chain(pairs.standby.iter().map(|pair| (*pair, false)))
        .collect();
    let mut probed = Vec::with_capacity(all.len());
    for some in all.chunks(PROBES_AT_ONCE) {
        probed.extend(std::thread::scope(|scope| {
            let trial = &trial;
            let running: Vec<_> =
                some.iter().map(|(pair, _)| scope.spawn(move || trial.over(remote, *pair))).collect();
            let answers = running.into_iter().map(|probe| {
                probe.join().unwrap_or_else(|_| Err(Error::new(Class::Other, "the probe ended by a bug")))
            });
            some.iter()
                .zip(answers)
                .map(|((pair, active), answer)| Probed { pair: *pair, active: *active, answer })
                .collect::<Vec<_>>()
        }));
    }
    Ok(probed)
}

impl Trial<'_> {
    /// Over one pair alone: how long until the pair stood.
    fn over(&self, node: &Remote, pair: PathPair) -> Result<Duration, Error> {
        let how = CopyOptions {
            recursive: true,
            filters: vec![Filter { include: false, glob: "*".to_owned() }],
            paths: vec![PathChoice { local: pair.local, remote: Some(pair.remote.ip()) }],
            patience: Patience { retries: Some(0), duration_max: None },
            workers: Some(1),
            ..CopyOptions::default()
        };
        let mut watch = Watch::start();
        let error = match self {
            Trial::Nothing(source, scratch) => {
                let source = Remote { path: source.clone(), ..node.clone() };
                let to = Location::Local(scratch.to_path_buf());
                let request =
                    CopyRequest { options: how, ..CopyRequest::new(vec![Location::Remote(source)], to) };
                let summary = copy(&request, &mut |event| match event {
                    CopyEvent::Decision(_) => watch.decided(),
                    CopyEvent::Connected(_) | CopyEvent::PathUp(_) => watch.stood(),
                    _ => {}
                })?;
                summary.error
            }
            Trial::Message => {
                let options =
                    BenchOptions { mode: Mode::Messages, time: TRIAL_TIME, how, ..BenchOptions::default() };
                let request = BenchRequest { node: node.clone(), options, cancel: Arc::default() };
                let summary = bench(&request, &mut |event| match event {
                    BenchEvent::Decision(_) => watch.decided(),
                    BenchEvent::PathUp(_) => watch.stood(),
                    _ => {}
                })?;
                summary.error
            }
        };
        match (watch.time, error) {
            (Some(time), _) => Ok(time),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(watch.started.elapsed()),
        }
    }
}

/// From when the engines begin to talk until a path stands.
struct Watch {
    started: Instant,
    time: Option<Duration>,
}

impl Watch {
    fn start() -> Self {
        Watch { started: Instant::now(), time: None }
    }

    /// The last decision is told when control is done.
    fn decided(&mut self) {
        self.started = Instant::now();
    }

    fn stood(&mut self) {
        self.time.get_or_insert_with(|| self.started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_tells() {
        assert!(!affinity().unwrap().is_empty());
        let nics = nics().unwrap();
        let loopback = nics.iter().find(|nic| nic.interface.loopback).unwrap();
        assert!(loopback.offloads.as_ref().unwrap().send_checksum);
        assert!(udp(false).unwrap().receive_buffer > 0);
        confinement().unwrap();
    }
}
