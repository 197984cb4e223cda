//! Numbers the threads of the process, so that per-thread shards (counters, journal pages) can be indexed.

use std::sync::atomic::{AtomicUsize, Ordering};

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// Returns this thread's number: 0 for the first thread that asks, then 1, 2, ... It never changes.
pub fn number() -> usize {
    NUMBER.with(|number| *number)
}
