//! Limiter of client connections, in all and by address.
//!
//! Each connection needs file descriptors, its provider's included, so the process has permits for as many as
//! it can have open. An address gets a share of them, except a trusted proxy's, behind which all clients may
//! be. Addresses of one network prefix count as one.

use crate::rules::neighbours::{is_within, neighbourhood};
use crate::telemetry::fields::About;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::throttle::Throttle;
use log::Level;
use log::kv::Value;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Connections {
    max: usize,
    max_per_address: usize,
    trusted: Vec<(IpAddr, u8)>,
    count: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// Permission for one connection, or one HTTP/2 stream beside others; dropping it returns it.
pub struct ConnectionPermit {
    limiter: Arc<Connections>,
    address: Option<IpAddr>,
}

/// Limit that a rejected connection would have exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    InAll,
    ForAddress,
}

impl Full {
    /// Counts a rejected connection in the metrics, and logs it: of each kind one line a second.
    pub fn record(self, address: IpAddr, metrics: &Metrics) {
        static IN_ALL: Throttle = Throttle::new();
        static FOR_ADDRESS: Throttle = Throttle::new();
        let (counter, kind, why) = match self {
            Full::InAll => (
                &metrics.shed_connections,
                &IN_ALL,
                "server.max_connections are open",
            ),
            Full::ForAddress => (
                &metrics.shed_addresses,
                &FOR_ADDRESS,
                "its address has server.max_connections_per_address open. A proxy in front belongs in server.trusted_proxies",
            ),
        };
        counter.add(1);
        let fields = [("address", Value::from_display(&address))];
        let line = format_args!("A connection was turned away: {why}");
        About::default().log_throttled(kind, module_path!(), Level::Warn, &fields, line);
    }
}

impl Connections {
    pub fn new(max: usize, max_per_address: usize, trusted: &[(IpAddr, u8)]) -> Arc<Connections> {
        Arc::new(Connections {
            max,
            max_per_address,
            trusted: trusted.to_vec(),
            count: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether more than three quarters of the permits are in use: idle connections then get a short timeout.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.count() > self.max - self.max / 4
    }

    /// Whether the address is in `server.trusted_proxies`: no limit by address applies.
    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        is_within(address.to_canonical(), &self.trusted)
    }

    /// Takes a permit, unless all are in use (`server.max_connections`) or the address has its share
    /// (`server.max_connections_per_address`).
    pub fn acquire(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPermit, Full> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::InAll);
        }
        let mut permit = ConnectionPermit {
            limiter: self.clone(),
            address: None,
        };
        let address = address.to_canonical();
        if !is_within(address, &self.trusted) {
            let address = neighbourhood(address);
            let mut by_address = self.by_address();
            let count = by_address.entry(address).or_default();
            if *count >= self.max_per_address {
                return Err(Full::ForAddress);
            }
            *count += 1;
            permit.address = Some(address);
        }
        Ok(permit)
    }

    fn by_address(&self) -> parking_lot::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.count.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.limiter.by_address();
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

    fn permit(limiter: &Arc<Connections>, address: &str) -> Result<ConnectionPermit, Full> {
        limiter.acquire(address.parse().unwrap())
    }

    #[test]
    fn places_are_counted_in_all_and_for_each_address() {
        let trusted = [("10.0.0.0".parse().unwrap(), 8)];
        let limiter = Connections::new(4, 2, &trusted);
        let one = permit(&limiter, "192.0.2.1").unwrap();
        let two = permit(&limiter, "::ffff:192.0.2.1").unwrap();
        assert_eq!(permit(&limiter, "192.0.2.1").err(), Some(Full::ForAddress));
        assert_eq!(limiter.count(), 2, "a refused connection takes no permit");
        drop(one);
        let again = permit(&limiter, "192.0.2.1").unwrap();
        let proxies = [permit(&limiter, "10.0.0.1"), permit(&limiter, "10.0.0.1")];
        assert!(proxies.iter().all(Result::is_ok) && limiter.is_nearly_full());
        assert_eq!(permit(&limiter, "192.0.2.2").err(), Some(Full::InAll));
        drop((two, again, proxies));
        assert_eq!(limiter.count(), 0);
        assert!(limiter.by_address().is_empty());
    }

    #[test]
    fn a_network_of_version_six_is_one_address() {
        let limiter = Connections::new(9, 1, &[]);
        let _one = permit(&limiter, "2001:db8:1:2::1").unwrap();
        assert_eq!(
            permit(&limiter, "2001:db8:1:2:3::9").err(),
            Some(Full::ForAddress)
        );
        assert!(permit(&limiter, "2001:db8:1:3::1").is_ok());
    }
}
