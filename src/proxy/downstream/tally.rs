//! Counts the streams of one HTTP/2 connection, and detects abuse by cancelled requests (rapid reset).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Requests of a connection that may be cancelled before their response, whatever their share of all
/// requests.
const MAX_CANCELLED_REQUESTS: usize = 200;

tokio::task_local! {
    static TALLY: Arc<StreamTally>;
}

/// Stream counts of a connection, and a signal when the last stream ends.
#[derive(Default)]
pub(crate) struct StreamTally {
    /// Streams whose requests are running.
    open: AtomicUsize,
    /// Streams that have ended, cancelled ones included.
    answered: AtomicUsize,
    /// Requests that the client cancelled before their response.
    cancelled: AtomicUsize,
    idle_for: Notify,
}

/// Guard of an open stream: dropping it counts the stream out.
pub(crate) struct OpenStream(Arc<StreamTally>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle_for.notify_one();
        }
    }
}

impl StreamTally {
    /// Runs a stream's request with this tally in reach of [`record_cancelled`].
    pub async fn scope(self: Arc<StreamTally>, served: impl Future<Output = ()>) {
        TALLY.scope(self, served).await;
    }

    /// Counts a stream in.
    pub fn open(self: &Arc<StreamTally>) -> OpenStream {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.clone())
    }

    /// Returns the number of open streams.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the client cancels most of its requests before their response: over 200, and over half of all
    /// that ended.
    pub(crate) fn is_abused(&self) -> bool {
        let cancelled = self.cancelled.load(Ordering::Relaxed);
        cancelled > MAX_CANCELLED_REQUESTS && cancelled * 2 > self.answered.load(Ordering::Relaxed)
    }

    /// Resolves `time` after the last open stream has ended.
    pub(crate) async fn idle_for(&self, time: Duration) {
        while self.count() > 0 {
            self.idle_for.notified().await;
        }
        tokio::time::sleep(time).await;
    }
}

/// Counts the current request as cancelled before its response.
pub(crate) fn record_cancelled() {
    // Fails outside of HTTP/2, where there is no `TALLY`: on HTTP/1.1 a cancelled request ends its connection
    // anyway.
    let _ = TALLY.try_with(|tally| tally.cancelled.fetch_add(1, Ordering::Relaxed));
}
