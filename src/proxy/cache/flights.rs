//! Flights: of equal calls under way on this instance one asks the provider, and the others wait for its answer.
//!
//! A flight that ends without an answer is taken over by the next who waits. One whose answer is only for its own client
//! lets all the others go their own way, so none waits for nothing twice.

use super::entry::KeptAnswer;
use crate::store::name::AnswerKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<AnswerKey, Arc<Flight>>>);

/// Equal calls under way.
struct Flight {
    landed: watch::Sender<Option<Landing>>,
    waiters: Arc<AtomicUsize>,
}

/// Outcome of a flight.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    Answer(Arc<KeptAnswer>),
    /// The provider was asked, and its answer is for its own client alone.
    Unfit,
    /// There was no answer: the next one asks.
    Failed,
}

pub(crate) enum Seat {
    Lead(Lead),
    Wait(Wait),
}

/// The call of a flight that asks the provider. Dropping it lands the flight as [`Landing::Failed`].
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: AnswerKey,
    flight: Arc<Flight>,
}

/// A call that waits for another one's answer.
pub(crate) struct Wait {
    landed: watch::Receiver<Option<Landing>>,
    waiters: Arc<AtomicUsize>,
}

impl Flights {
    /// Joins the flight of a key, or begins it.
    pub(crate) fn join(self: &Arc<Flights>, key: AnswerKey) -> Seat {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key) {
            flight.waiters.fetch_add(1, Ordering::Relaxed);
            return Seat::Wait(Wait {
                landed: flight.landed.subscribe(),
                waiters: flight.waiters.clone(),
            });
        }
        let flight = Arc::new(Flight {
            landed: watch::Sender::new(None),
            waiters: Arc::default(),
        });
        flights.insert(key, flight.clone());
        Seat::Lead(Lead {
            flights: self.clone(),
            key,
            flight,
        })
    }

    /// Leads the flight of a key, after the one that is under way has ended.
    pub(crate) async fn lead_next(self: &Arc<Flights>, key: AnswerKey) -> Lead {
        loop {
            match self.join(key) {
                Seat::Lead(lead) => return lead,
                Seat::Wait(mut wait) => while wait.landed.changed().await.is_ok() {},
            }
        }
    }
}

impl Lead {
    /// Number of calls that wait for this one.
    pub(crate) fn waiters(&self) -> Arc<AtomicUsize> {
        self.flight.waiters.clone()
    }

    /// Tells those who wait, now and later, until this value is dropped.
    pub(crate) fn land(&self, landing: Landing) {
        self.flight.landed.send_replace(Some(landing));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Before the others are told: who takes over must not meet this flight again.
        self.flights.0.lock().remove(&self.key);
        self.flight.landed.send_if_modified(|landed| {
            let is_open = landed.is_none();
            if is_open {
                *landed = Some(Landing::Failed);
            }
            is_open
        });
    }
}

impl Wait {
    pub(crate) async fn landing(&mut self) -> Landing {
        let landed = self.landed.wait_for(Option::is_some).await;
        landed
            .ok()
            .and_then(|landed| landed.clone())
            .unwrap_or(Landing::Failed)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(seat: Seat) -> Lead {
        match seat {
            Seat::Lead(lead) => lead,
            Seat::Wait(_) => panic!("another one leads"),
        }
    }

    fn wait(seat: Seat) -> Wait {
        match seat {
            Seat::Wait(wait) => wait,
            Seat::Lead(_) => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn one_leads_and_its_failure_lets_the_next_one_lead() {
        let flights = Arc::new(Flights::default());
        let key = AnswerKey::new([1; 32]);
        let first = lead(flights.join(key));
        let mut second = wait(flights.join(key));
        assert_eq!(first.waiters().load(Ordering::Relaxed), 1);
        lead(flights.join(AnswerKey::new([2; 32])));
        drop(first);
        assert!(matches!(second.landing().await, Landing::Failed));
        let second = lead(flights.join(key));
        let mut third = wait(flights.join(key));
        second.land(Landing::Unfit);
        let mut late = wait(flights.join(key));
        drop(second);
        assert!(matches!(third.landing().await, Landing::Unfit));
        assert!(matches!(late.landing().await, Landing::Unfit));
        lead(flights.join(key));
        assert!(flights.0.lock().is_empty());
    }
}
