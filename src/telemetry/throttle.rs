//! Lets one log line of a kind pass in a second, and counts those that it leaves out: an outage must not flood
//! the log.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Interval between two lines of a kind, in milliseconds.
const INTERVAL: u64 = 1_000;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One kind of log line.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Time of the latest line, in milliseconds since `STARTED`, plus 1. 0: there was none.
    latest: AtomicU64,
    left_out: AtomicU64,
}

impl Throttle {
    pub const fn new() -> Throttle {
        Throttle {
            latest: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Returns the number of lines left out since the latest one. `None`: this one is left out too.
    pub fn pass(&self) -> Option<u64> {
        let now = u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.pass_at(now)
    }

    fn pass_at(&self, now: u64) -> Option<u64> {
        let latest = self.latest.load(Ordering::Relaxed);
        let is_due = latest == 0 || now + 1 >= latest + INTERVAL;
        // Of several threads whose line is due, one writes it.
        let relaxed = Ordering::Relaxed;
        let swapped = is_due.then(|| {
            self.latest
                .compare_exchange(latest, now + 1, relaxed, relaxed)
        });
        if matches!(swapped, Some(Ok(_))) {
            return Some(self.left_out.swap(0, relaxed));
        }
        self.left_out.fetch_add(1, relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_says_how_many_did_not() {
        let kind = Throttle::new();
        assert_eq!(kind.pass_at(5), Some(0));
        assert_eq!(kind.pass_at(6), None);
        assert_eq!(kind.pass_at(5 + INTERVAL - 1), None);
        assert_eq!(kind.pass_at(5 + INTERVAL), Some(2));
        assert_eq!(kind.pass_at(5 + 9 * INTERVAL), Some(0));
    }
}
