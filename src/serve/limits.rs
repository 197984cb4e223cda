//! Connection limits: from `server.max_connections` and `server.max_connections_per_address`, or from the
//! process's file descriptor limit (`RLIMIT_NOFILE`).

use crate::settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors reserved for listeners, the store and the journal.
const OWN_DESCRIPTORS: u64 = 256;
/// File descriptors assumed when `RLIMIT_NOFILE` is unlimited, and the most counted in any case.
const MANY: u64 = 1 << 20;
/// Lower bound of the derived connection limit.
const FEWEST: usize = 64;
/// Connection limits.
pub struct Most {
    /// Of the whole process.
    pub in_all: usize,
    /// Of one client address.
    pub each: usize,
}

/// Returns the configured limits. Default: one connection for every two file descriptors (a call also needs
/// one to its provider), and a quarter of that per address.
pub fn connections(settings: &settings::Server) -> Most {
    let by_descriptors = || {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(MANY);
        let free = descriptors.saturating_sub(OWN_DESCRIPTORS).min(MANY);
        usize::try_from(free / 2).unwrap_or(FEWEST).max(FEWEST)
    };
    let in_all = settings.max_connections.unwrap_or_else(by_descriptors);
    Most {
        in_all,
        each: settings
            .max_connections_per_address
            .unwrap_or((in_all / 4).max(1)),
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
        assert!(most.in_all >= FEWEST && most.each == most.in_all / 4);
        let settings = settings::Server {
            max_connections: Some(100),
            max_connections_per_address: Some(7),
            ..settings
        };
        let most = connections(&settings);
        assert_eq!((most.in_all, most.each), (100, 7));
    }
}
