//! The client that talks to providers: connect to a checked address, send, read, give back.
//!
//! HTTP/1.1, one connection a request, kept for the next one on the same thread. The address is looked
//! up and checked here, at every connect, whatever route led to it, and the connection goes to the very
//! address that was checked. Redirects are never followed.

use super::connection::{Broken, Connection, Progress, Request};
use super::names::Names;
use crate::http1::body::Decoder;
use crate::http1::head::Response;
use crate::rules::egress;
use crate::settings;
use crate::threads;
use bytes::BytesMut;
use rustls::pki_types::ServerName;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Idle connections that a thread keeps for one destination, and for how long.
const KEPT_CONNECTIONS: usize = 256;
const KEPT_FOR: Duration = Duration::from_secs(50);
/// Threads beyond this share their connections.
const SHELVES: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// The gateway's own stand-in, which stands inside.
    pub ours: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent.
    Connect(String),
    /// Something was sent, and the connection broke before an answer began or ended.
    Broken(String),
    Timeout(String),
}

type Shelf = HashMap<Destination, VecDeque<Idle>>;

pub struct Upstream {
    settings: settings::Upstream,
    allow_private: bool,
    tls: TlsConnector,
    names: Names,
    /// By thread, so that a connection is woken where it is used.
    idle: Vec<Mutex<Shelf>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// An answer whose head is there. Dropping it before its end closes the connection.
pub struct Answer<'a> {
    pub head: Response,
    /// What came of the body and was not taken yet.
    pub content: BytesMut,
    decoder: Decoder,
    connection: Option<Connection>,
    to: Destination,
    upstream: &'a Upstream,
}

