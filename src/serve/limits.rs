//! How many connections a process can have.

use crate::settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs for itself: listeners, the store, its journal.
const OWN_DESCRIPTORS: u64 = 256;
/// Where there is no limit at all.
const MANY: u64 = 1 << 20;
const FEWEST: usize = 64;
pub struct Most {
    pub in_all: usize,
    pub each: usize,
}

/// As the operator says, or one for every two file descriptors: a call has a provider's connection too.
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

/// Shells give a process few descriptors and let it have more.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where that is refused, what there is must do.
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
