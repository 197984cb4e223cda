//! Which thread this is, for what every thread has its own of.

use std::sync::atomic::{AtomicUsize, Ordering};

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// A small number of this thread's own.
pub fn number() -> usize {
    NUMBER.with(|number| *number)
}
