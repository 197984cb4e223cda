//! Load shedding by a worker thread's scheduling delay (`server.shed_after`).
//!
//! An overloaded worker runs its timers late. Each late tick raises the share of new calls that are refused
//! with 503, each punctual one lowers it, so that the rest is what the worker can do. A refusal costs next to
//! nothing.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const TICK: Duration = Duration::from_millis(50);
/// Calls over which the shed share is spread: `share` of every 16 are refused.
const CALLS_IN_A_ROUND: u32 = 16;
const RAISE_PER_LATE_TICK: u32 = 2;
const LOWER_PER_PUNCTUAL_TICK: u32 = 1;
/// Share that sheds nothing yet: one late tick may be one large body, two in a row are a queue.
const TOLERATED_SHARE: u32 = RAISE_PER_LATE_TICK;

thread_local! {
    static SHED_SHARE: Cell<u32> = const { Cell::new(0) };
    static CALL_NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// Measures this thread's delay for as long as it lives. A tick is late once it waited longer than
/// `max_delay`.
pub async fn measure(max_delay: Duration) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        let share = SHED_SHARE.get();
        SHED_SHARE.set(if due.elapsed() > max_delay {
            (share + RAISE_PER_LATE_TICK).min(CALLS_IN_A_ROUND)
        } else {
            share.saturating_sub(LOWER_PER_PUNCTUAL_TICK)
        });
    }
}

/// Whether this thread refuses the next call. Each call to it counts as one call.
pub(crate) fn sheds_next_call() -> bool {
    let share = SHED_SHARE.get();
    if share <= TOLERATED_SHARE {
        return false;
    }
    let number = CALL_NUMBER.get().wrapping_add(1);
    CALL_NUMBER.set(number);
    number % CALLS_IN_A_ROUND < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_thread_sheds_calls_until_it_has_caught_up() {
        let measuring = tokio::spawn(measure(Duration::from_millis(5)));
        tokio::task::yield_now().await;
        let shed = || (0..CALLS_IN_A_ROUND).filter(|_| sheds_next_call()).count() as u32;
        for ticks in 0..CALLS_IN_A_ROUND / RAISE_PER_LATE_TICK {
            let expected = if ticks < 2 {
                0
            } else {
                ticks * RAISE_PER_LATE_TICK
            };
            assert_eq!(shed(), expected);
            std::thread::sleep(TICK + Duration::from_millis(30));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(shed(), CALLS_IN_A_ROUND);
        while shed() > 0 {
            tokio::time::sleep(TICK / 5).await;
        }
        measuring.abort();
    }
}
