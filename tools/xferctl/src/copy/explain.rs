//! What a copy is about to do and how fast that can be, as lines for people and as JSON (`type: plan`).

use crate::json::stage_text;
use crate::units::{show_rate, show_seconds, show_size};
use serde::Serialize;
use xfer_client::copy::{Explained, PlannedPath};
use xfer_client::forecast::Bound;
use xfer_client::{Backend, CongestionControl, Stage, Suite};

/// What `type: plan` holds of a copy as a whole.
#[derive(Serialize)]
pub(super) struct PlanLine {
    control: String,
    rtt_us: u64,
    paths: Vec<PathPlan>,
    standby: usize,
    workers: usize,
    io_threads: usize,
    cores: usize,
    chunk: u64,
    suite: &'static str,
    digest: &'static str,
    backend: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_why: Option<String>,
    cc: &'static str,
    rate_gbps: Option<f64>,
    bounds: Vec<BoundPlan>,
    limited_by: &'static str,
    total_bytes: Option<u64>,
    predicted_gbps: Option<f64>,
    predicted_seconds: Option<f64>,
}

#[derive(Serialize)]
struct PathPlan {
    local: String,
    remote: String,
    interface: String,
    mtu: u32,
    speed_gbps: Option<f64>,
}

#[derive(Serialize)]
struct BoundPlan {
    stage: &'static str,
    what: String,
    gbps: f64,
}

impl PlanLine {
    pub(super) fn new(explained: &Explained) -> Self {
        let forecast = &explained.forecast;
        let path = |path: &PlannedPath| PathPlan {
            local: path.pair.local.to_string(),
            remote: path.pair.remote.to_string(),
            interface: path.interface.clone(),
            mtu: path.mtu,
            speed_gbps: path.speed.map(|bits| bits as f64 / 1e9),
        };
        let bound = |bound: &Bound| BoundPlan {
            stage: bound.stage.name(),
            what: bound.what.clone(),
            gbps: bound.rate / 1e9,
        };
        PlanLine {
            control: explained.control.to_string(),
            rtt_us: u64::try_from(forecast.rtt.as_micros()).unwrap_or(u64::MAX),
            paths: explained.paths.iter().map(path).collect(),
            standby: explained.standby,
            workers: explained.size.workers,
            io_threads: explained.size.io_threads,
            cores: explained.size.cores,
            chunk: explained.chunk_bytes,
            suite: suite(explained.suite),
            digest: digest(explained),
            backend_why: explained.backend.why.clone(),
            backend: backend(&explained.backend.backend),
            cc: congestion(explained.congestion),
            rate_gbps: explained.rate.map(|bits| bits as f64 / 1e9),
            bounds: forecast.bounds.iter().map(bound).collect(),
            limited_by: forecast.limited_by(explained.bytes).name(),
            total_bytes: explained.bytes,
            predicted_gbps: forecast.limit().map(|bound| bound.rate / 1e9),
            predicted_seconds: explained.seconds(),
        }
    }
}

fn suite(suite: Suite) -> &'static str {
    match suite {
        Suite::Aes128Gcm => "aes-128-gcm",
        Suite::ChaCha20Poly1305 => "chacha20-poly1305",
        Suite::Plain => "plain",
    }
}

fn digest(explained: &Explained) -> &'static str {
    if explained.digests { "blake3" } else { "none" }
}

fn backend(backend: &Backend) -> &'static str {
    match backend {
        Backend::Udp => "udp",
        Backend::Xdp(_) => "xdp",
        Backend::Filtered(_) => "udp behind an XDP filter",
    }
}

fn congestion(congestion: CongestionControl) -> &'static str {
    match congestion {
        CongestionControl::Bbr => "bbr",
        CongestionControl::Cubic => "cubic",
        CongestionControl::Ledbat => "ledbat",
        CongestionControl::Fixed => "fixed",
    }
}

