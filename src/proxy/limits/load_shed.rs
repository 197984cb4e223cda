//! How late a worker is: whether what is ready waits too long for its turn.
//!
//! A worker with more to do than it can falls behind with everything, and a timer shows by how much.
//! A part of the new calls is then turned away, which is quick: more of them with every tick that is
//! late, fewer with every one that is not, so that the rest is just what the worker can do.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const TICK: Duration = Duration::from_millis(50);
/// Of so many calls.
const ALL: u32 = 16;
const MORE: u32 = 2;
const LESS: u32 = 1;
/// One late tick may be one large body; two in a row are a queue.
const FORGIVEN: u32 = MORE;

thread_local! {
    static TURNED_AWAY: Cell<u32> = const { Cell::new(0) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Watches over this thread's worker for as long as it lives. Late is what waits longer than `bound`.
pub async fn watch(bound: Duration) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        let share = TURNED_AWAY.get();
        TURNED_AWAY.set(if due.elapsed() > bound {
            (share + MORE).min(ALL)
        } else {
            share.saturating_sub(LESS)
        });
    }
}

/// This thread's worker has too much to do for one more call.
pub fn is_too_late() -> bool {
    let share = TURNED_AWAY.get();
    if share <= FORGIVEN {
        return false;
    }
    let number = CALLS.get().wrapping_add(1);
    CALLS.set(number);
    number % ALL < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_is_kept_busy_turns_calls_away_until_it_has_caught_up() {
        let watching = tokio::spawn(watch(Duration::from_millis(5)));
        tokio::task::yield_now().await;
        let turned_away = || (0..ALL).filter(|_| is_too_late()).count() as u32;
        for ticks in 0..ALL / MORE {
            let expected = if ticks < 2 { 0 } else { ticks * MORE };
            assert_eq!(turned_away(), expected);
            std::thread::sleep(TICK + Duration::from_millis(30));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(turned_away(), ALL);
        while turned_away() > 0 {
            tokio::time::sleep(TICK / 5).await;
        }
        watching.abort();
    }
}
