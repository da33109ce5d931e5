//! What `top` shows: two scrapes, one after the other, as lines.

use super::scrape::{Labels, Scrape};
use crate::units::{show_rate, show_size};

/// Steps of a histogram that is drawn, from nothing to its largest bucket.
const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines for what was told between two scrapes.
pub(super) fn lines(before: &Scrape, now: &Scrape) -> Vec<String> {
    let view = View { before, now, seconds: now.at.duration_since(before.at).as_secs_f64().max(1e-9) };
    let mut lines = vec![view.head()];
    lines.extend(view.workers());
    lines.extend(view.queues());
    lines.extend(view.paths());
    lines.extend(view.network());
    lines.extend(view.fates());
    lines
}

struct View<'a> {
    before: &'a Scrape,
    now: &'a Scrape,
    seconds: f64,
}

impl View<'_> {
    /// How fast a number grows, a second; what ended in between counts as standing still.
    fn rate(&self, name: &str, labels: &Labels) -> f64 {
        (self.now.value(name, labels) - self.before.value(name, labels)).max(0.0) / self.seconds
    }

    fn head(&self) -> String {
        let none = Labels::new();
        let version =
            self.now.all("xfer_build_info").first().map_or("?", |(labels, _)| get(labels, "version"));
        let running = self.now.value("xfer_transfers_running", &none);
        let moved = self.now.value("xfer_transfers_bytes", &none);
        let rate = 8.0 * self.rate("xfer_transfers_bytes", &none);
        format!(
            "node {version}: {running} transfers, {} so far, {}",
            show_size(moved as u64),
            show_rate(rate)
        )
    }

    fn workers(&self) -> Vec<String> {
        let name = "xfer_worker_datagrams_total";
        let line = |(labels, _): &(Labels, f64)| {
            format!(
                "worker {}: {} trains/s out, {} in, {} handed over, {} dropped",
                get(labels, "worker"),
                count(self.rate("xfer_worker_trains_total", labels)),
                count(self.rate(name, labels)),
                count(self.rate("xfer_worker_handed_over_total", labels)),
                count(self.rate("xfer_worker_dropped_total", labels)),
            )
        };
        self.now.all(name).iter().map(line).collect()
    }

    fn queues(&self) -> Vec<String> {
        let line = |(labels, _): &(Labels, f64)| {
            let trains = get(labels, "train_packets_max");
            let joined = if get(labels, "joins_trains") == "yes" { "joined" } else { "single" };
            format!(
                "queue of worker {}: {} by {}, trains of {trains} out, {joined} in",
                get(labels, "worker"),
                get(labels, "local"),
                get(labels, "backend"),
            )
        };
        self.now.all("xfer_queue_info").iter().map(line).collect()
    }

    fn paths(&self) -> Vec<String> {
        let line = |(labels, _): &(Labels, f64)| {
            format!(
                "path {} - {}: {}, rtt {:.3} ms, loss {:.3} %, window {}",
                get(labels, "local"),
                get(labels, "remote"),
                show_rate(8.0 * self.rate("xfer_path_bytes", labels)),
                1e3 * self.now.value("xfer_path_rtt_seconds", labels),
                1e2 * self.now.value("xfer_path_loss_ratio", labels),
                show_size(self.now.value("xfer_path_window_bytes", labels) as u64),
            )
        };
        self.now.all("xfer_path_bytes").iter().map(line).collect()
    }

    fn network(&self) -> Vec<String> {
        let line = |(labels, _): &(Labels, f64)| {
            format!(
                "{} {}: {} packets/s in {} trains, {}, {} gaps/s, {} missing, {} late; between packets [{}] {}",
                get(labels, "nic"),
                get(labels, "direction"),
                count(self.rate("xfer_network_packets_total", labels)),
                count(self.rate("xfer_network_trains_total", labels)),
                show_rate(8.0 * self.rate("xfer_network_bytes_total", labels)),
                count(self.rate("xfer_network_gaps_total", labels)),
                count(self.rate("xfer_network_missing_total", labels)),
                count(self.rate("xfer_network_late_total", labels)),
                draw(&self.between(labels)),
                "128 ns to 0.5 s",
            )
        };
        self.now.all("xfer_network_packets_total").iter().map(line).collect()
    }

    /// What fell into each bucket since the scrape before, ascending.
    fn between(&self, labels: &Labels) -> Vec<f64> {
        let name = "xfer_network_between_seconds_bucket";
        let mut below = 0.0;
        let of_this = |(found, _): &&(Labels, f64)| {
            let mut rest = found.clone();
            rest.remove("le");
            rest == *labels
        };
        let grown = |(found, value): &(Labels, f64)| {
            let grown = (value - self.before.value(name, found)).max(0.0);
            let own = grown - below;
            below = grown;
            own
        };
        self.now.all(name).iter().filter(of_this).map(grown).collect()
    }

    /// What the XDP program did with packets, where there is one.
    fn fates(&self) -> Vec<String> {
        let name = "xfer_xdp_packets_total";
        let line = |(labels, _): &(Labels, f64)| {
            let rate = self.rate(name, labels);
            let (nic, action, reason) = (get(labels, "nic"), get(labels, "action"), get(labels, "reason"));
            (rate > 0.0).then(|| format!("{nic} xdp: {} packets/s {action}: {reason}", count(rate)))
        };
        self.now.all(name).iter().filter_map(line).collect()
    }
}

