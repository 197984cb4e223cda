//! Counters and histograms whose state is sharded by thread: counting never waits, and threads contend for no
//! cache line.
//!
//! Clones share the count: one is held where something happens, another by the registry that prints it.

use crate::threads;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shards of a metric; with more threads than shards, some threads share one.
const SHARDS: usize = 16;

/// A metric whose clones share its state.
pub trait Shared: Clone {
    /// Whether there is a clone besides this one.
    fn is_shared(&self) -> bool;
}

fn shard<T>(shards: &[T; SHARDS]) -> &T {
    &shards[threads::number() % SHARDS]
}

#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<[CounterShard; SHARDS]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct CounterShard(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        shard(&self.0).0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        let shards = self.0.iter();
        shards.map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }
}

impl Shared for Counter {
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl TypedMetric for Counter {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Counter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.value(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Bucket bounds in microseconds for the gateway's own work.
const OWN_WORK: &[u64] = &[
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000,
];
/// Bucket bounds in microseconds for commands to the store. Redis counts as late above 500 ms.
pub const STORE_WORK: &[u64] = &[
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000,
];
/// Bucket bounds in microseconds for the first byte of a provider's answer: models think for minutes.
pub(super) const FIRST_BYTE: &[u64] = &[
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Buckets of a histogram, at most, with the one above its largest bound.
const MAX_BUCKETS: usize = 15;

/// Histogram of durations with fixed bucket bounds.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    shards: Arc<[HistogramShard; SHARDS]>,
}

/// Two cache lines: the buckets, and the sum of all durations.
#[derive(Debug, Default)]
#[repr(align(64))]
struct HistogramShard {
    buckets: [AtomicU64; MAX_BUCKETS],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// `bounds`: upper bounds of the buckets in microseconds, at most `MAX_BUCKETS - 1`.
    pub fn new(bounds: &'static [u64]) -> Histogram {
        Histogram {
            bounds: &bounds[..bounds.len().min(MAX_BUCKETS - 1)],
            shards: Arc::default(),
        }
    }

    /// Lines of one histogram in the text format.
    pub const fn lines(bounds: &[u64]) -> usize {
        bounds.len() + 3
    }

    /// Records the time until the returned value is dropped.
    pub fn start(&self) -> Running<'_> {
        Running {
            histogram: self,
            begun: Instant::now(),
        }
    }

    /// Records one duration.
    pub fn record(&self, span: Duration) {
        let micros = u64::try_from(span.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        let at = self.bounds.partition_point(|bound| *bound < micros);
        let shard = shard(&self.shards);
        shard.buckets[at].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        shard.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// A duration that has begun; dropping it records it.
pub struct Running<'a> {
    histogram: &'a Histogram,
    begun: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.begun.elapsed());
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new(OWN_WORK)
    }
}

impl Shared for Histogram {
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.shards) > 1
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let sum = |part: &dyn Fn(&HistogramShard) -> &AtomicU64| -> u64 {
            let shards = self.shards.iter();
            shards
                .map(|shard| part(shard).load(Ordering::Relaxed))
                .sum()
        };
        let bound = |at: usize| {
            let bound = self.bounds.get(at);
            bound.map_or(f64::INFINITY, |bound| *bound as f64 / 1e6)
        };
        let buckets: Vec<(f64, u64)> = (0..=self.bounds.len())
            .map(|at| (bound(at), sum(&|shard| &shard.buckets[at])))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = sum(&|shard| &shard.nanoseconds) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_are_one_count() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..100).for_each(|_| counter.clone().add(1)));
            }
        });
        assert_eq!(counter.value(), 200 * SHARDS as u64);
    }

    #[test]
    fn every_set_of_bounds_rises_and_fits() {
        for bounds in [OWN_WORK, STORE_WORK, FIRST_BYTE] {
            assert!(bounds.is_sorted() && bounds.len() < MAX_BUCKETS);
        }
    }
}
