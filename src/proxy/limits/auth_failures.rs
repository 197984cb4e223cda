//! Limiter of failed authentications by client address (`accounts.failures_per_address`).
//!
//! Guessing a key is hopeless, but each guess is a lookup in the store. After the limit within a minute an
//! address gets 429 before anything is looked up. Each instance counts for itself, in memory.

use crate::rules::neighbours::neighbourhood;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses counted at a time. When they are full and none has expired, all are forgotten: memory stays
/// bounded.
const MAX_REMEMBERED_ADDRESSES: usize = 100_000;

pub struct AuthFailures {
    max_failures: u64,
    /// Whether any address is blocked: as long as it is false, no request takes the lock.
    any_blocked: AtomicBool,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

struct Failures {
    since: Instant,
    count: u64,
}

impl AuthFailures {
    /// `max_failures`: failed keys of an address within a minute.
    pub fn new(max_failures: u64) -> AuthFailures {
        AuthFailures {
            max_failures,
            any_blocked: AtomicBool::new(false),
            failures: Mutex::default(),
        }
    }

    /// Whether [`AuthFailures::blocked_for`] could return anything at all.
    pub(crate) fn may_block(&self) -> bool {
        self.any_blocked.load(Ordering::Relaxed)
    }

    /// Time until an address may try again. `None`: it is not blocked.
    pub(crate) fn blocked_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.failures();
        let known = failures.get(&neighbourhood(address))?;
        let rest = MINUTE.saturating_sub(now.duration_since(known.since));
        (known.count >= self.max_failures && !rest.is_zero()).then_some(rest)
    }

    /// Counts a failed authentication of an address.
    pub fn record(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures();
        let is_over = |known: &Failures| now.duration_since(known.since) >= MINUTE;
        if failures.len() >= MAX_REMEMBERED_ADDRESSES {
            failures.retain(|_, known| !is_over(known));
            if failures.len() >= MAX_REMEMBERED_ADDRESSES {
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
        if known.count >= self.max_failures {
            self.any_blocked.store(true, Ordering::Relaxed);
        }
    }

    /// Removes expired counts, and updates `any_blocked`.
    pub fn sweep(&self, now: Instant) {
        let mut failures = self.failures();
        failures.retain(|_, known| now.duration_since(known.since) < MINUTE);
        let any = failures
            .values()
            .any(|known| known.count >= self.max_failures);
        self.any_blocked.store(any, Ordering::Relaxed);
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.failures.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_address_is_blocked_for_the_rest_of_the_minute() {
        let auth_failures = AuthFailures::new(3);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..3 {
            assert_eq!(auth_failures.blocked_for(one, at(second)), None);
            assert!(!auth_failures.may_block());
            auth_failures.record(one, at(second));
        }
        assert!(auth_failures.may_block());
        assert_eq!(
            auth_failures.blocked_for(one, at(20)),
            Some(Duration::from_secs(40))
        );
        assert_eq!(auth_failures.blocked_for(other, at(20)), None);
        assert_eq!(auth_failures.blocked_for(one, at(60)), None);
        auth_failures.sweep(at(59));
        assert!(auth_failures.may_block());
        auth_failures.sweep(at(60));
        assert!(!auth_failures.may_block() && auth_failures.failures().is_empty());
    }

    #[test]
    fn counted_addresses_are_bounded() {
        let auth_failures = AuthFailures::new(1);
        let now = Instant::now();
        for number in 0..u32::try_from(MAX_REMEMBERED_ADDRESSES).unwrap() + 10 {
            auth_failures.record(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(auth_failures.failures().len() <= MAX_REMEMBERED_ADDRESSES);
    }
}
