//! The last line of a copy: the summary, as JSON and for people.

use crate::json::{self, Failure};
use crate::names;
use crate::units::{show_rate, show_seconds, show_size};
use serde::Serialize;
use xfer_client::{Durability, PathReport, Stage, Summary};

/// What `type: summary` holds (PRODUCT.md, "Summary").
#[derive(Serialize)]
pub(super) struct SummaryLine {
    bytes: u64,
    reused_bytes: u64,
    skipped_bytes: u64,
    total_bytes: u64,
    files: u64,
    skipped: u64,
    failed: u64,
    seconds: f64,
    gbps: f64,
    wire_bytes: u64,
    retransmitted_bytes: u64,
    paths: Vec<PathLine>,
    digest: Option<String>,
    verified: bool,
    durability: Option<&'static str>,
    limited_by: &'static str,
    limited_side: Option<&'static str>,
    predicted_seconds: Option<f64>,
    exit: u8,
    error: Option<Failure>,
}

/// One path: payload acknowledged there, smoothed RTT, fraction of packets lost, largest datagram.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PathLine {
    local: String,
    remote: String,
    bytes: u64,
    rtt_us: u64,
    loss: f64,
    mtu: u16,
}

impl PathLine {
    pub(crate) fn new(path: &PathReport) -> Self {
        PathLine {
            local: path.pair.local.to_string(),
            remote: path.pair.remote.ip().to_string(),
            bytes: path.bytes,
            rtt_us: u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX),
            loss: path.loss,
            mtu: path.mtu,
        }
    }
}

impl SummaryLine {
    pub(super) fn new(summary: &Summary) -> Self {
        SummaryLine {
            bytes: summary.bytes,
            reused_bytes: summary.reused_bytes,
            skipped_bytes: summary.skipped_bytes,
            total_bytes: summary.total_bytes,
            files: summary.files,
            skipped: summary.skipped,
            failed: summary.failed,
            seconds: summary.seconds,
            gbps: summary.gbps,
            wire_bytes: summary.wire_bytes,
            retransmitted_bytes: summary.retransmitted_bytes,
            paths: summary.paths.iter().map(PathLine::new).collect(),
            digest: summary.digest.map(|digest| names::hex(&digest)),
            verified: summary.verified,
            durability: summary.durability.map(Durability::name),
            limited_by: summary.limited_by.name(),
            limited_side: summary.limited_side.map(json::side),
            predicted_seconds: summary.expected.map(|expected| expected.seconds),
            exit: summary.exit_code(),
            error: summary.error.as_ref().map(Failure::new),
        }
    }
}

/// The summary for people, in one or two lines.
pub(super) fn text(summary: &Summary) -> String {
    let mut parts = vec![format!("{}, {} copied", files(summary.files), show_size(summary.bytes))];
    if summary.reused_bytes > 0 {
        parts.push(format!("{} taken over from before", show_size(summary.reused_bytes)));
    }
    if summary.skipped > 0 {
        let (skipped, size) = (files(summary.skipped), show_size(summary.skipped_bytes));
        parts.push(format!("{skipped} ({size}) there already"));
    }
    if summary.failed > 0 {
        parts.push(format!("{} failed", files(summary.failed)));
    }
    parts.push(format!("{}, {}", show_seconds(summary.seconds), show_rate(summary.gbps * 1e9)));
    if summary.error.is_none() {
        parts.push(if summary.verified { "verified".to_owned() } else { "not verified".to_owned() });
        parts.extend(summary.durability.map(|d| match d {
            Durability::None => "not synced".to_owned(),
            Durability::Batch | Durability::File => "durable".to_owned(),
        }));
    }
    if summary.limited_by != Stage::None {
        let side = summary.limited_side.map(|side| format!(" ({})", json::side(side))).unwrap_or_default();
        parts.push(format!("limited by {}{side}", json::stage_text(summary.limited_by)));
    }
    parts.extend(compared(summary));
    let mut text = parts.join("; ");
    if let Some(digest) = summary.digest {
        text.push_str(&format!("\nblake3 {}", names::hex(&digest)));
    }
    text
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// How the forecast compares: `predicted 1.0s by path, took 1.2 times that`.
fn compared(summary: &Summary) -> Option<String> {
    let expected = summary.expected.filter(|expected| expected.seconds > 0.0 && summary.error.is_none())?;
    let times = summary.seconds / expected.seconds;
    let took = if times < 10.0 { format!("{times:.1}") } else { format!("{times:.0}") };
    let by = match expected.limited_by {
        Stage::None => String::new(),
        stage => format!(" by {}", json::stage_text(stage)),
    };
    Some(format!("predicted {}{by}, took {took} times that", show_seconds(expected.seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_client::{Class, Error, Side};

    #[test]
    fn the_summary_has_every_field() {
        let error = Some(Error::new(Class::Temporary, "x"));
        let line = serde_json::to_value(SummaryLine::new(&Summary { error, ..Summary::default() })).unwrap();
        for key in "bytes reused_bytes skipped_bytes total_bytes files skipped seconds gbps wire_bytes \
                    retransmitted_bytes paths digest verified durability limited_by limited_side predicted_seconds exit error"
            .split_whitespace()
        {
            assert!(line.get(key).is_some(), "{key}");
        }
        assert_eq!(line["exit"], 5);
        assert_eq!(line["error"]["class"], 5);
        assert_eq!(line["limited_by"], "none");
        assert!(line["digest"].is_null());
    }

    #[test]
    fn people_are_told_what_counts() {
        let summary = Summary {
            bytes: 3 << 20,
            files: 2,
            skipped: 1,
            skipped_bytes: 7,
            seconds: 1.25,
            gbps: 0.02,
            verified: true,
            durability: Some(Durability::Batch),
            limited_by: Stage::RateLimit,
            limited_side: Some(Side::Source),
            ..Summary::default()
        };
        assert_eq!(
            text(&summary),
            "2 files, 3 MiB copied; 1 file (7 B) there already; 1.2s, 20 Mbit/s; verified; durable; limited by rate limit (src)"
        );
    }
}