/// The same for people.
pub(super) fn lines(explained: &Explained) -> Vec<String> {
    let forecast = &explained.forecast;
    let rtt_ms = forecast.rtt.as_secs_f64() * 1e3;
    let mut lines = vec![format!("round trip to {} {rtt_ms:.1} ms", explained.control)];
    lines.extend(explained.paths.iter().map(path_text));
    let cap = explained.rate.map(|rate| format!(", at most {}", show_rate(rate as f64))).unwrap_or_default();
    lines.push(format!(
        "{} workers, {} I/O threads on {} cores; chunks of {}; {}, digest {}; {} with {}{cap}; {} pairs on standby",
        explained.size.workers,
        explained.size.io_threads,
        explained.size.cores,
        show_size(explained.chunk_bytes),
        suite(explained.suite),
        digest(explained),
        backend(&explained.backend.backend),
        congestion(explained.congestion),
        explained.standby,
    ));
    lines.extend(explained.backend.why.as_ref().map(|why| format!("AF_XDP or kernel UDP: {why}")));
    lines.extend(
        forecast.bounds.iter().map(|bound| format!("at most {}: {}", show_rate(bound.rate), bound.what)),
    );
    lines.push(match (forecast.limit(), explained.bytes, explained.seconds()) {
        (None, ..) => "nothing is known that would limit it".to_owned(),
        (Some(_), Some(bytes), Some(seconds)) => {
            let limit = match forecast.limited_by(Some(bytes)) {
                Stage::None => String::new(),
                stage => format!(", limited by {}", stage_text(stage)),
            };
            format!("predicted: {} in {} or more{limit}", show_size(bytes), show_seconds(seconds))
        }
        (Some(limit), ..) => {
            format!("predicted: {} or less, limited by {}", show_rate(limit.rate), stage_text(limit.stage))
        }
    });
    lines
}

fn path_text(path: &PlannedPath) -> String {
    let speed = path.speed.map(|bits| format!(", {}", show_rate(bits as f64))).unwrap_or_default();
    let by = if path.interface.is_empty() { String::new() } else { format!(" by {}", path.interface) };
    let mtu = if path.mtu == 0 { "MTU unknown".to_owned() } else { format!("MTU {}", path.mtu) };
    format!("path {} to {}{by}: {mtu}{speed}", path.pair.local, path.pair.remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use xfer_client::forecast::Forecast;
    use xfer_client::{Chosen, EngineSize, PathPair};

    fn explained(bytes: Option<u64>, bounds: Vec<Bound>) -> Explained {
        let pair =
            PathPair { local: "10.77.1.1".parse().unwrap(), remote: "10.77.1.2:7700".parse().unwrap() };
        let path = PlannedPath { pair, interface: "x1".to_owned(), mtu: 1_500, speed: Some(1_000_000_000) };
        Explained {
            control: "10.77.1.2:7700".parse().unwrap(),
            paths: vec![path],
            standby: 3,
            size: EngineSize { cores: 4, workers: 2, io_threads: 2 },
            chunk_bytes: 1 << 20,
            suite: Suite::Aes128Gcm,
            digests: true,
            backend: Chosen { backend: Backend::Udp, why: None },
            congestion: CongestionControl::Bbr,
            rate: None,
            bytes,
            forecast: Forecast { bounds, rtt: Duration::from_micros(400) },
        }
    }

    fn wire() -> Bound {
        Bound { stage: Stage::Path, what: "1 wire".to_owned(), rate: 9.26e8 }
    }

    #[test]
    fn every_decision_is_a_line() {
        let shown = lines(&explained(Some(1 << 30), vec![wire()]));
        assert_eq!(
            shown,
            [
                "round trip to 10.77.1.2:7700 0.4 ms",
                "path 10.77.1.1 to 10.77.1.2:7700 by x1: MTU 1500, 1.00 Gbit/s",
                "2 workers, 2 I/O threads on 4 cores; chunks of 1 MiB; aes-128-gcm, digest blake3; udp with bbr; 3 pairs on standby",
                "at most 926 Mbit/s: 1 wire",
                "predicted: 1 GiB in 9.3s or more, limited by path",
            ]
        );
        let tiny = lines(&explained(Some(1), vec![wire()]));
        assert_eq!(tiny.last().unwrap(), "predicted: 1 B in 0.002s or more");
        let unknown = lines(&explained(None, vec![wire()]));
        assert_eq!(unknown.last().unwrap(), "predicted: 926 Mbit/s or less, limited by path");
        let nothing = lines(&explained(Some(1), Vec::new()));
        assert_eq!(nothing.last().unwrap(), "nothing is known that would limit it");
    }

    #[test]
    fn json_has_every_decision() {
        let line = |explained| serde_json::to_value(PlanLine::new(&explained)).unwrap();
        let known = line(explained(Some(1 << 30), vec![wire()]));
        assert_eq!((known["limited_by"].as_str(), known["chunk"].as_u64()), (Some("path"), Some(1 << 20)));
        assert!((9.2..9.4).contains(&known["predicted_seconds"].as_f64().unwrap()), "{known}");
        assert_eq!(known["paths"][0]["mtu"], 1_500);
        let unknown = line(explained(None, Vec::new()));
        assert!(unknown["predicted_seconds"].is_null() && unknown["predicted_gbps"].is_null(), "{unknown}");
        assert_eq!(unknown["limited_by"], "none");
    }
}
