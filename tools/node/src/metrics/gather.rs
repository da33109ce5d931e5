//! The families, each with what it is made of.

use super::network::Network;
use super::page::{Kind, Page};
use crate::tickets::Shared;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use xfer_ebpf::{Point, Row, Seen, Watched, bucket_end_ns};
use xfer_engine::{Engine, PathReport, Progress, QueueReport, WorkerReport};

/// All that there is to tell now.
pub(super) fn page(shared: &Shared, network: &Network) -> String {
    let mut page = Page::default();
    page.family("xfer_build_info", Kind::Gauge, "The version of this node; the value is always 1.");
    page.sample("xfer_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(engine) = shared.engine.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
        of_engine(&mut page, engine);
    }
    of_transfers(&mut page, shared);
    of_network(&mut page, network);
    page.into_text()
}

fn of_engine(page: &mut Page, engine: &Engine) {
    type Count = (&'static str, &'static str, fn(&WorkerReport) -> u64);
    const COUNTS: [Count; 4] = [
        ("xfer_worker_trains_total", "Packets and trains that a worker sent.", |worker| worker.trains),
        ("xfer_worker_datagrams_total", "Datagrams and trains that a worker's queues got.", |worker| {
            worker.datagrams
        }),
        ("xfer_worker_handed_over_total", "Those of them that another worker had to get.", |worker| {
            worker.handed_over
        }),
        (
            "xfer_worker_dropped_total",
            "Those of them that were lost, since too many waited there.",
            |worker| worker.dropped,
        ),
    ];
    let workers = engine.workers();
    for (name, help, value) in COUNTS {
        page.family(name, Kind::Counter, help);
        for (index, worker) in workers.iter().enumerate() {
            page.sample(name, &[("worker", &index.to_string())], value(worker));
        }
    }
    of_queues(page, &engine.queues());
    let name = "xfer_xdp_packets_total";
    page.family(
        name,
        Kind::Counter,
        "Packets to ports of this node, by what the XDP program did with them and why.",
    );
    for (nic, fates) in engine.fates() {
        for (fate, packets) in fates.iter() {
            let labels = [("nic", nic.as_str()), ("action", fate.action()), ("reason", fate.reason())];
            page.sample(name, &labels, packets);
        }
    }
}

fn of_queues(page: &mut Page, queues: &[QueueReport]) {
    let name = "xfer_queue_info";
    page.family(name, Kind::Gauge, "What a queue obtained of the kernel; the value is always 1.");
    for queue in queues {
        let (worker, local) = (queue.worker.to_string(), queue.local.to_string());
        let trains = queue.capabilities.gso_segments_max.to_string();
        let joined = if queue.capabilities.gro { "yes" } else { "no" };
        let labels = [
            ("worker", worker.as_str()),
            ("local", local.as_str()),
            ("backend", queue.capabilities.backend),
            ("train_packets_max", trains.as_str()),
            ("joins_trains", joined),
        ];
        page.sample(name, &labels, 1);
    }
}

/// Paths of running transfers by their addresses; several transfers between the same two are one.
type Paths = BTreeMap<(String, String), Vec<PathReport>>;

fn of_transfers(page: &mut Page, shared: &Shared) {
    let running: Vec<Progress> = shared.registry.running().iter().map(|record| record.progress()).collect();
    page.family("xfer_transfers_running", Kind::Gauge, "Transfers that have not ended.");
    page.sample("xfer_transfers_running", &[], running.len());
    page.family("xfer_transfers_bytes", Kind::Gauge, "Content that running transfers moved so far.");
    page.sample("xfer_transfers_bytes", &[], running.iter().map(|progress| progress.bytes).sum::<u64>());
    let mut paths = Paths::new();
    for path in running.into_iter().flat_map(|progress| progress.paths) {
        let ends = (path.pair.local.to_string(), path.pair.remote.ip().to_string());
        paths.entry(ends).or_default().push(path);
    }
    of_paths(page, &paths);
}

