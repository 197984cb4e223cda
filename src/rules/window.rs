//! The rate limit: requests counted per [`Window`], and whether one more may pass.
//!
//! Requests are counted in slices of a tenth of the window. One more may pass while the slices that the last
//! window touches, the partly old one included, hold fewer than the limit.
//! Therefore no window, wherever it begins, ever holds one request too many. The price: a request is admitted
//! up to one slice late.

use super::amount::Millis;
use super::refill::Refill;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of slices in a window.
const SLICES_PER_WINDOW: u64 = 10;

/// Limits of each account of a group. `None`, the default, is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub window: Option<Window>,
    /// Highest number of requests in flight; `max_concurrent` in a tenant config.
    pub concurrent: Option<u64>,
    /// Balance that a new period begins with at least; `refill` in a tenant config.
    pub refill: Option<Refill>,
}

/// Rate limit: at most `requests` in any period of `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub requests: u64,
    pub span: Millis,
}

impl Window {
    /// Returns the length of a slice in milliseconds.
    pub fn slice(self) -> u64 {
        (self.span.0 / SLICES_PER_WINDOW).max(1)
    }

    /// Returns the end of the slice that `now` falls into. Slices are keyed by their ends: an end tells
    /// whether a window still touches the slice even after the tenant has changed the window's length.
    pub(crate) fn slice_end(self, now: Millis) -> Millis {
        Millis((now.0 / self.slice() + 1) * self.slice())
    }
}

/// State of a window for the `x-ratelimit-*-requests` headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    pub limit: u64,
    pub remaining: u64,
    /// Time until the whole `limit` is available again.
    pub reset: Millis,
}

/// Request counts, keyed by the end of their slice in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slices(BTreeMap<u64, u64>);

impl Slices {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the slices that the window ending at `now` touches, oldest first.
    fn touched(&self, window: Window, now: Millis) -> impl Iterator<Item = (u64, u64)> + '_ {
        let oldest = now.minus(window.span).0;
        self.0
            .range(oldest + 1..)
            .map(|(end, count)| (*end, *count))
    }

    /// Returns the number of requests counted in the window.
    pub fn used(&self, window: Window, now: Millis) -> u64 {
        self.touched(window, now).map(|(_, count)| count).sum()
    }

    /// Returns the number of requests that may still pass in the window.
    pub fn room(&self, window: Window, now: Millis) -> u64 {
        window.requests.saturating_sub(self.used(window, now))
    }

    /// Counts `requests` at `now` and drops slices that no window touches any more.
    pub fn count(&mut self, window: Window, requests: u64, now: Millis) {
        let oldest = now.minus(window.span).0;
        self.0.retain(|end, _| *end > oldest);
        if requests > 0 {
            *self.0.entry(window.slice_end(now).0).or_default() += requests;
        }
    }

    /// Returns the time until one more request may pass, provided that no other is counted meanwhile. Zero:
    /// it may pass now.
    pub fn wait(&self, window: Window, now: Millis) -> Millis {
        let mut used = self.used(window, now);
        for (end, count) in self.touched(window, now) {
            if used < window.requests {
                break;
            }
            used -= count;
            if used < window.requests {
                return Millis(end).plus(window.span).minus(now);
            }
        }
        // The counted requests do not fill the window: either one more may pass, or the limit is zero.
        if window.requests > 0 {
            Millis(0)
        } else {
            window.span
        }
    }

    pub fn pace(&self, window: Window, now: Millis) -> Pace {
        let newest = self.touched(window, now).last();
        Pace {
            limit: window.requests,
            remaining: self.room(window, now),
            reset: newest.map_or(Millis(0), |(end, _)| {
                Millis(end).plus(window.span).minus(now)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_ever_holds_one_request_too_many(
            limit in 0u64..6,
            span in 1u64..500,
            steps in proptest::collection::vec(0u64..60, 1..200),
        ) {
            let window = Window { requests: limit, span: Millis(span) };
            let mut slices = Slices::default();
            let mut now = Millis(1_000_000);
            let mut passed: Vec<u64> = Vec::new();
            for step in steps {
                now = now.plus(Millis(step));
                if slices.room(window, now) > 0 {
                    slices.count(window, 1, now);
                    passed.push(now.0);
                }
            }
            for start in &passed {
                let inside = passed.iter().filter(|at| (*start..start + span).contains(at)).count();
                prop_assert!(inside as u64 <= limit);
            }
        }

        #[test]
        fn the_wait_is_true_and_not_longer_than_needed(
            limit in 1u64..6,
            span in 10u64..500,
            steps in proptest::collection::vec(0u64..60, 1..60),
        ) {
            let window = Window { requests: limit, span: Millis(span) };
            let mut slices = Slices::default();
            let mut now = Millis(1_000_000);
            for step in steps {
                now = now.plus(Millis(step));
                let wait = slices.wait(window, now);
                prop_assert_eq!(wait.0 == 0, slices.room(window, now) > 0);
                if wait.0 > 0 {
                    prop_assert_eq!(slices.room(window, now.plus(wait).minus(Millis(1))), 0);
                    prop_assert!(slices.room(window, now.plus(wait)) > 0);
                } else {
                    slices.count(window, 1, now);
                }
            }
        }
    }

    #[test]
    fn a_limit_of_nought_lets_nothing_through() {
        let window = Window {
            requests: 0,
            span: Millis(60_000),
        };
        let slices = Slices::default();
        assert_eq!(slices.room(window, Millis(5)), 0);
        assert_eq!(slices.wait(window, Millis(5)), Millis(60_000));
    }
}
