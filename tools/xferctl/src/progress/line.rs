//! Progress as one plain line, and as JSON.

use super::meter::State;
use crate::copy::PathLine;
use crate::units::{show_duration, show_rate, show_size};
use serde::Serialize;
use xfer_client::Stage;

/// What `type: progress` holds.
#[derive(Serialize)]
pub(super) struct Json {
    bytes: u64,
    reused_bytes: u64,
    skipped_bytes: u64,
    total_bytes: u64,
    files: u64,
    gbps: f64,
    eta_s: Option<f64>,
    scanning: bool,
    limited_by: &'static str,
    paths: Vec<PathLine>,
}

impl Json {
    pub(super) fn new(state: &State) -> Self {
        Json {
            bytes: state.totals.bytes,
            reused_bytes: state.totals.reused_bytes,
            skipped_bytes: state.totals.skipped_bytes,
            total_bytes: state.totals.total_bytes,
            files: state.totals.files,
            gbps: state.rate / 1e9,
            eta_s: state.eta.map(|eta| eta.as_secs_f64()),
            scanning: state.totals.scanning,
            limited_by: state.totals.limited_by.name(),
            paths: state.paths.iter().map(|(path, _)| PathLine::new(path)).collect(),
        }
    }
}

/// `1.2 GiB of 4 GiB, 17 files, 2.40 Gbit/s, 12s left, limited by sink`.
pub(super) fn text(state: &State) -> String {
    let totals = &state.totals;
    let more = if totals.scanning { "+" } else { "" };
    let mut text = format!(
        "{} of {}{more}, {} of {}{more} files, {}",
        show_size(state.done),
        show_size(totals.total_bytes),
        totals.files + totals.skipped,
        totals.total_files,
        show_rate(state.rate),
    );
    text.push_str(&left(state));
    if totals.limited_by != Stage::None {
        text.push_str(", limited by ");
        text.push_str(&totals.limited_by.name().replace('_', " "));
    }
    text
}

/// `, 12s left`; while the tree is scanned the time is a lower bound, which `at least` tells.
pub(super) fn left(state: &State) -> String {
    let bound = if state.totals.scanning { "at least " } else { "" };
    state.eta.map(|eta| format!(", {bound}{} left", show_duration(eta))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use xfer_client::Progress;

    fn state(scanning: bool) -> State {
        let totals = Progress {
            bytes: 1 << 20,
            total_bytes: 3 << 20,
            files: 1,
            skipped: 1,
            total_files: 5,
            scanning,
            limited_by: Stage::RateLimit,
            ..Progress::default()
        };
        State { totals, done: 1 << 20, rate: 8e6, eta: Some(Duration::from_secs(2)), paths: Vec::new() }
    }

    #[test]
    fn a_line_tells_what_is_known() {
        let end = "2 of 5 files, 8.00 Mbit/s, 2s left, limited by rate limit";
        assert_eq!(text(&state(false)), format!("1 MiB of 3 MiB, {end}"));
        assert!(text(&state(true)).contains("of 3 MiB+, 2 of 5+ files, 8.00 Mbit/s, at least 2s left"));
    }

    #[test]
    fn json_has_every_field() {
        let line = serde_json::to_value(Json::new(&state(true))).unwrap();
        for key in "bytes total_bytes files gbps eta_s scanning limited_by paths".split_whitespace() {
            assert!(line.get(key).is_some(), "{key}");
        }
        assert_eq!((line["eta_s"].as_f64(), line["gbps"].as_f64()), (Some(2.0), Some(0.008)));
    }
}
