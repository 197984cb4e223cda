//! How much is going on, and whether it is to end: counting, draining, cutting off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

pub struct Traffic {
    in_flight: AtomicUsize,
    ended: Notify,
    /// New work is refused and connections close after their request.
    draining: Arc<AtomicBool>,
    /// What is still in flight has to end now.
    cut: watch::Sender<bool>,
}

/// One request, or one settlement, under way.
pub struct Passage(Arc<Traffic>);

/// The same, for as long as something else keeps the traffic.
pub struct Crossing<'a>(&'a Traffic);

/// One call of a tenant's, counted for as long as it lasts.
pub struct Share<'a>(&'a AtomicUsize);

impl<'a> Share<'a> {
    /// None: so many of them are under way already.
    pub fn of(under_way: &'a AtomicUsize, most: usize) -> Option<Share<'a>> {
        let share = Share(under_way);
        // Dropped again where it is one too many.
        (under_way.fetch_add(1, Ordering::Relaxed) < most).then_some(share)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Crossing<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Traffic {
    pub fn new(draining: Arc<AtomicBool>) -> Arc<Traffic> {
        Arc::new(Traffic {
            in_flight: AtomicUsize::new(0),
            ended: Notify::new(),
            draining,
            cut: watch::Sender::new(false),
        })
    }

    pub fn enter(self: &Arc<Self>) -> Passage {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Passage(self.clone())
    }

    pub fn cross(&self) -> Crossing<'_> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Crossing(self)
    }

    fn leave(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_waiters();
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Returns when what is in flight has to end.
    pub async fn is_cut(&self) {
        let mut cut = self.cut.subscribe();
        // The sender lives as long as `self`.
        let _ = cut.wait_for(|cut| *cut).await;
    }

    /// Waits until nothing is in flight. False: patience ran out first.
    pub async fn quiet(&self, patience: Duration) -> bool {
        let quiet = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.in_flight() == 0 {
                    return;
                }
                ended.await;
            }
        };
        tokio::time::timeout(patience, quiet).await.is_ok()
    }
}
