//! Connection limits: from `server.max_connections` and `server.max_connections_per_address`, or from the
//! process's file descriptor limit (`RLIMIT_NOFILE`).

use crate::settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors reserved for listeners, the store and the journal.
const OWN_DESCRIPTORS: u64 = 256;
/// File descriptors assumed when `RLIMIT_NOFILE` is unlimited, and the most counted in any case.
const ASSUMED_DESCRIPTORS: u64 = 1 << 20;
/// Lower bound of the derived connection limit.
const MIN_CONNECTIONS: usize = 64;
/// Connection limits.
pub(crate) struct ConnectionLimits {
    /// Of the whole process.
    pub total: usize,
    /// Of one client address.
    pub per_address: usize,
}

/// Returns the configured limits. Default: one connection for every two file descriptors (a call also needs
/// one to its provider), and a quarter of that per address.
pub(crate) fn connections(settings: &settings::Server) -> ConnectionLimits {
    let by_descriptors = || {
        let descriptors = getrlimit(Resource::Nofile)
            .current
            .unwrap_or(ASSUMED_DESCRIPTORS);
        let free = descriptors
            .saturating_sub(OWN_DESCRIPTORS)
            .min(ASSUMED_DESCRIPTORS);
        usize::try_from(free / 2)
            .unwrap_or(MIN_CONNECTIONS)
            .max(MIN_CONNECTIONS)
    };
    let total = settings.max_connections.unwrap_or_else(by_descriptors);
    ConnectionLimits {
        total,
        per_address: settings
            .max_connections_per_address
            .unwrap_or((total / 4).max(1)),
    }
}

/// Raises the soft limit of open files to the hard limit: shells usually set a low soft limit.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If refused, keep the current limit.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                ..limit
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_from_what_the_process_may_open() {
        let settings = settings::Server::default();
        let most = connections(&settings);
        assert!(most.total >= MIN_CONNECTIONS && most.per_address == most.total / 4);
        let settings = settings::Server {
            max_connections: Some(100),
            max_connections_per_address: Some(7),
            ..settings
        };
        let most = connections(&settings);
        assert_eq!((most.total, most.per_address), (100, 7));
    }
}
