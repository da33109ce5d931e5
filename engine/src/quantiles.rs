//! Histograms of times, of fixed size, and what is told of them.

use crate::api::Quantiles;
use crate::limits;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Nanoseconds from 1 us to the longest that is told apart, two digits of each; some ten thousand bytes.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, ns(limits::LATENCY_MAX), 2).expect("the bounds are in order")
}

/// As a histogram takes it.
pub(crate) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What was recorded.
pub(crate) fn of(histogram: &Histogram<u64>) -> Quantiles {
    let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile));
    Quantiles {
        count: histogram.len(),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: Duration::from_nanos(histogram.max()),
    }
}