impl Upstream {
    pub fn new(settings: &settings::Settings) -> Upstream {
        Upstream {
            settings: settings.upstream.clone(),
            allow_private: settings.egress.allow_private_networks,
            tls: TlsConnector::from(Arc::new(tls_config())),
            names: Names::new(&settings.egress),
            idle: (0..SHELVES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(
        &self,
        to: Destination,
        request: &Request,
        progress: &Progress,
    ) -> Result<Answer<'_>, Failure> {
        let timeout = self.settings.first_byte_timeout;
        let more = self.settings.drain;
        loop {
            let kept = self.take_idle(&to);
            let is_reused = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(&to).await?,
            };
            match connection.exchange(request, timeout, more, progress).await {
                Ok(head) => {
                    connection.expect_within(self.settings.idle_timeout);
                    return Ok(Answer {
                        decoder: Decoder::new(head.framing),
                        head,
                        content: BytesMut::new(),
                        connection: Some(connection),
                        to,
                        upstream: self,
                    });
                }
                // The provider closed a connection that waited, just when we took it up again.
                Err(Broken::Unsent(_)) if is_reused => {
                    progress.is_sent.store(false, Ordering::Relaxed);
                }
                Err(Broken::Unsent(why) | Broken::Wrong(why)) => {
                    return Err(Failure::Broken(format!("{} {why}", to.host)));
                }
                Err(Broken::TooSlow) => {
                    let host = &to.host;
                    return Err(Failure::Timeout(format!(
                        "no answer from {host} within {timeout:?}"
                    )));
                }
            }
        }
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.idle[threads::number() % SHELVES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self, to: &Destination) -> Option<Connection> {
        let mut shelf = self.shelf();
        let kept = shelf.get_mut(to)?;
        while let Some(Idle {
            mut connection,
            since,
        }) = kept.pop_back()
        {
            if since.elapsed() < KEPT_FOR && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, connection: Connection, to: &Destination) {
        let idle = Idle {
            connection,
            since: Instant::now(),
        };
        let mut shelf = self.shelf();
        match shelf.get_mut(to) {
            Some(kept) if kept.len() < KEPT_CONNECTIONS => kept.push_back(idle),
            Some(_) => {}
            None => {
                shelf.insert(to.clone(), VecDeque::from([idle]));
            }
        }
    }

    /// Closes what has waited too long. Destinations come and go with the tenants' configs.
    pub fn sweep(&self) {
        self.names.refresh();
        for shelf in &self.idle {
            let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.retain(|_, kept| {
                kept.retain_mut(|idle| {
                    idle.since.elapsed() < KEPT_FOR && idle.connection.is_quiet()
                });
                !kept.is_empty()
            });
        }
    }

    async fn connect(&self, to: &Destination) -> Result<Connection, Failure> {
        let timeout = self.settings.connect_timeout;
        let slow = |_| Failure::Connect(format!("{} did not accept within {timeout:?}", to.host));
        // Connecting is rare, and would make every request's state larger.
        let connecting = Box::pin(self.connect_slowly(to));
        tokio::time::timeout(timeout, connecting)
            .await
            .map_err(slow)?
    }

    async fn connect_slowly(&self, to: &Destination) -> Result<Connection, Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::Connect(format!("{what} {}: {error}", to.host))
        };
        if !to.https && !to.ours && !self.allow_private {
            let why = format!("{} would get its key in the clear: it needs https", to.host);
            return Err(Failure::Connect(why));
        }
        let found = self.names.addresses(&to.host).await;
        let addresses = found.map_err(|error| failed("cannot look up", &error))?;
        let mut last = Failure::Connect(format!("{} has no address", to.host));
        let begun = Instant::now();
        for (tried, address) in addresses.iter().enumerate() {
            if !self.may_reach(to, *address) {
                last = Failure::Connect(format!("{} leads to a private address", to.host));
                continue;
            }
            // One that does not answer leaves time for the others.
            let rest = self
                .settings
                .connect_timeout
                .saturating_sub(begun.elapsed());
            let turn = rest / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let connecting = TcpStream::connect((*address, to.port));
            match tokio::time::timeout(turn, connecting).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return self.shake_hands(to, stream).await;
                }
                Ok(Err(error)) => last = failed("cannot connect to", &error),
                Err(_) => last = failed("cannot connect to", &"it does not accept"),
            }
        }
        Err(last)
    }

    fn may_reach(&self, to: &Destination, address: IpAddr) -> bool {
        to.ours || self.allow_private || egress::is_public(address)
    }

    async fn shake_hands(
        &self,
        to: &Destination,
        stream: TcpStream,
    ) -> Result<Connection, Failure> {
        if !to.https {
            return Ok(Connection::new(Box::new(stream)));
        }
        let name = ServerName::try_from(to.host.clone())
            .map_err(|error| Failure::Connect(format!("{}: {error}", to.host)))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| Failure::Connect(format!("TLS with {}: {error}", to.host)))?;
        Ok(Connection::new(Box::new(stream)))
    }
}

impl Answer<'_> {
    /// Some of its body is here already.
    pub fn is_under_way(&self) -> bool {
        let unread = |connection: &Connection| !connection.unread.is_empty();
        self.connection.as_ref().is_some_and(unread)
    }

    /// Waits until more of the body is in `content`. False: it is over, and the connection is kept.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
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
                return Poll::Ready(Err(Failure::Broken(why)));
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
                Ok(0) => Failure::Broken(format!("{host} closed the connection in its answer")),
                Ok(_) => {
                    connection.expect_within(self.upstream.settings.idle_timeout);
                    continue;
                }
                Err(Broken::TooSlow) => {
                    let settings = &self.upstream.settings;
                    // It can be waited for once more.
                    connection.expect_within(settings.drain);
                    let silent = settings.idle_timeout;
                    let why = format!("silent for {silent:?}");
                    return Poll::Ready(Err(Failure::Timeout(why)));
                }
                Err(Broken::Unsent(why) | Broken::Wrong(why)) => {
                    Failure::Broken(format!("{host} {why}"))
                }
            };
            self.connection = None;
            return Poll::Ready(Err(why));
        }
    }
}

/// The system's certificates, or, where it has none, the ones that browsers trust.
fn tls_config() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
