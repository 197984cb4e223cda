//! Timer that can be reset without touching the runtime's timer wheel.
//!
//! Most timeouts are reset long before they fire, so [`LazyTimer::set`] only stores a deadline.
//! Tokio's [`Sleep`] is reset only when it fires before that deadline, or when the deadline has moved
//! forward.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Resettable timer. The default one has fired already.
#[derive(Default)]
pub(crate) struct LazyTimer {
    until: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl LazyTimer {
    pub fn new(span: Duration) -> LazyTimer {
        LazyTimer {
            until: Some(Instant::now() + span),
            timer: None,
        }
    }

    /// Sets the deadline to `span` from now.
    pub fn set(&mut self, span: Duration) {
        self.until = Some(Instant::now() + span);
    }

    /// Sets the deadline to `until`.
    pub fn set_deadline(&mut self, until: std::time::Instant) {
        self.until = Some(Instant::from_std(until));
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else {
            return Poll::Ready(());
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn timer_fires_at_the_deadline_that_was_set_last() {
        let start = Instant::now();
        let mut timer = LazyTimer::new(Duration::from_secs(5));
        let soon =
            tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| timer.poll_elapsed(cx)));
        assert!(soon.await.is_err());
        timer.set(Duration::from_secs(60));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 61);
        timer.set(Duration::from_secs(100));
        let shorter =
            tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| timer.poll_elapsed(cx)));
        assert!(shorter.await.is_err());
        timer.set(Duration::from_secs(2));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 64);
    }
}
