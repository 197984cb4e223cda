//! Latency histogram in nanoseconds, by `hdrhistogram`.
//!
//! A [`Histogram::quantile`] is at most 1 % too high and never too low.

/// Largest value: 2^42 ns (73 minutes); larger ones are recorded as this.
const HIGHEST: u64 = 1 << 42;
/// Significant digits of a value.
const DIGITS: u8 = 2;

#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Default for Histogram {
    fn default() -> Histogram {
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST, DIGITS);
        Histogram(histogram.expect("valid bounds"))
    }
}

impl Histogram {
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.0.add(&other.0).expect("equal bounds");
    }

    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// Returns the upper bound of the bucket that contains the `share` quantile (0.99: the 99th percentile).
    pub fn quantile(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.record(value));
        for (share, exact) in [
            (0.5, 50_000.0),
            (0.9, 90_000.0),
            (0.99, 99_000.0),
            (1.0, 100_000.0),
        ] {
            let found = histogram.quantile(share) as f64;
            assert!(found >= exact && found <= exact * 1.01, "{share}: {found}");
        }
    }

    #[test]
    fn merged_histograms_are_one_and_large_values_are_kept_at_the_end() {
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        assert_eq!(left.quantile(0.5), 0);
        (0..1_000).for_each(|_| left.record(10));
        (0..1_000).for_each(|_| right.record(1_000_000_000_000_000));
        left.merge(&right);
        assert_eq!(left.quantile(0.5), 10);
        assert!(left.max() >= HIGHEST);
    }
}
