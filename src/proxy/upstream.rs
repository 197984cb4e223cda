//! The client that talks to providers: connect to a checked address, send, read, give back.
//!
//! HTTP/1.1 by hyper, one connection a request, kept for the next. The address is looked up and
//! checked here, at every connect, whatever route led to it, and the connection goes to the very
//! address that was checked. Redirects are never followed.

use crate::rules::egress;
use crate::settings;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Idle connections kept for one destination, and for how long.
const KEPT_CONNECTIONS: usize = 256;
const MANY_DESTINATIONS: usize = 64;
const KEPT_FOR: Duration = Duration::from_secs(50);

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
    /// Something was sent, and the connection broke before an answer began.
    Broken(String),
    Timeout(String),
}

pub type Request = http::Request<Full<Bytes>>;

pub struct Upstream {
    settings: settings::Upstream,
    allow_private: bool,
    tls: TlsConnector,
    idle: Mutex<HashMap<Destination, Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// An answer whose head is there. Dropping it before its end closes the connection.
pub struct Answer<'a> {
    pub head: http::response::Parts,
    body: Incoming,
    idle_timeout: Duration,
    back: Option<(SendRequest<Full<Bytes>>, Destination, &'a Upstream)>,
}

impl Upstream {
    pub fn new(settings: &settings::Settings) -> Upstream {
        Upstream {
            settings: settings.upstream.clone(),
            allow_private: settings.egress.allow_private_networks,
            tls: TlsConnector::from(Arc::new(tls_config())),
            idle: Mutex::default(),
        }
    }

    /// Sends a request and waits for the head of the answer. `sent` is set once it is on its way.
    pub async fn send(
        &self,
        to: &Destination,
        request: Request,
        sent: &AtomicBool,
    ) -> Result<Answer<'_>, Failure> {
        let timeout = self.settings.first_byte_timeout;
        let slow = |_| Failure::Timeout(format!("no answer from {} within {timeout:?}", to.host));
        tokio::time::timeout(timeout, self.exchange(to, request, sent))
            .await
            .map_err(slow)?
    }

    async fn exchange(
        &self,
        to: &Destination,
        mut request: Request,
        sent: &AtomicBool,
    ) -> Result<Answer<'_>, Failure> {
        loop {
            let kept = self.take_idle(to);
            let reused = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect(to).await?,
            };
            sent.store(true, Ordering::Relaxed);
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    let back = Some((sender, to.clone(), self));
                    let idle_timeout = self.settings.idle_timeout;
                    return Ok(Answer {
                        head,
                        body,
                        idle_timeout,
                        back,
                    });
                }
                Err(mut error) => match error.take_message() {
                    // A kept connection had died, and not a byte of the request was sent on it.
                    Some(unsent) if reused => request = unsent,
                    _ => {
                        return Err(Failure::Broken(format!(
                            "{}: {}",
                            to.host,
                            describe(error.error())
                        )));
                    }
                },
            }
        }
    }

    fn take_idle(&self, to: &Destination) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(to)?;
        while let Some(Idle { sender, since }) = kept.pop() {
            if since.elapsed() < KEPT_FOR && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, sender: SendRequest<Full<Bytes>>, to: Destination) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |idle: &Idle| idle.since.elapsed() < KEPT_FOR && !idle.sender.is_closed();
        // Destinations come and go with the tenants' configs.
        if idle.len() >= MANY_DESTINATIONS {
            idle.retain(|_, kept| kept.iter().any(fresh));
        }
        let kept = idle.entry(to).or_default();
        kept.retain(fresh);
        if kept.len() < KEPT_CONNECTIONS {
            kept.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    async fn connect(&self, to: &Destination) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let timeout = self.settings.connect_timeout;
        let slow = |_| Failure::Connect(format!("{} did not accept within {timeout:?}", to.host));
        tokio::time::timeout(timeout, self.connect_slowly(to))
            .await
            .map_err(slow)?
    }

    async fn connect_slowly(&self, to: &Destination) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::Connect(format!("{what} {}: {error}", to.host))
        };
        let addresses = tokio::net::lookup_host((to.host.as_str(), to.port))
            .await
            .map_err(|error| failed("cannot look up", &error))?;
        let mut last = Failure::Connect(format!("{} has no address", to.host));
        for address in addresses {
            if !self.may_reach(to, address) {
                last = Failure::Connect(format!("{} leads to a private address", to.host));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return self.shake_hands(to, stream).await;
                }
                Err(error) => last = failed("cannot connect to", &error),
            }
        }
        Err(last)
    }

    fn may_reach(&self, to: &Destination, address: SocketAddr) -> bool {
        to.ours || self.allow_private || egress::is_public(address.ip())
    }

    async fn shake_hands(
        &self,
        to: &Destination,
        stream: TcpStream,
    ) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if !to.https {
            return speak(to, TokioIo::new(stream)).await;
        }
        let name = ServerName::try_from(to.host.clone())
            .map_err(|error| Failure::Connect(format!("{}: {error}", to.host)))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| Failure::Connect(format!("TLS with {}: {error}", to.host)))?;
        speak(to, TokioIo::new(stream)).await
    }
}

async fn speak<S>(to: &Destination, stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(256)
        .handshake(stream)
        .await
        .map_err(|error| Failure::Connect(format!("{}: {}", to.host, describe(&error))))?;
    // It lives as long as someone sends on it or reads from it.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

impl Answer<'_> {
    /// The next bytes as they arrive; `None` at the end, after which the connection is kept.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let silence = |_| Failure::Timeout(format!("silent for {:?}", self.idle_timeout));
            let frame = tokio::time::timeout(self.idle_timeout, self.body.frame())
                .await
                .map_err(silence)?;
            match frame {
                None => {
                    if let Some((sender, to, upstream)) = self.back.take() {
                        upstream.give_back(sender, to);
                    }
                    return Ok(None);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    // Trailers, which nobody asked for.
                    _ => {}
                },
                Some(Err(error)) => return Err(Failure::Broken(describe(&error))),
            }
        }
    }
}

/// Hyper's own words and the cause below them, which it keeps to itself otherwise.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
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
