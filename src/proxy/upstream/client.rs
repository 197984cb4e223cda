//! HTTP/1.1 client for providers: connects to a checked address by [`Dialer`], sends, reads, and pools idle
//! connections per thread.
//!
//! Redirects are never followed.

use super::connection::{Connection, ExchangeError, Progress, ProviderRequest};
use crate::dial::dialer::{DialFailure, DialStep, Dialer, Reach, Target};
use crate::http1::body::Decoder;
use crate::http1::head::Response;
use crate::proxy::outcome::ProviderFault as Fault;
use crate::rules::config::Endpoint;
use crate::settings;
use crate::threads;
use bytes::BytesMut;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Idle connections that one pool keeps for a [`Destination`].
const MAX_IDLE_PER_DESTINATION: usize = 256;
/// Age at which an idle connection is evicted.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Number of idle pools, one per thread; more threads than this share them.
const IDLE_POOL_COUNT: usize = 64;

/// Origin to connect to, and key of the idle pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// Whether it is the gateway's own `demo` provider: exempt from the checks for `https` and private
    /// addresses.
    pub is_demo: bool,
}

/// Timeouts of one call: those of its endpoint, else the operator's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    pub idle: Duration,
}

/// Reason why there is no answer, or no whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SendFailure {
    pub fault: Fault,
    /// For the operator's log.
    pub why: String,
    /// Whether the first-byte or the idle timeout passed.
    pub is_timeout: bool,
}

impl SendFailure {
    fn new(fault: Fault, why: String) -> SendFailure {
        SendFailure {
            fault,
            why,
            is_timeout: false,
        }
    }

    /// The provider kept the gateway waiting for too long; it may have the request.
    fn timeout(why: String) -> SendFailure {
        SendFailure {
            is_timeout: true,
            ..SendFailure::new(Fault::TimedOut, why)
        }
    }
}

/// Idle connections by destination; the most recently used is at the back and is reused first.
type IdlePool = HashMap<Destination, VecDeque<Idle>>;

/// Client for all providers, shared by all threads.
pub struct ProviderClient {
    settings: settings::Upstream,
    dialer: Arc<Dialer>,
    /// Idle pools by thread, so that a connection's wake-ups stay on the thread that uses it.
    idle: Vec<Mutex<IdlePool>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Answer whose head has been read. Dropping it before its end closes the connection.
pub(crate) struct ProviderAnswer<'a> {
    pub head: Response,
    /// Decoded bytes of the body that the caller has not taken yet.
    pub content: BytesMut,
    decoder: Decoder,
    connection: Option<Connection>,
    to: Destination,
    idle_timeout: Duration,
    upstream: &'a ProviderClient,
}

impl ProviderClient {
    pub fn new(settings: &settings::Upstream, dialer: Arc<Dialer>) -> ProviderClient {
        ProviderClient {
            settings: settings.clone(),
            dialer,
            idle: (0..IDLE_POOL_COUNT).map(|_| Mutex::default()).collect(),
        }
    }

    /// Returns the timeouts of calls of an endpoint.
    pub(crate) fn timeouts(&self, endpoint: &Endpoint) -> Timeouts {
        let (own, settings) = (&endpoint.timeouts, &self.settings);
        Timeouts {
            connect: own.connect.unwrap_or(settings.connect_timeout),
            first_byte: own.first_byte.unwrap_or(settings.first_byte_timeout),
            idle: own.idle.unwrap_or(settings.idle_timeout),
        }
    }

