//! How long answers wait and round trips take: histograms of fixed size, filled by the worker.

use crate::api::Latency;
use crate::quantiles::{self, histogram, ns};
use hdrhistogram::Histogram;
use std::time::Duration;

/// The histograms of one connection.
pub(crate) struct Latencies {
    ack_delay: Histogram<u64>,
    rtt: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Latencies { ack_delay: histogram(), rtt: histogram() }
    }

    /// An ACK left this long after it was due.
    pub(crate) fn ack_sent(&mut self, late: Duration) {
        self.ack_delay.saturating_record(ns(late));
    }

    /// A packet was answered after this long.
    pub(crate) fn answered(&mut self, rtt: Duration) {
        self.rtt.saturating_record(ns(rtt));
    }

    pub(crate) fn report(&self) -> Latency {
        Latency { ack_delay: quantiles::of(&self.ack_delay), rtt: quantiles::of(&self.rtt) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.report(), Latency::default());
        for us in 1..=1_000 {
            latencies.ack_sent(Duration::from_micros(us));
        }
        latencies.answered(Duration::ZERO);
        latencies.answered(Duration::from_secs(3_600));
        let report = latencies.report();
        let near = |time: Duration, us: u128| time.as_micros().abs_diff(us) * 100 <= us;
        assert_eq!(report.ack_delay.count, 1_000);
        assert!(near(report.ack_delay.p50, 500) && near(report.ack_delay.p99, 990), "{report:?}");
        assert!(near(report.ack_delay.p999, 999) && near(report.ack_delay.max, 1_000), "{report:?}");
        assert_eq!(report.rtt.count, 2);
        assert!(near(report.rtt.max, limits::LATENCY_MAX.as_micros()), "{report:?}");
    }
}
