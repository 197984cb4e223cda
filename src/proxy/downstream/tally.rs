//! Counts the streams of one HTTP/2 connection, and detects abuse by cancelled requests (rapid reset).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Requests of a connection that may be cancelled before their response, whatever their share of all
/// requests.
const MAX_ABANDONED: usize = 200;

tokio::task_local! {
    static TALLY: Arc<Tally>;
}

/// Stream counts of a connection, and a signal when the last stream ends.
#[derive(Default)]
pub struct Tally {
    /// Streams whose requests are running.
    open: AtomicUsize,
    /// Streams that have ended, cancelled ones included.
    answered: AtomicUsize,
    /// Requests that the client cancelled before their response.
    abandoned: AtomicUsize,
    rests: Notify,
}

/// Guard of an open stream: dropping it counts the stream out.
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
    /// Runs a stream's request with this tally in reach of [`note_abandoned`].
    pub async fn scope(self: Arc<Tally>, served: impl Future<Output = ()>) {
        TALLY.scope(self, served).await;
    }

    /// Counts a stream in.
    pub fn open(self: &Arc<Tally>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Returns the number of open streams.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the client cancels most of its requests before their response: over 200, and over half of all
    /// that ended.
    pub fn is_abused(&self) -> bool {
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        abandoned > MAX_ABANDONED && abandoned * 2 > self.answered.load(Ordering::Relaxed)
    }

    /// Resolves `time` after the last open stream has ended.
    pub async fn rests(&self, time: Duration) {
        while self.count() > 0 {
            self.rests.notified().await;
        }
        tokio::time::sleep(time).await;
    }
}

/// Counts the current request as cancelled before its response.
pub fn note_abandoned() {
    // Fails outside of HTTP/2, where there is no `TALLY`: on HTTP/1.1 a cancelled request ends its connection
    // anyway.
    let _ = TALLY.try_with(|tally| tally.abandoned.fetch_add(1, Ordering::Relaxed));
}