    /// Sends a request and waits for the head of the answer. Retries if a reused idle connection turns out
    /// closed before a byte was sent.
    pub(crate) async fn send(
        &self,
        to: Destination,
        request: &ProviderRequest,
        timeouts: Timeouts,
        progress: &Progress,
    ) -> Result<ProviderAnswer<'_>, SendFailure> {
        let timeout = timeouts.first_byte;
        let more = self.settings.drain;
        loop {
            let kept = self.take_idle(&to);
            let is_reused = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(&to, timeouts.connect).await?,
            };
            match connection.exchange(request, timeout, more, progress).await {
                Ok(head) => {
                    connection.set_read_timeout(timeouts.idle);
                    return Ok(ProviderAnswer {
                        idle_timeout: timeouts.idle,
                        decoder: Decoder::new(head.framing),
                        head,
                        content: BytesMut::new(),
                        connection: Some(connection),
                        to,
                        upstream: self,
                    });
                }
                // The provider closed an idle connection just as it was reused. No byte was sent, so a retry
                // is safe.
                Err(ExchangeError::Unsent(_)) if is_reused => {
                    progress.is_sent.store(false, Ordering::Relaxed);
                }
                Err(ExchangeError::Unsent(why) | ExchangeError::Wrong(why)) => {
                    let why = format!("{} {why}", to.host);
                    return Err(SendFailure::new(Fault::Broken, why));
                }
                Err(ExchangeError::Malformed(why)) => {
                    let why = format!("{} {why}", to.host);
                    return Err(SendFailure::new(Fault::Invalid, why));
                }
                Err(ExchangeError::TooSlow) => {
                    let host = &to.host;
                    let why = format!("no answer from {host} within {timeout:?}");
                    return Err(SendFailure::timeout(why));
                }
            }
        }
    }

    fn idle_pool(&self) -> parking_lot::MutexGuard<'_, IdlePool> {
        self.idle[threads::number() % IDLE_POOL_COUNT].lock()
    }

    /// Takes a usable idle connection from this thread's pool, and closes stale ones.
    fn take_idle(&self, to: &Destination) -> Option<Connection> {
        let mut idle_pool = self.idle_pool();
        let kept = idle_pool.get_mut(to)?;
        while let Some(Idle {
            mut connection,
            since,
        }) = kept.pop_back()
        {
            if since.elapsed() < IDLE_TIMEOUT && connection.is_reusable() {
                return Some(connection);
            }
        }
        None
    }

    /// Returns a connection to this thread's pool, or closes it if the pool is full.
    fn give_back(&self, connection: Connection, to: &Destination) {
        let idle = Idle {
            connection,
            since: Instant::now(),
        };
        let mut idle_pool = self.idle_pool();
        match idle_pool.get_mut(to) {
            Some(kept) if kept.len() < MAX_IDLE_PER_DESTINATION => kept.push_back(idle),
            Some(_) => {}
            None => {
                idle_pool.insert(to.clone(), VecDeque::from([idle]));
            }
        }
    }

    /// Evicts stale connections of all pools, and destinations without any, which come and go with the
    /// tenants' configs. Refreshes the [`Dialer`] as well.
    pub fn sweep(&self) {
        self.dialer.refresh();
        for idle_pool in &self.idle {
            let mut idle_pool = idle_pool.lock();
            idle_pool.retain(|_, kept| {
                kept.retain_mut(|idle| {
                    idle.since.elapsed() < IDLE_TIMEOUT && idle.connection.is_reusable()
                });
                !kept.is_empty()
            });
        }
    }

    /// Connects within `timeout`, TLS handshake included.
    async fn connect(
        &self,
        to: &Destination,
        timeout: Duration,
    ) -> Result<Connection, SendFailure> {
        let slow = |_| {
            let why = format!("{} did not accept within {timeout:?}", to.host);
            SendFailure::new(Fault::ConnectFailed, why)
        };
        let target = Target {
            https: to.https,
            host: &to.host,
            port: to.port,
            reach: match to.is_demo {
                true => Reach::Own,
                false => Reach::Egress,
            },
        };
        // Boxed: connecting is rare, and its future would enlarge the state of every request.
        let connecting = Box::pin(self.dialer.connect(&target, timeout));
        let connected = tokio::time::timeout(timeout, connecting)
            .await
            .map_err(slow)?;
        Ok(Connection::new(connected.map_err(not_connected)?))
    }
}

fn not_connected(failure: DialFailure) -> SendFailure {
    let fault = match failure.step {
        DialStep::Lookup => Fault::LookupFailed,
        DialStep::Check => Fault::Blocked,
        DialStep::Connect => Fault::ConnectFailed,
        DialStep::Tls => Fault::TlsFailed,
    };
    SendFailure::new(fault, failure.why)
}

impl ProviderAnswer<'_> {
    /// Whether undecoded bytes of the body have been read already.
    pub(crate) fn has_unread_body(&self) -> bool {
        let unread = |connection: &Connection| !connection.unread.is_empty();
        self.connection.as_ref().is_some_and(unread)
    }

    /// Closes the gateway's side of the connection. The provider's side stays open, so the rest of its answer can
    /// be read; the connection is not reused.
    pub(crate) fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.head.keeps = false;
        match &mut self.connection {
            Some(connection) => connection.poll_half_close(cx),
            None => Poll::Ready(()),
        }
    }

    /// Reads until more of the body is in `content`. False: the body has ended, and a reusable connection is
    /// back in its pool.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SendFailure>> {
        let host = &self.to.host;
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Ok(false));
            };
            let before = self.content.len();
            let decoded = self
                .decoder
                .decode(&mut connection.unread, &mut self.content);
            if decoded.is_err() {
                self.connection = None;
                let why = format!("{host} framed its answer wrongly");
                return Poll::Ready(Err(SendFailure::new(Fault::Invalid, why)));
            }
            if self.decoder.is_done()
                && let Some(connection) = self.connection.take()
                && self.head.keeps
                && connection.unread.is_empty()
            {
                self.upstream.give_back(connection, &self.to);
            }
            if self.content.len() > before {
                return Poll::Ready(Ok(true));
            }
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Ok(false));
            };
            let why = match ready!(connection.poll_fill(cx)) {
                Ok(0) if self.decoder.ends_with_connection() => {
                    self.connection = None;
                    return Poll::Ready(Ok(false));
                }
                Ok(0) => {
                    let why = format!("{host} closed the connection in its answer");
                    SendFailure::new(Fault::Broken, why)
                }
                Ok(_) => {
                    connection.set_read_timeout(self.idle_timeout);
                    continue;
                }
                Err(ExchangeError::TooSlow) => {
                    // Not fatal: the caller may poll again, for up to `upstream.drain`.
                    connection.set_read_timeout(self.upstream.settings.drain);
                    let silent = self.idle_timeout;
                    let why = format!("silent for {silent:?}");
                    return Poll::Ready(Err(SendFailure::timeout(why)));
                }
                Err(
                    ExchangeError::Unsent(why)
                    | ExchangeError::Wrong(why)
                    | ExchangeError::Malformed(why),
                ) => SendFailure::new(Fault::Broken, format!("{host} {why}")),
            };
            self.connection = None;
            return Poll::Ready(Err(why));
        }
    }
}
