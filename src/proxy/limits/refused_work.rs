//! Limiter of the processor time that one key's refused calls take.
//!
//! A refused call costs its caller no tokens, so a key could have bodies read and counted without end. Work
//! is measured in bytes read, weighted by what was done with them. Each key has a leaky bucket of it on each
//! instance; while that is over its capacity, its calls get 429 `too_many_refused` before their bodies are
//! read.

use crate::proxy::error::GatewayError;
use crate::store::name::KeyName;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::{Duration, Instant};

/// Weight of a refused call without its body: a lookup and a reply.
const WEIGHT_PER_CALL: u64 = 5_000;
/// Weight of a byte whose tokens were counted; a byte that was only read weighs 1.
const WEIGHT_PER_COUNTED_BYTE: u64 = 10;

/// Leak rate: a byte of JSON is read in about 10 ns, so this is a 20th of one core.
const LEAK_PER_SECOND: u64 = 5_000_000;
/// Burst that is allowed: a quarter of a second of one core.
const CAPACITY: u64 = 25_000_000;

/// Keys counted at a time. When they are full and none is empty, all are forgotten: memory stays bounded.
const MAX_REMEMBERED_KEYS: usize = 10_000;

/// Work that was done for a call before it was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub read_bytes: u64,
    pub counted_bytes: u64,
}

impl Work {
    fn weight(self) -> u64 {
        let counted = self.counted_bytes.saturating_mul(WEIGHT_PER_COUNTED_BYTE);
        WEIGHT_PER_CALL
            .saturating_add(self.read_bytes)
            .saturating_add(counted)
    }
}

#[derive(Default)]
pub struct RefusedWork {
    /// Whether any bucket is over its capacity: as long as it is false, no call takes the lock.
    any_full: AtomicBool,
    buckets: Mutex<HashMap<KeyName, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    work: u64,
    at: Instant,
}

impl Bucket {
    /// Work in the bucket at `now`.
    fn left(self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let leaked = u64::try_from(passed).map_or(u64::MAX, |millis| {
            millis.saturating_mul(LEAK_PER_SECOND / 1_000)
        });
        self.work.saturating_sub(leaked)
    }
}

impl RefusedWork {
    /// Refuses a key whose bucket is over its capacity.
    pub fn check(&self, key: &KeyName, now: Instant) -> Result<(), GatewayError> {
        if !self.any_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        let left = self.buckets().get(key).map_or(0, |bucket| bucket.left(now));
        let over = left.saturating_sub(CAPACITY);
        if over == 0 {
            return Ok(());
        }
        let wait = Duration::from_millis(over.div_ceil(LEAK_PER_SECOND / 1_000));
        Err(GatewayError::TooManyRefused { wait: wait.into() })
    }

    /// Adds the work of a refused call.
    pub fn add(&self, key: &KeyName, work: Work, now: Instant) {
        let mut buckets = self.buckets();
        if buckets.len() >= MAX_REMEMBERED_KEYS && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| bucket.left(now) > 0);
            if buckets.len() >= MAX_REMEMBERED_KEYS {
                buckets.clear();
            }
        }
        let empty = Bucket { work: 0, at: now };
        let bucket = buckets.entry(key.clone()).or_insert(empty);
        *bucket = Bucket {
            // Bounds the wait to the time in which a full bucket empties.
            work: (bucket.left(now) + work.weight()).min(2 * CAPACITY),
            at: now,
        };
        if bucket.work > CAPACITY {
            self.any_full.store(true, Ordering::Relaxed);
        }
    }

    /// Removes empty buckets.
    pub fn sweep(&self, now: Instant) {
        let mut buckets = self.buckets();
        buckets.retain(|_, bucket| bucket.left(now) > 0);
        let any = buckets.values().any(|bucket| bucket.left(now) > CAPACITY);
        self.any_full.store(any, Ordering::Relaxed);
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<KeyName, Bucket>> {
        self.buckets.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> KeyName {
        KeyName::parse(name).unwrap()
    }

    #[test]
    fn a_full_bucket_refuses_until_it_has_leaked() {
        let (refusals, now) = (RefusedWork::default(), Instant::now());
        let work = Work {
            read_bytes: 250_000,
            counted_bytes: 250_000,
        };
        let calls = (0..100)
            .take_while(|_| {
                refusals.add(&key("temp_a"), work, now);
                refusals.check(&key("temp_a"), now).is_ok()
            })
            .count();

        assert_eq!(calls, 9);
        assert!(refusals.check(&key("temp_b"), now).is_ok());
        let later = now + Duration::from_secs(1);
        assert!(refusals.check(&key("temp_a"), later).is_ok());
    }

    #[test]
    fn no_wait_is_longer_than_a_bucket_takes_to_empty() {
        let (refusals, now) = (RefusedWork::default(), Instant::now());
        let work = Work {
            read_bytes: u64::MAX,
            counted_bytes: u64::MAX,
        };
        refusals.add(&key("temp_a"), work, now);

        let later = now + Duration::from_secs(5);

        assert!(refusals.check(&key("temp_a"), now).is_err());
        assert!(refusals.check(&key("temp_a"), later).is_ok());
    }

    #[test]
    fn small_refusals_never_add_up() {
        let (refusals, now) = (RefusedWork::default(), Instant::now());
        for second in 0..60 {
            let now = now + Duration::from_secs(second);
            (0..500).for_each(|_| refusals.add(&key("temp_a"), Work::default(), now));
            assert!(refusals.check(&key("temp_a"), now).is_ok());
        }
    }

    #[test]
    fn counted_keys_are_bounded_and_forgotten() {
        let (refusals, now) = (RefusedWork::default(), Instant::now());
        for number in 0..MAX_REMEMBERED_KEYS + 10 {
            refusals.add(&key(&format!("temp_{number}")), Work::default(), now);
        }
        assert!(refusals.buckets().len() <= MAX_REMEMBERED_KEYS);

        refusals.sweep(now + Duration::from_secs(1));

        assert!(refusals.buckets().is_empty());
    }
}
