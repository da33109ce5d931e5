//! What a copy is about to do and how fast that can be: the decisions that were made, and the forecast that follows from them.

use super::Plan;
use super::options::CopyOptions;
use crate::backend::Chosen;
use crate::client::Client;
use crate::forecast::{Bound, Forecast, Load, Wire};
use crate::limits::{MEASURE_BYTES, MEASURE_TIME};
use crate::paths::{self, HostRoutes, Pairs};
use crate::transfer;
use std::net::{Ipv4Addr, SocketAddr};
use xfer_engine::io::route::{self, Interface};
use xfer_engine::io::thread::affinity;
use xfer_engine::stages::{Bench, Costs, Origin, Scratch, Step};
use xfer_engine::{Class, CongestionControl, EngineConfig, EngineSize, Error, PathPair, Stage, Suite};

/// Drivers of devices without a wire: the speed that they tell means nothing.
const WITHOUT_WIRE: [&str; 6] = ["veth", "tun", "bridge", "dummy", "bonding", "team"];

/// A path that will be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPath {
    /// Its addresses.
    pub pair: PathPair,
    /// The interface that it leaves by; empty when that is not known.
    pub interface: String,
    /// Largest packet of the interface or of the route in bytes; 0 when it is not known.
    pub mtu: u32,
    /// Bits a second of its wire, when the kernel tells.
    pub speed: Option<u64>,
}

/// What was decided, for `--explain`.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Where control goes.
    pub control: SocketAddr,
    /// Paths that will be opened at once.
    pub paths: Vec<PlannedPath>,
    /// Pairs on standby.
    pub standby: usize,
    /// Threads of this end.
    pub size: EngineSize,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Ciphers.
    pub suite: Suite,
    /// Whether content is verified.
    pub digests: bool,
    /// What moves the packets, and why.
    pub backend: Chosen,
    /// How paths find their rate.
    pub congestion: CongestionControl,
    /// Bits a second that were asked for.
    pub rate: Option<u64>,
    /// Content that would be moved, when that is known already.
    pub bytes: Option<u64>,
    /// What to expect.
    pub forecast: Forecast,
}

impl Explained {
    /// What is decided for a copy of `bytes` to a node that takes data with `suite` at the other ends of `pairs`. Measures this host
    /// for about a tenth of a second.
    pub(super) fn of(
        plan: &Plan,
        options: &CopyOptions,
        client: &Client,
        pairs: &Pairs,
        suite: Suite,
    ) -> Result<Explained, Error> {
        let interfaces = interfaces()?;
        let wires: Vec<(PlannedPath, Wire)> =
            pairs.active.iter().map(|pair| wire(&interfaces, pair)).collect();
        let size = engine_config(options).size()?;
        let config = transfer::config(options);
        let payload = wires.iter().map(|(_, wire)| wire.payload()).min().unwrap_or(1);
        let own = |pair: &PathPair| interfaces.iter().any(|i| i.addresses.contains(&pair.remote.ip()));
        let both = pairs.active.iter().any(own);
        let wanted = Wanted { suite, payload: payload as usize, digests: options.digests, both };
        let costs = wanted.measure(options, plan.upload).unwrap_or_else(|error| {
            tracing::warn!(%error, "this host could not be measured");
            Costs::default()
        });
        let load = Load {
            costs: &costs,
            encrypted: suite != Suite::Plain,
            verified: options.digests,
            sends: plan.upload,
            both,
            paths: wires.len(),
        };
        let (paths, wires): (Vec<PlannedPath>, Vec<Wire>) = wires.into_iter().unzip();
        let mut bounds = load.bounds(size);
        bounds.extend(Wire::bound(&wires));
        bounds.extend(asked(options, paths.len()));
        Ok(Explained {
            control: client.remote(),
            paths,
            standby: pairs.standby.len(),
            size,
            chunk_bytes: 1 << config.chunk_log2,
            suite,
            digests: options.digests,
            backend: chosen(options),
            congestion: options.congestion,
            rate: options.rate,
            bytes: None,
            forecast: Forecast { bounds, rtt: client.rtt() },
        })
    }

    /// Seconds that it will take at least; `None` while the size is not known, or nothing of the stages.
    pub fn seconds(&self) -> Option<f64> {
        self.forecast.seconds(self.bytes?)
    }
}

/// What is to be measured.
struct Wanted {
    suite: Suite,
    /// Bytes of content in a packet.
    payload: usize,
    digests: bool,
    /// Both ends are this host.
    both: bool,
}

