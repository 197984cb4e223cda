//! How late a worker is: whether what is ready waits too long for its turn.
//!
//! A worker with more to do than it can falls behind with everything, and a timer shows by how much.
//! New calls are then turned away, which is quick, until it has caught up.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const TICK: Duration = Duration::from_millis(50);
/// One late tick may be one large body; two in a row are a queue.
const LATE_TICKS: u32 = 2;

thread_local! {
    static LATE: Cell<u32> = const { Cell::new(0) };
}

/// Watches over this thread's worker for as long as it lives. Late is what waits longer than `bound`.
pub async fn watch(bound: Duration) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        let is_late = due.elapsed() > bound;
        LATE.set(if is_late { LATE.get() + 1 } else { 0 });
    }
}

/// This thread's worker has too much to do.
pub fn is_late() -> bool {
    LATE.get() >= LATE_TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_is_kept_busy_is_late_until_it_is_not() {
        let watching = tokio::spawn(watch(Duration::from_millis(5)));
        tokio::task::yield_now().await;
        for _ in 0..LATE_TICKS {
            assert!(!is_late());
            std::thread::sleep(TICK + Duration::from_millis(30));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(is_late());
        while is_late() {
            tokio::time::sleep(TICK / 5).await;
        }
        watching.abort();
    }
}
