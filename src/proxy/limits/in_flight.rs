//! Counts requests and settlements in flight, and carries the two signals that end them: drain, then cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

pub struct InFlight {
    count: AtomicUsize,
    ended: Notify,
    /// Drain: connections close after their current request.
    draining: Arc<AtomicBool>,
    /// Cut: requests in flight end now.
    cut: watch::Sender<bool>,
}

/// A request or settlement in flight; dropping it counts it out.
pub(crate) struct OwnedGuard(Arc<InFlight>);

/// An [`OwnedGuard`] that borrows its counter: no reference count is touched.
pub(crate) struct Guard<'a>(&'a InFlight);

/// A call of one tenant in flight; dropping it counts it out.
pub(crate) struct TenantGuard<'a>(&'a AtomicUsize);

impl<'a> TenantGuard<'a> {
    /// `None`: `max` calls of the tenant are in flight already.
    pub fn enter(in_flight: &'a AtomicUsize, max: usize) -> Option<TenantGuard<'a>> {
        // Dropped at once, and so counted out again, where it is one too many.
        let guard = TenantGuard(in_flight);
        (in_flight.fetch_add(1, Ordering::Relaxed) < max).then_some(guard)
    }
}

impl Drop for TenantGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OwnedGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl InFlight {
    pub fn new(draining: Arc<AtomicBool>) -> Arc<InFlight> {
        Arc::new(InFlight {
            count: AtomicUsize::new(0),
            ended: Notify::new(),
            draining,
            cut: watch::Sender::new(false),
        })
    }

    pub(crate) fn enter_owned(self: &Arc<Self>) -> OwnedGuard {
        self.count.fetch_add(1, Ordering::AcqRel);
        OwnedGuard(self.clone())
    }

    pub(crate) fn enter(&self) -> Guard<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        Guard(self)
    }

    fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_waiters();
        }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Returns once requests in flight must end (after `server.drain_timeout`).
    pub async fn is_cut(&self) {
        let mut cut = self.cut.subscribe();
        // The sender lives as long as `self`.
        let _ = cut.wait_for(|cut| *cut).await;
    }

    /// Waits until nothing is in flight. False: `timeout` ran out first.
    pub async fn is_idle_within(&self, timeout: Duration) -> bool {
        let idle = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.count() == 0 {
                    return;
                }
                ended.await;
            }
        };
        tokio::time::timeout(timeout, idle).await.is_ok()
    }
}