fn get<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.get(name).map_or("?", String::as_str)
}

/// `12.3 k`.
fn count(value: f64) -> String {
    match value {
        0.0..1e4 => format!("{value:.0}"),
        1e4..1e6 => format!("{:.1} k", value / 1e3),
        _ => format!("{:.1} M", value / 1e6),
    }
}

/// Buckets as columns, the largest the highest; one that has anything is seen.
fn draw(buckets: &[f64]) -> String {
    let largest = buckets.iter().copied().fold(0.0, f64::max);
    let column = |value: &f64| {
        let step = (value / largest * (STEPS.len() - 1) as f64).ceil() as usize;
        STEPS[if largest > 0.0 { step.min(STEPS.len() - 1) } else { 0 }]
    };
    buckets.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scrape::tests::told;
    use super::*;
    use std::time::{Duration, Instant};

    fn view(before: &str, now: &str) -> Vec<String> {
        let at = Instant::now();
        lines(&told(before, at), &told(now, at + Duration::from_secs(2)))
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let text = |n: u64| {
            format!(
                "xfer_build_info{{version=\"1.2\"}} 1\nxfer_transfers_running 2\nxfer_transfers_bytes {}\n\
                 xfer_worker_datagrams_total{{worker=\"0\"}} {n}\nxfer_worker_trains_total{{worker=\"0\"}} {}\n\
                 xfer_xdp_packets_total{{nic=\"e\",action=\"dropped\",reason=\"unknown\"}} {n}\n\
                 xfer_xdp_packets_total{{nic=\"e\",action=\"dropped\",reason=\"kind\"}} 5\n",
                n * 1_000_000,
                n * 50_000
            )
        };
        let shown = view(&text(10), &text(20));
        assert_eq!(
            shown,
            [
                "node 1.2: 2 transfers, 19.1 MiB so far, 40 Mbit/s",
                "worker 0: 250.0 k trains/s out, 5 in, 0 handed over, 0 dropped",
                "e xdp: 5 packets/s dropped: unknown",
            ]
        );
        // Less than before, as when transfers ended.
        assert!(view(&text(20), &text(10))[0].contains(" 0 "), "{:?}", view(&text(20), &text(10)));
    }

    #[test]
    fn histograms_are_drawn_from_what_came_since() {
        let text = |a: u64, b: u64| {
            let sample = |le: &str, n: u64| {
                format!("xfer_network_between_seconds_bucket{{nic=\"e\",direction=\"in\",le=\"{le}\"}} {n}\n")
            };
            let packets = "xfer_network_packets_total{nic=\"e\",direction=\"in\"} 0\n";
            [packets.to_owned(), sample("0.1", a), sample("0.2", a), sample("+Inf", b)].concat()
        };
        let shown = view(&text(100, 100), &text(101, 109));
        assert!(shown[1].contains("between packets [▁ █] "), "{shown:?}");
        assert_eq!(draw(&[0.0, 0.0]), "  ");
    }
}
