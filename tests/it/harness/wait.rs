//! Waiting for a condition: probe, pause, probe again, and give up at a deadline.
//!
//! This is the only place of the harness that sleeps while it waits; a test that slept for a fixed
//! time would be slow on a fast machine and wrong on a slow one.

use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What `probe` found, or a panic that names what was waited for.
#[track_caller]
pub fn eventually<T>(timeout: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    match within(timeout, probe) {
        Some(found) => found,
        None => panic!("waited {timeout:?} in vain: {what}"),
    }
}

/// What `probe` found before the time was up. It is asked at least once, and once more at the end.
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
