//! Counts of one HTTP/2 connection's streams, and the rule that tells abuse (rapid reset) from use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Requests that a client may take back before they are answered, however many others it has.
const MAX_ABANDONED: usize = 200;

tokio::task_local! {
    static TALLY: Arc<Tally>;
}

/// Counts of a connection's streams.
#[derive(Default)]
pub struct Tally {
    open: AtomicUsize,
    answered: AtomicUsize,
    abandoned: AtomicUsize,
    rests: Notify,
}

/// One stream, for as long as its request lasts.
pub struct Open(Arc<Tally>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.rests.notify_one();
        }
    }
}

impl Tally {
    /// Runs what a stream does, so that it can note something of itself.
    pub async fn scope(self: Arc<Tally>, served: impl Future<Output = ()>) {
        TALLY.scope(self, served).await;
    }

    pub fn open(self: &Arc<Tally>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Most requests are taken back before they are answered, as nobody does who wants answers.
    pub fn is_abused(&self) -> bool {
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        abandoned > MAX_ABANDONED && abandoned * 2 > self.answered.load(Ordering::Relaxed)
    }

    /// Returns when no stream was open for so long.
    pub async fn rests(&self, time: Duration) {
        while self.count() > 0 {
            self.rests.notified().await;
        }
        tokio::time::sleep(time).await;
    }
}

/// Notes that the request at hand was taken back before it was answered.
pub fn note_abandoned() {
    // On HTTP/1.1 it ends its connection, which is enough.
    let _ = TALLY.try_with(|tally| tally.abandoned.fetch_add(1, Ordering::Relaxed));
}
