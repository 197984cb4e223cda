//! Limiter of the bytes of bodies that are in memory at one time (`server.max_buffered`).
//!
//! Bodies up to [`FREE_BYTES`] are not counted: the number of requests bounds them, and counting would cost
//! every one.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a request may buffer without a [`Reservation`].
pub(crate) const FREE_BYTES: usize = 64 << 10;
/// Granularity of a [`Reservation`], so that a body that arrives in pieces does not update the counter for
/// each.
const STEP_BYTES: usize = 64 << 10;

pub struct BodyMemory {
    max_bytes: usize,
    reserved: AtomicUsize,
}

/// Bytes of [`BodyMemory`] that one request has reserved; dropping it returns them.
pub(crate) struct Reservation<'a> {
    memory: &'a BodyMemory,
    bytes: usize,
}

impl BodyMemory {
    pub fn new(max_bytes: u64) -> BodyMemory {
        BodyMemory {
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            reserved: AtomicUsize::new(0),
        }
    }

    pub(crate) fn reserved_bytes(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// An empty reservation, which costs nothing until it grows beyond [`FREE_BYTES`].
    pub(crate) fn reservation(&self) -> Reservation<'_> {
        Reservation {
            memory: self,
            bytes: 0,
        }
    }
}

impl Reservation<'_> {
    /// Grows the reservation to `bytes` in all. False: they do not fit, and the reservation stays as it was.
    #[must_use]
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        self.grow_within(bytes, self.memory.max_bytes)
    }

    /// Grows the reservation to `bytes` in all, for what can be done without: half of the memory stays for the rest.
    #[must_use]
    pub(crate) fn grow_to_spare(&mut self, bytes: usize) -> bool {
        self.grow_within(bytes, self.memory.max_bytes / 2)
    }

    fn grow_within(&mut self, bytes: usize, max_bytes: usize) -> bool {
        if bytes <= self.bytes.max(FREE_BYTES) {
            return true;
        }
        let more = bytes.div_ceil(STEP_BYTES).saturating_mul(STEP_BYTES) - self.bytes;
        let before = self.memory.reserved.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > max_bytes {
            self.memory.reserved.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Reservation<'_> {
    /// Returns what is reserved, before the request is over.
    pub fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 {
            self.memory.reserved.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_count_together_and_return_what_they_took() {
        let memory = BodyMemory::new(1 << 20);
        let (mut one, mut other) = (memory.reservation(), memory.reservation());
        assert!(one.grow_to(FREE_BYTES) && other.grow_to(FREE_BYTES));
        assert_eq!(memory.reserved_bytes(), 0);
        assert!(one.grow_to(700 << 10));
        assert!(!other.grow_to(700 << 10));
        assert!(other.grow_to(200 << 10) && other.grow_to(100 << 10));
        assert_eq!(memory.reserved_bytes(), (704 + 256) << 10);
        drop(one);
        assert!(other.grow_to(700 << 10));
        drop(other);
        assert_eq!(memory.reserved_bytes(), 0);
    }
}
