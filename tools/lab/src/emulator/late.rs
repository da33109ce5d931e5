//! How late deliveries are made, in powers of two.

/// Counts of lateness: bucket `n` holds what was late by less than `2^n` ns.
#[derive(Default)]
pub(crate) struct Lateness {
    buckets: [u64; 32],
    max_ns: u64,
}

impl Lateness {
    pub(crate) fn record(&mut self, late_ns: u64) {
        let bucket = (u64::BITS - late_ns.leading_zeros()) as usize;
        self.buckets[bucket.min(self.buckets.len() - 1)] += 1;
        self.max_ns = self.max_ns.max(late_ns);
    }

    /// Upper bound of the lateness of this share of all deliveries, us.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (1u64 << bucket).min(self.max_ns) as f64 / 1e3;
            }
        }
        self.max_us()
    }

    pub(crate) fn max_us(&self) -> f64 {
        self.max_ns as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_bound_from_above() {
        let mut late = Lateness::default();
        assert_eq!(late.quantile_us(0.5), 0.0);
        (0..99).for_each(|_| late.record(1_000));
        late.record(100_000);
        assert_eq!(
            (late.quantile_us(0.5), late.quantile_us(0.99), late.quantile_us(1.0)),
            (1.024, 1.024, 100.0)
        );
        late.record(u64::MAX);
    }
}