impl Wanted {
    /// What each stage costs that this host has in the copy.
    fn measure(&self, options: &CopyOptions, sends: bool) -> Result<Costs, Error> {
        let (sends, receives) = (sends || self.both, !sends || self.both);
        let mut costs = Costs::default();
        let mut bench = Bench::new(self.suite, self.payload, MEASURE_TIME)?;
        let mut scratch = Scratch::new(&std::env::temp_dir(), MEASURE_BYTES)?;
        if sends {
            costs.set(Step::Read, bench.read(&mut scratch)?);
            bench
                .seal(Origin::Chunks)
                .into_iter()
                .for_each(|cost| costs.set(Step::Seal(Origin::Chunks), cost));
        }
        if self.digests {
            costs.set(Step::Hash, bench.hash());
        }
        let cores =
            affinity().map_err(|e| Error::new(Class::Other, "ask for this process's cores").because(e))?;
        let wire = bench.wire(if options.cores.is_empty() { &cores } else { &options.cores })?;
        costs.set(Step::Send, wire.send);
        costs.set(Step::Receive, wire.receive);
        let plain = self.suite == Suite::Plain;
        if receives || plain {
            costs.set(if plain { Step::Copy } else { Step::Open }, bench.open());
        }
        if receives {
            costs.set(Step::Write, bench.write(&mut scratch)?);
        }
        Ok(costs)
    }
}

/// The cap that was asked for: of the whole transfer, with `fixed` of each path.
fn asked(options: &CopyOptions, paths: usize) -> Option<Bound> {
    let each = if options.congestion == CongestionControl::Fixed { paths.max(1) } else { 1 };
    let rate = options.rate? as f64 * each as f64;
    Some(Bound { stage: Stage::RateLimit, what: "--rate".to_owned(), rate })
}

/// The wire of a pair, as far as the kernel tells.
fn wire(interfaces: &[Interface], pair: &PathPair) -> (PlannedPath, Wire) {
    let way = route::way(Some(pair.local), pair.remote.ip()).ok();
    let interface = way.and_then(|way| interfaces.iter().find(|i| i.index == way.interface));
    let own_mtu = interface.map_or(0, |interface| interface.mtu);
    let mtu = way.and_then(|way| way.mtu).map_or(own_mtu, |mtu| mtu.min(own_mtu));
    let speed = interface.and_then(|interface| {
        let offloads = route::offloads(&interface.name).ok()?;
        let has_wire = !WITHOUT_WIRE.contains(&offloads.driver.as_str());
        offloads.speed_mbit.filter(|_| has_wire).map(|mbit| u64::from(mbit) * 1_000_000)
    });
    let name = interface.map(|interface| interface.name.clone()).unwrap_or_default();
    let index = interface.map_or(0, |interface| interface.index);
    (
        PlannedPath { pair: *pair, interface: name, mtu, speed },
        Wire { interface: index, speed, mtu, ipv6: pair.remote.is_ipv6() },
    )
}

/// The pairs of addresses of a copy to a node that takes data at `addresses`.
///
/// # Errors
/// Those of [`paths::select`].
pub(crate) fn pairs(addresses: &[SocketAddr], options: &CopyOptions) -> Result<Pairs, Error> {
    let interfaces = interfaces()?;
    paths::select(&interfaces, addresses, &HostRoutes(&interfaces), &options.paths)
}

fn interfaces() -> Result<Vec<Interface>, Error> {
    route::interfaces().map_err(|e| Error::new(Class::Other, "list this host's interfaces").because(e))
}

/// What moves the packets: of all interfaces, since which ones a copy uses is known only later.
fn chosen(options: &CopyOptions) -> Chosen {
    options.backend.choose(&[Ipv4Addr::UNSPECIFIED.into()])
}

/// The engine that a copy starts.
pub(crate) fn engine_config(options: &CopyOptions) -> EngineConfig {
    EngineConfig {
        listen: Vec::new(),
        workers: options.workers,
        cores: options.cores.clone(),
        poll: options.poll,
        backend: chosen(options).backend,
        ..EngineConfig::default()
    }
}

/// How a copy went against what was expected of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// Seconds that it should have taken.
    pub seconds: f64,
    /// The stage that should have been the limit.
    pub limited_by: Stage,
}

impl Compared {
    /// What `forecast` says of `bytes`; `None` when it says nothing.
    pub(super) fn of(forecast: &Forecast, bytes: u64) -> Option<Compared> {
        Some(Compared { seconds: forecast.seconds(bytes)?, limited_by: forecast.limited_by(Some(bytes)) })
    }
}
