//! Median and spread of the runs of one case.

/// What several runs gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) runs: usize,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of `values` in any order; none without values. Of an even number the median is the mean of the middle two.
    ///
    /// # Panics
    /// Where a value is not a number.
    pub(crate) fn of(values: &[f64]) -> Option<Spread> {
        assert!(values.iter().all(|value| !value.is_nan()), "a figure is not a number");
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let runs = sorted.len();
        let median = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2.0;
        Some(Spread { runs, min, median, max })
    }
}

/// The median alone; 0 without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    Spread::of(values).map_or(0.0, |spread| spread.median)
}

/// `value` with about three digits that count.
pub(crate) fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_none_one_and_more() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[2.0]), Some(Spread { runs: 1, min: 2.0, median: 2.0, max: 2.0 }));
        assert_eq!(Spread::of(&[3.0, 1.0]), Some(Spread { runs: 2, min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(Spread { runs: 3, min: 1.0, median: 2.0, max: 9.0 }));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    #[should_panic(expected = "not a number")]
    fn what_is_no_number_has_no_rank() {
        Spread::of(&[1.0, f64::NAN]);
    }

    #[test]
    fn three_digits_count() {
        let shown = [0.0, 0.123_4, 1.234, 9.999, 12.34, 123.4].map(digits);
        assert_eq!(shown, ["0.00", "0.123", "1.23", "10.00", "12.3", "123"]);
    }
}
