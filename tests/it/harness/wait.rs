//! Polls a condition until a deadline.
//!
//! The only place of the harness that sleeps while it waits: fixed sleeps are slow on fast machines and too
//! short on slow ones.

use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Result of `probe`, or a panic with `what` after the timeout.
#[track_caller]
pub fn eventually<T>(timeout: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    match within(timeout, probe) {
        Some(found) => found,
        None => panic!("waited {timeout:?} in vain: {what}"),
    }
}

/// Result of `probe` before the timeout. It runs at least once, and once more at the end.
pub fn within<T>(timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let late = Instant::now() >= deadline;
        let found = probe();
        if found.is_some() || late {
            return found;
        }
        thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
