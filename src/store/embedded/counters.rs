//! Event counters by name, in memory only: a restart may reset the limits they enforce.
//!
//! Unauthenticated clients choose the names, so their number must be bounded. Names with the fewest events
//! are evicted: those that many addresses leave behind, and not the limits above them.

use crate::rules::amount::Millis;
use crate::rules::window::{Slices, Window};
use crate::store::{Counted, name};
use std::collections::HashMap;

/// Maximum number of counters before some are evicted.
const MAX_COUNTERS: usize = 100_000;

#[derive(Default)]
pub struct Counters(HashMap<String, Slices>);

impl Counters {
    /// Counts one event under each name if every window has space, else under none.
    pub fn count(&mut self, what: &str, bounds: &[(&str, Window)], now: Millis) -> Counted {
        let named = |name: &str| name::counter(what, name);
        let waits = bounds.iter().filter_map(|(name, window)| {
            let none = Slices::default();
            let slices = self.0.get(&named(name)).unwrap_or(&none);
            (slices.room(*window, now) == 0).then(|| slices.wait(*window, now))
        });
        if let Some(wait) = waits.max() {
            return Counted::Limited { wait };
        }
        if let Some((_, window)) = bounds.first()
            && self.0.len() + bounds.len() > MAX_COUNTERS
        {
            self.forget(*window, now);
        }
        for (name, window) in bounds {
            let slices = self.0.entry(named(name)).or_default();
            slices.count(*window, 1, now);
        }
        Counted::Passed
    }

    /// Evicts at least the half with the fewest events in `window`.
    fn forget(&mut self, window: Window, now: Millis) {
        let used = |slices: &Slices| slices.used(window, now);
        let mut all: Vec<u64> = self.0.values().map(used).collect();
        let middle = all.len() / 2;
        let (_, &mut middle, _) = all.select_nth_unstable(middle);
        self.0.retain(|_, slices| used(slices) > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(requests: u64) -> Window {
        Window {
            requests,
            span: Millis(60_000),
        }
    }

    #[test]
    fn however_many_names_there_are_the_bound_above_them_holds() {
        const ALL: u64 = 2 * MAX_COUNTERS as u64;
        let mut counters = Counters::default();
        let now = Millis(1_000_000);
        let mut count = |name: &str| {
            let bounds = [(name, window(1)), ("all", window(ALL))];
            let counted = counters.count("mint", &bounds, now);
            assert!(counters.0.len() <= MAX_COUNTERS);
            counted
        };
        for number in 0..ALL {
            assert_eq!(count(&number.to_string()), Counted::Passed);
        }
        assert!(matches!(count("another"), Counted::Limited { .. }));
    }
}
