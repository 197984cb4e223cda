//! Who keeps coming with keys and tokens that nobody has.
//!
//! Guessing a key is hopeless; asking the store about each guess is a way to keep it busy. After so many
//! wrong ones within a minute an address is refused before anything is looked up. Each gateway counts for
//! itself, and forgets.

use crate::rules::neighbours::neighbourhood;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that are remembered. Beyond that all are forgotten: remembering must not cost more.
const REMEMBERED: usize = 100_000;

pub struct Strangers {
    most: u64,
    /// Somebody may have to be refused: as long as it is false, nobody has to be looked for.
    any: AtomicBool,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

struct Failures {
    since: Instant,
    count: u64,
}

impl Strangers {
    /// `most`: wrong keys that an address may send within a minute.
    pub fn new(most: u64) -> Strangers {
        Strangers {
            most,
            any: AtomicBool::new(false),
            failures: Mutex::default(),
        }
    }

    pub fn may_be_here(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// How long an address has to stay away.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.failures();
        let known = failures.get(&neighbourhood(address))?;
        let rest = MINUTE.saturating_sub(now.duration_since(known.since));
        (known.count >= self.most && !rest.is_zero()).then_some(rest)
    }

    /// Another wrong one.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures();
        let is_over = |known: &Failures| now.duration_since(known.since) >= MINUTE;
        if failures.len() >= REMEMBERED {
            failures.retain(|_, known| !is_over(known));
            if failures.len() >= REMEMBERED {
                failures.clear();
            }
        }
        let fresh = || Failures {
            since: now,
            count: 0,
        };
        let known = failures.entry(neighbourhood(address)).or_insert_with(fresh);
        if is_over(known) {
            *known = fresh();
        }
        known.count += 1;
        if known.count >= self.most {
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets what is over.
    pub fn sweep(&self, now: Instant) {
        let mut failures = self.failures();
        failures.retain(|_, known| now.duration_since(known.since) < MINUTE);
        let any = failures.values().any(|known| known.count >= self.most);
        self.any.store(any, Ordering::Relaxed);
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_stays_away_for_the_rest_of_the_minute() {
        let strangers = Strangers::new(3);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..3 {
            assert_eq!(strangers.wait(one, at(second)), None);
            assert!(!strangers.may_be_here());
            strangers.failed(one, at(second));
        }
        assert!(strangers.may_be_here());
        assert_eq!(strangers.wait(one, at(20)), Some(Duration::from_secs(40)));
        assert_eq!(strangers.wait(other, at(20)), None);
        assert_eq!(strangers.wait(one, at(60)), None);
        strangers.sweep(at(59));
        assert!(strangers.may_be_here());
        strangers.sweep(at(60));
        assert!(!strangers.may_be_here() && strangers.failures().is_empty());
    }

    #[test]
    fn remembering_has_a_bound() {
        let strangers = Strangers::new(1);
        let now = Instant::now();
        for number in 0..u32::try_from(REMEMBERED).unwrap() + 10 {
            strangers.failed(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(strangers.failures().len() <= REMEMBERED);
    }
}