fn of_paths(page: &mut Page, paths: &Paths) {
    type Measure = (&'static str, &'static str, fn(&[PathReport]) -> f64);
    const MEASURES: [Measure; 5] = [
        (
            "xfer_path_bytes",
            "Content that running transfers moved over this pair of addresses so far.",
            |all| all.iter().map(|path| path.bytes as f64).sum(),
        ),
        ("xfer_path_up", "How many of their paths carry now.", |all| {
            all.iter().filter(|path| path.up).count() as f64
        }),
        ("xfer_path_rtt_seconds", "The longest smoothed round trip of them.", |all| {
            largest(all.iter().map(|path| path.rtt.as_secs_f64()))
        }),
        ("xfer_path_loss_ratio", "The largest part of packets that one of them declared lost.", |all| {
            largest(all.iter().map(|path| path.loss))
        }),
        ("xfer_path_window_bytes", "Their congestion windows together.", |all| {
            all.iter().map(|path| path.window as f64).sum()
        }),
    ];
    for (name, help, value) in MEASURES {
        page.family(name, Kind::Gauge, help);
        for ((local, remote), all) in paths {
            page.sample(name, &[("local", local.as_str()), ("remote", remote.as_str())], value(all));
        }
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// The two directions that tcx sees, as labels have them.
const DIRECTIONS: [(Point, &str); 2] = [(Point::Ingress, "in"), (Point::Egress, "out")];

fn of_network(page: &mut Page, network: &Network) {
    let watched: Vec<(&Watched, [Row; Point::ALL.len()])> =
        network.watched().iter().filter_map(|one| Some((one, one.totals().ok()?))).collect();
    page.family("xfer_network_seen_total", Kind::Counter, "Datagrams and trains with a port of this node.");
    for one in network.watched() {
        let sights = one.sights().unwrap_or_default();
        for seen in Seen::ALL {
            let labels = [("nic", one.interface()), ("what", seen.word())];
            page.sample("xfer_network_seen_total", &labels, sights.of(seen));
        }
    }
    type Count = (&'static str, Kind, &'static str, fn(&Row) -> u64);
    const COUNTS: [Count; 7] = [
        ("xfer_network_packets_total", Kind::Counter, "Packets of paths.", |row| row.packets),
        ("xfer_network_bytes_total", Kind::Counter, "Bytes of their UDP payload.", |row| row.bytes),
        ("xfer_network_trains_total", Kind::Counter, "Packets and trains that came at once.", |row| {
            row.arrivals
        }),
        ("xfer_network_gaps_total", Kind::Counter, "Times that packet numbers were missing.", |row| row.gaps),
        ("xfer_network_missing_total", Kind::Counter, "Packet numbers that were missing then.", |row| {
            row.missing
        }),
        ("xfer_network_late_total", Kind::Counter, "Packets behind one with a higher number.", |row| {
            row.late
        }),
        ("xfer_network_late_numbers_max", Kind::Gauge, "The largest distance of these.", |row| row.late_max),
    ];
    for (name, kind, help, value) in COUNTS {
        page.family(name, kind, help);
        for (one, totals) in &watched {
            for (point, direction) in DIRECTIONS {
                let labels = [("nic", one.interface()), ("direction", direction)];
                page.sample(name, &labels, totals.get(point as usize).map_or(0, value));
            }
        }
    }
    let name = "xfer_network_between_seconds";
    page.family(
        name,
        Kind::Histogram,
        "Time between two packets or trains of a path; one in eight is measured.",
    );
    for (one, totals) in &watched {
        for (point, direction) in DIRECTIONS {
            let row = totals.get(point as usize).copied().unwrap_or_default();
            let labels = [("nic", one.interface()), ("direction", direction)];
            let seconds = |ns: u64| ns as f64 / 1e9;
            let ends = row.between.iter().enumerate();
            let buckets = ends.filter_map(|(index, count)| Some((seconds(bucket_end_ns(index)?), *count)));
            let above = row.between.last().copied().unwrap_or_default();
            page.histogram(name, &labels, buckets, above, seconds(row.waited_ns));
        }
    }
}
