//! What a benchmark tells: JSON lines, the log, lines for people.

use crate::args::{BenchRunArgs, GlobalArgs};
use crate::copy::PathLine;
use crate::json::{self, Failure, stage_text};
use crate::output::{self, Stdout};
use crate::units::{show_rate, show_seconds, show_size};
use serde::Serialize;
use std::time::Duration;
use xfer_client::bench::{Direction, End, Interval, MessageLatency};
use xfer_client::{BenchEvent, BenchSummary, Error, PathReport, Quantiles, Stage};

/// What came in an interval.
#[derive(Serialize)]
struct IntervalLine {
    from_s: f64,
    to_s: f64,
    /// Of the interval, both directions together.
    gbps: f64,
    sent_gbps: Option<f64>,
    received_gbps: Option<f64>,
    /// From here on totals, by the names that the progress of a copy has.
    bytes: u64,
    total_bytes: u64,
    files: u64,
    eta_s: f64,
    scanning: bool,
    limited_by: &'static str,
    paths: Vec<PathLine>,
}

/// What `type: summary` of a benchmark holds.
#[derive(Serialize)]
struct SummaryLine {
    gbps: f64,
    seconds: f64,
    cpu_s_per_gb_send: Option<f64>,
    cpu_s_per_gb_recv: Option<f64>,
    cpu_s_client: Option<f64>,
    cpu_s_node: Option<f64>,
    bytes: u64,
    wire_bytes: u64,
    retransmitted_bytes: u64,
    paths: Vec<SentPath>,
    directions: Vec<DirectionLine>,
    latency: Option<LatencyLine>,
    encrypted: bool,
    verified: bool,
    limited_by: &'static str,
    limited_side: Option<&'static str>,
    exit: u8,
    error: Option<Failure>,
}

/// A path, and who sent content on it.
#[derive(Serialize)]
struct SentPath {
    sender: &'static str,
    #[serde(flatten)]
    path: PathLine,
}

#[derive(Serialize)]
struct DirectionLine {
    sender: &'static str,
    bytes: u64,
    seconds: f64,
    gbps: f64,
    limited_by: &'static str,
    limited_side: Option<&'static str>,
}

#[derive(Serialize)]
struct LatencyLine {
    #[serde(flatten)]
    accepted: QuantilesLine,
    rtt: QuantilesLine,
}

#[derive(Serialize)]
struct QuantilesLine {
    count: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

impl QuantilesLine {
    fn new(of: &Quantiles) -> Self {
        let us = |time: Duration| time.as_nanos() as f64 / 1e3;
        QuantilesLine {
            count: of.count,
            p50_us: us(of.p50),
            p99_us: us(of.p99),
            p999_us: us(of.p999),
            max_us: us(of.max),
        }
    }
}

impl LatencyLine {
    fn new(latency: &MessageLatency) -> Self {
        LatencyLine { accepted: QuantilesLine::new(&latency.accepted), rtt: QuantilesLine::new(&latency.rtt) }
    }
}

impl DirectionLine {
    fn new(direction: &Direction) -> Self {
        DirectionLine {
            sender: direction.sender.name(),
            bytes: direction.bytes,
            seconds: direction.seconds,
            gbps: direction.gbps,
            limited_by: direction.limited_by.name(),
            limited_side: direction.limited_side.map(json::side),
        }
    }
}

impl SummaryLine {
    fn new(summary: &BenchSummary, encrypted: bool) -> Self {
        let first = summary.directions.first();
        let path = |sender: End| {
            move |path: &PathReport| SentPath { sender: sender.name(), path: PathLine::new(path) }
        };
        SummaryLine {
            gbps: summary.gbps,
            seconds: summary.seconds,
            cpu_s_per_gb_send: summary.cpu_s_per_gb_send(),
            cpu_s_per_gb_recv: summary.cpu_s_per_gb_recv(),
            cpu_s_client: summary.cpu_client,
            cpu_s_node: summary.cpu_node,
            bytes: summary.directions.iter().map(|direction| direction.bytes).sum(),
            wire_bytes: summary.wire_bytes,
            retransmitted_bytes: summary.retransmitted_bytes,
            paths: summary.directions.iter().flat_map(|d| d.paths.iter().map(path(d.sender))).collect(),
            directions: summary.directions.iter().map(DirectionLine::new).collect(),
            latency: summary.latency.as_ref().map(LatencyLine::new),
            encrypted,
            verified: summary.verified,
            limited_by: first.map_or(Stage::None, |direction| direction.limited_by).name(),
            limited_side: first.and_then(|direction| direction.limited_side).map(json::side),
            exit: summary.exit_code(),
            error: summary.error.as_ref().map(Failure::new),
        }
    }
}

/// Tells of one benchmark.
pub(super) struct Reporter {
    stdout: Stdout,
    json: bool,
    quiet: bool,
    encrypted: bool,
    /// How long content is sent, for what is left of it.
    time: Duration,
    /// Messages are timed: rates say nothing.
    messages: bool,
    /// Stdout could not be written to any more; the benchmark goes on.
    lost: Option<Error>,
}

impl Reporter {
    pub(super) fn new(args: &BenchRunArgs, global: &GlobalArgs) -> Self {
        Reporter {
            stdout: Stdout::new(),
            json: args.json,
            quiet: global.quiet,
            encrypted: !args.network.no_encrypt,
            time: args.seconds,
            messages: args.latency,
            lost: None,
        }
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: BenchEvent) {
        match event {
            BenchEvent::Decision(text) => tracing::info!("{text}"),
            BenchEvent::PathUp(pair) => {
                tracing::info!(local = %pair.local, remote = %pair.remote, "path is up")
            }
            BenchEvent::PathDown(pair, why) => {
                tracing::warn!(local = %pair.local, remote = %pair.remote, why, "path is down");
            }
            BenchEvent::Warning(text) => tracing::warn!("{text}"),
            BenchEvent::Interval(interval) if self.json => {
                let line = json::line("progress", &self.interval_line(&interval));
                self.print(&line);
            }
            BenchEvent::Interval(interval) if !self.quiet && !self.messages => {
                output::tell(&interval_text(&interval));
            }
            BenchEvent::Interval(_) => {}
        }
    }

