//! Connections of HTTP/2: their streams, each a request of its own on its connection's thread.
//!
//! What a client may have open, send unread and take back is bounded, so that no connection costs much more than one
//! of HTTP/1.1 with as many requests.

use crate::http1::head;
use crate::proxy::downstream::connection::idle_timeout;
use crate::proxy::downstream::frames::FrameWatch;
use crate::proxy::downstream::tally::Tally;
use crate::proxy::gateway::Gateway;
use crate::proxy::lazy_timer::Patience;
use crate::proxy::pipeline::Pipeline;
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

/// Streams that one connection may have open.
const MAX_STREAMS: u32 = 100;
/// Bytes of a body that may come before they are read, of one stream and of all on a connection.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes of an answer that wait for a client to read them.
const MAX_SEND_BUFFER: usize = 64 << 10;
/// Bytes of headers, as in a head of HTTP/1.1.
const MAX_HEADER_LIST: u32 = head::LONGEST as u32;
/// Streams that a client opens and takes back before they are looked at; more end the connection.
const MAX_PENDING_RESETS: usize = 20;
/// Requests of a connection that could not be read; more end it.
const MAX_MALFORMED: usize = 32;
/// Bytes that small pieces of bodies may cost beside what they say, until they are read.
const SMALL_FRAMES: usize = 1 << 20;
/// Time for a client to close a connection that it was told will end.
const FAREWELL: Duration = Duration::from_secs(5);

fn options() -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .data_frame_budget(SMALL_FRAMES);
    options
}

/// A connection after its PROXY header and TLS handshake.
pub struct Established {
    pub stream: Stream,
    pub peer: SocketAddr,
    /// Its streams take places, as connections do.
    pub is_public: bool,
}

/// Service of a connection's requests, and the signal that ends it.
pub struct Service<'a> {
    pub pipeline: &'a Pipeline,
    pub proxy: &'a Arc<HttpProxy<Gateway>>,
    pub shutdown: &'a ShutdownWatch,
    /// Time for the handshake.
    pub deadline: Duration,
}

impl Service<'_> {
    /// Returns when the connections are to end.
    pub fn draining(&self) -> impl Future<Output = ()> + use<> {
        let mut shutdown = self.shutdown.clone();
        async move {
            let _ = shutdown.wait_for(|draining| *draining).await;
        }
    }

    /// A connection of HTTP/2, to its end.
    pub async fn http2(&self, established: Established) {
        let Established {
            stream,
            peer,
            is_public,
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
            self.pipeline.metrics.failed_handshakes.add(1);
            return;
        };
        let tally = Arc::new(Tally::default());
        let mut malformed = 0;
        let mut draining = pin!(self.draining());
        let (mut is_ending, mut is_new) = (false, true);
        let mut half = Patience::default();
        loop {
            let rest = match is_ending {
                true => FAREWELL,
                // Whoever connects has something to say.
                false if is_new => self.deadline,
                false => idle_timeout(self.pipeline.places.is_crowded()),
            };
            let accepted = tokio::select! {
                biased;
                () = &mut draining, if !is_ending => {
                    connection.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut connection, digest.clone()) => Some(accepted),
                () = poll_fn(|cx| frames.poll_trouble(cx, &mut half, self.deadline)) => None,
                () = tally.rests(rest) => {
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
                    let extra = tally.count() > 0 && is_public;
                    self.stream(session, extra.then_some(peer), &tally);
                    false
                }
                Some(Ok(Some(H2Accept::Rejected))) => {
                    malformed += 1;
                    malformed > MAX_MALFORMED
                }
                Some(Ok(None) | Err(_)) => return,
            };
            if is_abused || tally.is_abused() {
                self.pipeline.metrics.ended_connections.add(1);
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let gone = HttpSession::from_h2_conn(&mut connection, digest.clone());
                let _ = tokio::time::timeout(FAREWELL, gone).await;
                return;
            }
        }
    }

    /// Serves a stream, on this thread. Beside others on its connection it takes a place as a connection does.
    fn stream(&self, mut session: HttpSession, beside: Option<SocketAddr>, tally: &Arc<Tally>) {
        let seat = match beside.map(|peer| self.pipeline.places.seat(peer.ip())) {
            Some(Err(full)) => {
                full.count(&self.pipeline.metrics);
                session.shutdown_with_reason(Reason::REFUSED_STREAM);
                return;
            }
            Some(Ok(seat)) => Some(seat),
            None => None,
        };
        let open = tally.open();
        let (proxy, shutdown) = (self.proxy.clone(), self.shutdown.clone());
        let served = async move {
            let session = ServerSession::new_http2(session);
            proxy.process_new_http(session, &shutdown).await;
            drop((open, seat));
        };
        tokio::spawn(tally.clone().scope(served));
    }
}
