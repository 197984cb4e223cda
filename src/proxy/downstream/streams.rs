//! Serves HTTP/2 connections: each stream is one request, run as a task on its connection's thread.
//!
//! Open streams, unread body bytes and resets are bounded, so that a connection never costs much more than
//! HTTP/1.1 with as many requests.
//! Abuse (floods, rapid reset, incomplete frames) ends the connection with `ENHANCE_YOUR_CALM`.

use crate::http1::head;
use crate::proxy::call::Proxy;
use crate::proxy::downstream::connection::idle_timeout;
use crate::proxy::downstream::frames::FrameWatch;
use crate::proxy::downstream::tally::StreamTally;
use crate::proxy::gateway::Gateway;
use crate::proxy::lazy_timer::LazyTimer;
use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    self, H2Accept, H2Options, HttpSession, default_h2_options,
};
use pingora::protocols::{Digest, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// `SETTINGS_MAX_CONCURRENT_STREAMS`: streams that one connection may have open.
const MAX_STREAMS: u32 = 100;
/// Flow-control windows in bytes, of one stream and of the whole connection: body bytes that may arrive
/// before they are read.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of a response that `h2` buffers while the client does not read.
const MAX_SEND_BUFFER: usize = 64 << 10;
/// `SETTINGS_MAX_HEADER_LIST_SIZE` in bytes: the limit of an HTTP/1.1 head.
const MAX_HEADER_LIST: u32 = head::MAX_HEAD_BYTES as u32;
/// Streams that a client may open and reset before they are accepted (rapid reset); more end the connection.
const MAX_PENDING_RESETS: usize = 20;
/// Malformed requests of one connection; more end it.
const MAX_MALFORMED_REQUESTS: usize = 32;
/// Overhead in bytes that unread small `DATA` frames may cost beyond their content (`data_frame_budget`).
const MAX_DATA_FRAME_OVERHEAD_BYTES: usize = 1 << 20;
/// Time for a client to close its connection after a `GOAWAY`.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the `h2` settings with the bounds above.
fn options() -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .data_frame_budget(MAX_DATA_FRAME_OVERHEAD_BYTES);
    options
}

/// Connection after its PROXY header and TLS handshake.
pub(crate) struct Established {
    pub stream: Stream,
    pub peer: SocketAddr,
    /// Whether streams beside the first need a `ConnectionPermit` each (`Side::is_limited`).
    pub is_limited: bool,
}

/// Parts that serve a connection's requests, and the signal that ends the connection.
pub struct Service<'a> {
    pub parts: &'a Proxy,
    pub proxy: &'a Arc<HttpProxy<Gateway>>,
    pub shutdown: &'a ShutdownWatch,
    /// `server.header_timeout`: deadline for the HTTP/2 handshake, and for each header block.
    pub deadline: Duration,
}

impl Service<'_> {
    /// Resolves when the gateway drains: connections close after their current requests.
    pub fn draining(&self) -> impl Future<Output = ()> + use<> {
        let mut shutdown = self.shutdown.clone();
        async move {
            let _ = shutdown.wait_for(|draining| *draining).await;
        }
    }

    /// Serves an HTTP/2 connection until it closes.
    pub(crate) async fn http2(&self, established: Established) {
        let Established {
            stream,
            peer,
            is_limited,
        } = established;
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: Vec::new(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let (stream, frames) = FrameWatch::over(stream);
        let handshake = Box::pin(server::handshake(stream, Some(options())));
        let Ok(Ok(mut connection)) = tokio::time::timeout(self.deadline, handshake).await else {
            self.parts.metrics.failed_handshakes.add(1);
            return;
        };
        let tally = Arc::new(StreamTally::default());
        let mut malformed = 0;
        let mut draining = pin!(self.draining());
        let (mut is_ending, mut is_new) = (false, true);
        let mut half = LazyTimer::default();
        loop {
            let rest = match is_ending {
                true => GOAWAY_TIMEOUT,
                // A new connection gets `header_timeout` instead of the longer idle timeout: clients connect
                // in order to send.
                false if is_new => self.deadline,
                false => idle_timeout(self.parts.limits.connections.is_nearly_full()),
            };
            let accepted = tokio::select! {
                biased;
                () = &mut draining, if !is_ending => {
                    connection.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut connection, digest.clone()) => Some(accepted),
                () = poll_fn(|cx| frames.poll_abuse(cx, &mut half, self.deadline)) => None,
                () = tally.idle_for(rest) => {
                    if is_ending {
                        return;
                    }
                    connection.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
            };
            let is_abused = match accepted {
                None => true,
                Some(Ok(Some(H2Accept::Session(session)))) => {
                    is_new = false;
                    let extra = tally.count() > 0 && is_limited;
                    self.stream(session, extra.then_some(peer), &tally);
                    false
                }
                Some(Ok(Some(H2Accept::Rejected))) => {
                    malformed += 1;
                    malformed > MAX_MALFORMED_REQUESTS
                }
                Some(Ok(None) | Err(_)) => return,
            };
            if is_abused || tally.is_abused() {
                self.parts.metrics.ended_connections.add(1);
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let gone = HttpSession::from_h2_conn(&mut connection, digest.clone());
                let _ = tokio::time::timeout(GOAWAY_TIMEOUT, gone).await;
                return;
            }
        }
    }

    /// Starts a task for a stream on this thread. `beside`: address for which it needs a permit, because
    /// other streams are open on the connection. Without a permit it gets `REFUSED_STREAM`.
    fn stream(
        &self,
        mut session: HttpSession,
        beside: Option<SocketAddr>,
        tally: &Arc<StreamTally>,
    ) {
        let connections = &self.parts.limits.connections;
        let permit = match beside.map(|peer| (peer.ip(), connections.acquire(peer.ip()))) {
            Some((address, Err(full))) => {
                full.record(address, &self.parts.metrics);
                session.shutdown_with_reason(Reason::REFUSED_STREAM);
                return;
            }
            Some((_, Ok(permit))) => Some(permit),
            None => None,
        };
        let open = tally.open();
        let (proxy, shutdown) = (self.proxy.clone(), self.shutdown.clone());
        let served = async move {
            let session = ServerSession::new_http2(session);
            proxy.process_new_http(session, &shutdown).await;
            drop((open, permit));
        };
        tokio::spawn(tally.clone().scope(served));
    }
}