    fn interval_line(&self, interval: &Interval) -> IntervalLine {
        let (sent, received) = (gbps(interval, interval.sent), gbps(interval, interval.received));
        let progress = &interval.progress;
        IntervalLine {
            from_s: interval.from.as_secs_f64(),
            to_s: interval.to.as_secs_f64(),
            gbps: sent.unwrap_or(0.0) + received.unwrap_or(0.0),
            sent_gbps: sent,
            received_gbps: received,
            bytes: progress.bytes,
            total_bytes: progress.bytes,
            files: progress.files,
            eta_s: self.time.saturating_sub(interval.to).as_secs_f64(),
            scanning: false,
            limited_by: progress.limited_by.name(),
            paths: progress.paths.iter().map(PathLine::new).collect(),
        }
    }

    /// Prints on stdout; what cannot be written does not end the benchmark.
    fn print(&mut self, text: &str) {
        if self.lost.is_none() {
            let written = self.stdout.write(text.as_bytes()).and_then(|()| self.stdout.flush());
            self.lost = written.err();
        }
    }

    /// Tells the summary.
    ///
    /// # Errors
    /// Stdout was lost in a benchmark that otherwise succeeded.
    pub(super) fn end(mut self, summary: &BenchSummary) -> Result<(), Error> {
        if self.json {
            let line = json::line("summary", &SummaryLine::new(summary, self.encrypted));
            self.print(&line);
        } else {
            let text = text(summary);
            self.print(&text);
        }
        match self.lost {
            Some(error) if summary.error.is_none() => Err(error),
            _ => Ok(()),
        }
    }
}

fn gbps(interval: &Interval, bytes: Option<u64>) -> Option<f64> {
    let seconds = (interval.to - interval.from).as_secs_f64();
    bytes.map(|bytes| if seconds > 0.0 { bytes as f64 * 8.0 / 1e9 / seconds } else { 0.0 })
}

/// `2.0-3.0 s  sent 9.81 Gbit/s, received 9.70 Gbit/s, limited by path`.
fn interval_text(interval: &Interval) -> String {
    let shown = |what: &str, bytes| gbps(interval, bytes).map(|g| format!("{what} {}", show_rate(g * 1e9)));
    let mut parts: Vec<String> = shown("sent", interval.sent).into_iter().collect();
    parts.extend(shown("received", interval.received));
    if interval.progress.limited_by != Stage::None {
        parts.push(format!("limited by {}", stage_text(interval.progress.limited_by)));
    }
    let (from, to) = (interval.from.as_secs_f64(), interval.to.as_secs_f64());
    format!("{from:.1}-{to:.1} s  {}", parts.join(", "))
}

/// The summary for people: a line for each direction, one for messages, one for processors.
fn text(summary: &BenchSummary) -> String {
    let mut lines = Vec::new();
    match &summary.latency {
        Some(latency) => {
            lines.push(format!("{} messages: {}", latency.accepted.count, quantiles(&latency.accepted)));
            lines.push(format!("round trips: {}", quantiles(&latency.rtt)));
        }
        None => lines.extend(summary.directions.iter().filter(|d| d.bytes > 0).map(direction)),
    }
    let cost = |what: &str, cost: Option<f64>| cost.map(|cost| format!("{what} {cost:.3} CPU s/GB"));
    // An end that does both has no other name.
    let [send, receive] =
        if summary.directions.len() > 1 { ["client", "node"] } else { ["sender", "receiver"] };
    let costs = [cost(send, summary.cpu_s_per_gb_send()), cost(receive, summary.cpu_s_per_gb_recv())];
    let costs: Vec<String> = costs.into_iter().flatten().collect();
    if summary.latency.is_none() && !costs.is_empty() {
        lines.push(costs.join(", "));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn direction(direction: &Direction) -> String {
    let what = if direction.sender == End::Client { "sent" } else { "received" };
    let (size, time) = (show_size(direction.bytes), show_seconds(direction.seconds));
    let mut text = format!("{what} {size} in {time}: {}", show_rate(direction.gbps * 1e9));
    if direction.limited_by != Stage::None {
        let side = direction.limited_side.map(|side| format!(" ({})", json::side(side))).unwrap_or_default();
        text.push_str(&format!("; limited by {}{side}", stage_text(direction.limited_by)));
    }
    text
}

/// `p50 61 us, p99 110 us, p99.9 250 us, longest 1.2 ms`.
fn quantiles(of: &Quantiles) -> String {
    let shown = |time: Duration| match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        seconds if seconds < 10e-3 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{:.0} ms", seconds * 1e3),
    };
    let (p50, p99, p999, max) = (shown(of.p50), shown(of.p99), shown(of.p999), shown(of.max));
    format!("p50 {p50}, p99 {p99}, p99.9 {p999}, longest {max}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_client::{Class, Progress, Side};

    fn one() -> BenchSummary {
        let direction = Direction {
            sender: End::Client,
            bytes: 1_000_000_000,
            seconds: 2.0,
            gbps: 4.0,
            limited_by: Stage::SenderCpu,
            limited_side: Some(Side::Source),
            paths: Vec::new(),
        };
        BenchSummary {
            directions: vec![direction],
            gbps: 4.0,
            seconds: 2.0,
            cpu_client: Some(0.5),
            cpu_node: Some(0.25),
            ..BenchSummary::default()
        }
    }

    #[test]
    fn the_summary_has_every_field_also_on_failure() {
        let failed = BenchSummary {
            error: Some(Error::new(Class::Refused, "x")),
            latency: Some(MessageLatency::default()),
            ..BenchSummary::default()
        };
        for (summary, exit) in [(one(), 0), (failed, 6)] {
            let line = serde_json::to_value(SummaryLine::new(&summary, true)).unwrap();
            for key in "gbps seconds cpu_s_per_gb_send cpu_s_per_gb_recv cpu_s_client cpu_s_node bytes wire_bytes \
                        retransmitted_bytes paths directions latency encrypted verified limited_by limited_side \
                        exit error"
                .split_whitespace()
            {
                assert!(line.get(key).is_some(), "{key}");
            }
            assert_eq!(line["exit"], exit);
        }
        let line = serde_json::to_value(SummaryLine::new(&one(), true)).unwrap();
        assert_eq!((line["gbps"].as_f64(), line["cpu_s_per_gb_send"].as_f64()), (Some(4.0), Some(0.5)));
        assert_eq!(
            (line["limited_by"].as_str(), line["limited_side"].as_str()),
            (Some("sender_cpu"), Some("src"))
        );
    }

    #[test]
    fn people_are_told_what_counts() {
        let lines = "sent 953.7 MiB in 2.0s: 4.00 Gbit/s; limited by sender cpu (src)\n\
                     sender 0.500 CPU s/GB, receiver 0.250 CPU s/GB\n";
        assert_eq!(text(&one()), lines);
        let back = Direction { sender: End::Node, ..one().directions[0].clone() };
        let both = BenchSummary { directions: vec![one().directions[0].clone(), back], ..one() };
        assert!(text(&both).ends_with("client 0.250 CPU s/GB, node 0.125 CPU s/GB\n"), "{}", text(&both));
        assert_eq!(text(&BenchSummary::default()), "");
        let ms = Duration::from_millis;
        let accepted =
            Quantiles { count: 7, p50: Duration::from_micros(61), p99: ms(5), p999: ms(50), max: ms(2_000) };
        let latency = Some(MessageLatency { accepted, rtt: Quantiles::default() });
        let first = "7 messages: p50 61 us, p99 5.00 ms, p99.9 50 ms, longest 2000 ms\n";
        assert!(text(&BenchSummary { latency, ..one() }).starts_with(first));
    }

    #[test]
    fn intervals_tell_the_rate_of_their_time() {
        let interval = Interval {
            from: Duration::from_secs(2),
            to: Duration::from_secs(4),
            sent: Some(250_000_000),
            received: None,
            progress: Progress { limited_by: Stage::Path, ..Progress::default() },
        };
        assert_eq!(interval_text(&interval), "2.0-4.0 s  sent 1.00 Gbit/s, limited by path");
        let both = Interval { received: Some(0), ..interval };
        assert_eq!(interval_text(&both), "2.0-4.0 s  sent 1.00 Gbit/s, received 0 bit/s, limited by path");
    }
}
