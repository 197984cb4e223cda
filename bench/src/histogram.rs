//! Latency histogram with logarithmic buckets: 64 per power of two.
//!
//! A [`Histogram::quantile`] is at most 1.6 % too high and never too low.

/// log2 of [`PER_POWER`].
const BITS: u32 = 6;
const PER_POWER: usize = 1 << BITS;
/// Covers values up to 2^42 ns (73 minutes); larger ones fall into the last bucket.
const BUCKETS: usize = PER_POWER * (42 - BITS as usize + 1);

#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: vec![0; BUCKETS],
            count: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub fn record(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the upper bound of the bucket that contains the `share` quantile (0.99: the 99th percentile).
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2();
    if power < BITS {
        return nanos as usize;
    }
    let shift = power - BITS;
    let within = (nanos >> shift) as usize - PER_POWER;
    (PER_POWER * (shift as usize + 1) + within).min(BUCKETS - 1)
}

fn upper_end(index: usize) -> u64 {
    if index < PER_POWER {
        return index as u64;
    }
    let shift = index / PER_POWER - 1;
    let first = ((PER_POWER + index % PER_POWER) as u64) << shift;
    first + (1 << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_just_below_its_end() {
        for value in (0..5_000).chain((0..40).map(|power| (1u64 << power) + 12)) {
            let end = upper_end(bucket(value));
            assert!(end >= value, "{value} is above {end}");
            assert!(end - value <= value / 63 + 1, "{value} is far below {end}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.record(value));
        for (share, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!(found >= exact && found <= exact * 1.016, "{share}: {found}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000);
        assert_eq!(histogram.max(), 100_000);
    }

    #[test]
    fn one_value_is_all_quantiles_and_none_is_nothing() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        histogram.record(777_777);
        assert_eq!(histogram.quantile(0.5), 777_777);
        assert_eq!(histogram.quantile(0.99), 777_777);
    }

    #[test]
    fn merged_histograms_are_one() {
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        (0..1_000).for_each(|_| left.record(10));
        (0..1_000).for_each(|_| right.record(1_000_000_000_000_000));
        left.merge(&right);
        assert_eq!(left.quantile(0.5), 10);
        assert_eq!(left.max(), 1_000_000_000_000_000);
    }
}
