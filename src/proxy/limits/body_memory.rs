//! How many bytes of bodies are kept at one time, so that many large ones cannot take all memory together.
//!
//! Small bodies are not counted: their number is bounded, and counting them would cost every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What anyone may keep without asking.
pub const FREE: usize = 64 << 10;
/// Room is taken in steps, so that a body that arrives in pieces does not ask for each.
const STEP: usize = 64 << 10;

pub struct Room {
    most: usize,
    taken: AtomicUsize,
}

/// One request's part of the room, given back when it is dropped.
pub struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    pub fn new(most: u64) -> Arc<Room> {
        Arc::new(Room {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            taken: AtomicUsize::new(0),
        })
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn share(self: &Arc<Self>) -> Share {
        Share {
            room: self.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    /// False: there is no room for so many bytes in all, and what was kept stays as it was.
    #[must_use]
    pub fn keep(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes.max(FREE) {
            return true;
        }
        let more = bytes.div_ceil(STEP).saturating_mul(STEP) - self.bytes;
        let before = self.room.taken.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.room.most {
            self.room.taken.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_in_all_and_given_back() {
        let room = Room::new(1 << 20);
        let (mut one, mut other) = (room.share(), room.share());
        assert!(one.keep(FREE) && other.keep(FREE));
        assert_eq!(room.taken(), 0);
        assert!(one.keep(700 << 10));
        assert!(!other.keep(700 << 10));
        assert!(other.keep(200 << 10) && other.keep(100 << 10));
        assert_eq!(room.taken(), (704 + 256) << 10);
        drop(one);
        assert!(other.keep(700 << 10));
        drop(other);
        assert_eq!(room.taken(), 0);
    }
}
