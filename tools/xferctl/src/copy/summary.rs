//! The last line of a copy: the summary, as JSON and for people.

use crate::json::{self, Failure};
use crate::names;
use crate::units::{show_duration, show_rate, show_size};
use serde::Serialize;
use std::time::Duration;
use xfer_client::{Durability, PathReport, Summary};

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
            exit: summary.exit_code(),
            error: summary.error.as_ref().map(Failure::new),
        }
    }
}

/// The summary for people, in one or two lines.
pub(super) fn text(summary: &Summary) -> String {
    let mut parts = vec![format!("{} files, {} copied", summary.files, show_size(summary.bytes))];
    if summary.reused_bytes > 0 {
        parts.push(format!("{} taken over from before", show_size(summary.reused_bytes)));
    }
    if summary.skipped > 0 {
        parts.push(format!("{} files ({}) there already", summary.skipped, show_size(summary.skipped_bytes)));
    }
    if summary.failed > 0 {
        parts.push(format!("{} files failed", summary.failed));
    }
    let time = Duration::from_secs_f64(summary.seconds.max(0.0));
    let time =
        if time < Duration::from_secs(10) { format!("{:.1}s", summary.seconds) } else { show_duration(time) };
    parts.push(format!("{time}, {}", show_rate(summary.gbps * 1e9)));
    if summary.error.is_none() {
        parts.push(if summary.verified { "verified".to_owned() } else { "not verified".to_owned() });
        parts.extend(summary.durability.map(|d| match d {
            Durability::None => "not synced".to_owned(),
            Durability::Batch | Durability::File => "durable".to_owned(),
        }));
    }
    let mut text = parts.join("; ");
    if let Some(digest) = summary.digest {
        text.push_str(&format!("\nblake3 {}", names::hex(&digest)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_client::{Class, Error};

    #[test]
    fn the_summary_has_every_field() {
        let error = Some(Error::new(Class::Temporary, "x"));
        let line = serde_json::to_value(SummaryLine::new(&Summary { error, ..Summary::default() })).unwrap();
        for key in "bytes reused_bytes skipped_bytes total_bytes files skipped seconds gbps wire_bytes \
                    retransmitted_bytes paths digest verified durability limited_by limited_side exit error"
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
            ..Summary::default()
        };
        assert_eq!(
            text(&summary),
            "2 files, 3 MiB copied; 1 files (7 B) there already; 1.2s, 20 Mbit/s; verified; durable"
        );
    }
}
