//! How many connections a process can have, and what those hear that find no place.

use crate::proxy::places::Full;
use crate::settings;
use crate::telemetry::metrics::Metrics;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What the process needs for itself: listeners, the store, its journal.
const OWN_DESCRIPTORS: u64 = 256;
/// Where there is no limit at all.
const MANY: u64 = 1 << 20;
const FEWEST: usize = 64;
/// So many are told why before they are closed, and for so long; the rest are only closed.
const TOLD: usize = 256;
const TELLING: Duration = Duration::from_millis(250);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/json\r\n\
x-content-type-options: nosniff\r\n\
retry-after: 1\r\n\
connection: close\r\n\
content-length: 43\r\n\
\r\n\
{\"error\":\"There are too many connections\"}\n";

static TELLING_NOW: AtomicUsize = AtomicUsize::new(0);

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

/// Closes a connection that has no place, and says why where that costs little.
pub fn turn_away(mut socket: TcpStream, full: Full, metrics: &Arc<Metrics>) {
    full.count(metrics);
    if TELLING_NOW.fetch_add(1, Ordering::Relaxed) >= TOLD {
        TELLING_NOW.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    tokio::spawn(async move {
        let tell = async {
            socket.write_all(FULL).await?;
            socket.shutdown().await?;
            // Closing on a request that is still under way would take the answer back.
            let mut ignored = [0; 1024];
            while tokio::io::AsyncReadExt::read(&mut socket, &mut ignored).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(TELLING, tell).await;
        TELLING_NOW.fetch_sub(1, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_full_gateway_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }

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
