//! Rejects a connection beyond the limits of `Connections`, with a 503 where that is cheap.

use crate::proxy::limits::connections::Full;
use crate::telemetry::metrics::Metrics;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Rejected connections that are sent a 503 at one time; the rest are closed at once.
const MAX_REJECTIONS_ANSWERED_AT_ONCE: usize = 256;
/// Time for sending the 503 and for the client to close.
const REJECTION_TIMEOUT: Duration = Duration::from_millis(250);

const RESPONSE_503: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/json\r\n\
x-content-type-options: nosniff\r\n\
retry-after: 1\r\n\
connection: close\r\n\
content-length: 43\r\n\
\r\n\
{\"error\":\"There are too many connections\"}\n";

/// Rejected connections that are being sent a 503.
static REJECTIONS_IN_PROGRESS: AtomicUsize = AtomicUsize::new(0);

/// Closes a connection, after a 503 where that is cheap. A TLS connection gets none: the handshake would be
/// expensive.
pub fn reject(
    mut socket: TcpStream,
    address: IpAddr,
    full: Full,
    is_tls: bool,
    metrics: &Arc<Metrics>,
) {
    full.record(address, metrics);
    if is_tls {
        return;
    }
    if REJECTIONS_IN_PROGRESS.fetch_add(1, Ordering::Relaxed) >= MAX_REJECTIONS_ANSWERED_AT_ONCE {
        REJECTIONS_IN_PROGRESS.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    tokio::spawn(async move {
        let tell = async {
            socket.write_all(RESPONSE_503).await?;
            socket.shutdown().await?;
            // Closing with unread input sends a TCP reset, which can discard the 503: read until the client
            // closes.
            let mut ignored = [0; 1024];
            while socket.read(&mut ignored).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(REJECTION_TIMEOUT, tell).await;
        REJECTIONS_IN_PROGRESS.fetch_sub(1, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_full_gateway_is_as_long_as_it_says() {
        let text = std::str::from_utf8(RESPONSE_503).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
