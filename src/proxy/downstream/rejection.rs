//! A connection for which there is no place, and what its client hears.

use crate::proxy::limits::connections::Full;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that are told why at one time; the rest are only closed.
const MOST_TOLD: usize = 256;
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

/// Closes it, and says why where that costs little. A client of TLS is not told: a handshake would cost much.
pub fn turn_away(mut socket: TcpStream, full: Full, is_tls: bool, metrics: &Arc<Metrics>) {
    full.count(metrics);
    if is_tls {
        return;
    }
    if TELLING_NOW.fetch_add(1, Ordering::Relaxed) >= MOST_TOLD {
        TELLING_NOW.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    tokio::spawn(async move {
        let tell = async {
            socket.write_all(FULL).await?;
            socket.shutdown().await?;
            // Closing on a request that is still under way would take the answer back.
            let mut ignored = [0; 1024];
            while socket.read(&mut ignored).await? > 0 {}
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
}
