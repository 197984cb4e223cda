//! How many connections there are, in all and from one address.
//!
//! A connection costs file descriptors, its provider's included, so there are places for as many as
//! the process can have. No one address gets them all, save that of a trusted proxy, behind which
//! everybody may stand. Neighbours count as one address.

use crate::rules::neighbours::{is_within, neighbourhood};
use crate::telemetry::metrics::Metrics;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub struct Places {
    most: usize,
    most_each: usize,
    trusted: Vec<(IpAddr, u8)>,
    taken: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place.
pub struct Seat {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    InAll,
    ForAddress,
}

impl Full {
    /// Counts one that was turned away.
    pub fn count(self, metrics: &Metrics) {
        match self {
            Full::InAll => metrics.shed_connections.add(1),
            Full::ForAddress => metrics.shed_addresses.add(1),
        }
    }
}

impl Places {
    pub fn new(most: usize, most_each: usize, trusted: &[(IpAddr, u8)]) -> Arc<Places> {
        Arc::new(Places {
            most,
            most_each,
            trusted: trusted.to_vec(),
            taken: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Most places are taken: whoever only waits should make room.
    pub fn is_crowded(&self) -> bool {
        self.taken() > self.most - self.most / 4
    }

    /// Everybody may stand behind it.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        is_within(address.to_canonical(), &self.trusted)
    }

    pub fn seat(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Full> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::InAll);
        }
        let mut seat = Seat {
            places: self.clone(),
            address: None,
        };
        let address = address.to_canonical();
        if !is_within(address, &self.trusted) {
            let address = neighbourhood(address);
            let mut by_address = self.by_address();
            let count = by_address.entry(address).or_default();
            if *count >= self.most_each {
                return Err(Full::ForAddress);
            }
            *count += 1;
            seat.address = Some(address);
        }
        Ok(seat)
    }

    fn by_address(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.places.by_address();
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(places: &Arc<Places>, address: &str) -> Result<Seat, Full> {
        places.seat(address.parse().unwrap())
    }

    #[test]
    fn places_are_counted_in_all_and_for_each_address() {
        let trusted = [("10.0.0.0".parse().unwrap(), 8)];
        let places = Places::new(4, 2, &trusted);
        let one = seat(&places, "192.0.2.1").unwrap();
        let two = seat(&places, "::ffff:192.0.2.1").unwrap();
        assert_eq!(seat(&places, "192.0.2.1").err(), Some(Full::ForAddress));
        assert_eq!(places.taken(), 2, "who is refused takes no place");
        drop(one);
        let again = seat(&places, "192.0.2.1").unwrap();
        let proxies = [seat(&places, "10.0.0.1"), seat(&places, "10.0.0.1")];
        assert!(proxies.iter().all(Result::is_ok) && places.is_crowded());
        assert_eq!(seat(&places, "192.0.2.2").err(), Some(Full::InAll));
        drop((two, again, proxies));
        assert_eq!(places.taken(), 0);
        assert!(places.by_address().is_empty());
    }

    #[test]
    fn a_network_of_version_six_is_one_address() {
        let places = Places::new(9, 1, &[]);
        let _one = seat(&places, "2001:db8:1:2::1").unwrap();
        assert_eq!(
            seat(&places, "2001:db8:1:2:3::9").err(),
            Some(Full::ForAddress)
        );
        assert!(seat(&places, "2001:db8:1:3::1").is_ok());
    }
}
