//! Limiter of the processor time that one key's refused calls take.
//!
//! A refusal costs its caller nothing, so a key could have bodies read and counted without end. Work is
//! measured in bytes that were read, weighed by what was done with them; each key has a leaky bucket of it on each
//! instance. Beyond its capacity calls are refused before their bodies are read.

use crate::proxy::error::GatewayError;
use crate::store::name::KeyName;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Work of a refused call beside its body: a lookup, an answer.
const CALL: u64 = 5_000;
/// Work of counting the tokens of a byte, in bytes that are read.
const COUNTED: u64 = 10;

/// A byte of JSON is read in about 10 ns: one core's 20th.
const LEAKS_PER_SECOND: u64 = 5_000_000;
/// A quarter of a second of one core at once.
const CAPACITY: u64 = 25_000_000;

/// Keys that are remembered. Beyond that all are forgotten: remembering must not cost more.
const MAX_REMEMBERED_KEYS: usize = 10_000;

/// What was done for a call before it was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub read_bytes: u64,
    pub counted_bytes: u64,
}

impl Work {
    fn weight(self) -> u64 {
        let counted = self.counted_bytes.saturating_mul(COUNTED);
        CALL.saturating_add(self.read_bytes).saturating_add(counted)
    }
}

#[derive(Default)]
pub struct Refusals {
    /// Some bucket may be over its capacity: as long as it is false, none has to be looked for.
    any: AtomicBool,
    buckets: Mutex<HashMap<KeyName, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    work: u64,
    at: Instant,
}

impl Bucket {
    /// The work that has not leaked by now.
    fn left(self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let leaked = u64::try_from(passed).map_or(u64::MAX, |millis| {
            millis.saturating_mul(LEAKS_PER_SECOND / 1_000)
        });
        self.work.saturating_sub(leaked)
    }
}

impl Refusals {
    /// Refuses a key whose bucket is full.
    pub fn check(&self, key: &KeyName, now: Instant) -> Result<(), GatewayError> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let left = self.buckets().get(key).map_or(0, |bucket| bucket.left(now));
        let over = left.saturating_sub(CAPACITY);
        if over == 0 {
            return Ok(());
        }
        let wait = Duration::from_millis(over.div_ceil(LEAKS_PER_SECOND / 1_000));
        Err(GatewayError::TooManyRefused { wait: wait.into() })
    }

    /// Another refused call.
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
            // Nobody has to wait for longer than it takes to empty a bucket.
            work: (bucket.left(now) + work.weight()).min(2 * CAPACITY),
            at: now,
        };
        if bucket.work > CAPACITY {
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets the buckets that are empty.
    pub fn sweep(&self, now: Instant) {
        let mut buckets = self.buckets();
        buckets.retain(|_, bucket| bucket.left(now) > 0);
        let any = buckets.values().any(|bucket| bucket.left(now) > CAPACITY);
        self.any.store(any, Ordering::Relaxed);
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<KeyName, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (refusals, now) = (Refusals::default(), Instant::now());
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
        let (refusals, now) = (Refusals::default(), Instant::now());
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
        let (refusals, now) = (Refusals::default(), Instant::now());
        for second in 0..60 {
            let now = now + Duration::from_secs(second);
            (0..500).for_each(|_| refusals.add(&key("temp_a"), Work::default(), now));
            assert!(refusals.check(&key("temp_a"), now).is_ok());
        }
    }

    #[test]
    fn remembering_has_a_bound_and_an_end() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for number in 0..MAX_REMEMBERED_KEYS + 10 {
            refusals.add(&key(&format!("temp_{number}")), Work::default(), now);
        }
        assert!(refusals.buckets().len() <= MAX_REMEMBERED_KEYS);

        refusals.sweep(now + Duration::from_secs(1));

        assert!(refusals.buckets().is_empty());
    }
}
