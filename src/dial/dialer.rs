//! [`Dialer`]: connects to a checked address.
//!
//! Every connect resolves the host and checks the address against private networks (SSRF), whatever led to
//! it, and dials the very address that was checked.

use super::names::DnsCache;
use crate::rules::egress;
use crate::settings;
use rustls::pki_types::ServerName;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Byte stream to another host, with or without TLS.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Host and port to connect to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub https: bool,
    pub host: &'a str,
    pub port: u16,
    pub reach: Reach,
}

/// Addresses that a [`Target`] may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any: the gateway's own listener on loopback.
    Own,
    /// Those of `egress`: public ones over TLS, or, with `egress.allow_private_networks`, all.
    Egress,
    /// Those of `egress`, and without TLS private ones alone: what is read there decides who somebody is.
    EgressNoCleartext,
}

/// Step of connecting that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialStep {
    Lookup,
    /// The address, or a connection without TLS, is not allowed by `egress`.
    Check,
    Connect,
    Tls,
}

/// Reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialFailure {
    pub step: DialStep,
    /// For the operator's log.
    pub why: String,
}

/// Connects to other hosts, for all threads.
pub struct Dialer {
    allow_private: bool,
    tls: TlsConnector,
    names: DnsCache,
}

impl Dialer {
    pub fn new(egress: &settings::Egress) -> Dialer {
        Dialer {
            allow_private: egress.allow_private_networks,
            tls: TlsConnector::from(Arc::new(tls_config())),
            names: DnsCache::new(egress),
        }
    }

    /// Rebuilds the resolver if the system's files have changed.
    pub fn refresh(&self) {
        self.names.refresh();
    }

    /// Connects, TLS handshake included. The addresses share `timeout`; the caller bounds the whole.
    pub async fn connect(
        &self,
        to: &Target<'_>,
        timeout: Duration,
    ) -> Result<Box<dyn Wire>, DialFailure> {
        let failed = |step, what: &str, error: &dyn Display| DialFailure {
            step,
            why: format!("{what} {}: {error}", to.host),
        };
        if !to.https && to.reach != Reach::Own && !self.allow_private {
            return Err(cleartext(to));
        }
        let found = self.names.addresses(to.host).await;
        let addresses =
            found.map_err(|error| failed(DialStep::Lookup, "cannot look up", &error))?;
        let mut last = DialFailure {
            step: DialStep::Lookup,
            why: format!("{} has no address", to.host),
        };
        let begun = Instant::now();
        for (tried, address) in addresses.iter().enumerate() {
            if let Some(refusal) = self.refusal(to, *address) {
                last = refusal;
                continue;
            }
            // An equal share of the remaining time, so that an unresponsive address leaves time for the
            // others.
            let rest = timeout.saturating_sub(begun.elapsed());
            let turn = rest / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let connecting = TcpStream::connect((*address, to.port));
            match tokio::time::timeout(turn, connecting).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return self.tls_handshake(to, stream).await;
                }
                Ok(Err(error)) => last = failed(DialStep::Connect, "cannot connect to", &error),
                Err(_) => {
                    let error = "it does not accept";
                    last = failed(DialStep::Connect, "cannot connect to", &error);
                }
            }
        }
        Err(last)
    }

    /// Returns why an address may not be dialled, if it may not.
    fn refusal(&self, to: &Target<'_>, address: IpAddr) -> Option<DialFailure> {
        let is_public = egress::is_public(address);
        match to.reach {
            Reach::Own => None,
            Reach::EgressNoCleartext if is_public && !to.https => Some(cleartext(to)),
            Reach::Egress | Reach::EgressNoCleartext => {
                let is_allowed = self.allow_private || is_public;
                (!is_allowed).then(|| DialFailure {
                    step: DialStep::Check,
                    why: format!(
                        "{} leads to a private address, which egress.allow_private_networks does not allow",
                        to.host
                    ),
                })
            }
        }
    }

    /// Runs the TLS handshake for an `https` target.
    async fn tls_handshake(
        &self,
        to: &Target<'_>,
        stream: TcpStream,
    ) -> Result<Box<dyn Wire>, DialFailure> {
        if !to.https {
            return Ok(Box::new(stream));
        }
        let tls_failure = |why| DialFailure {
            step: DialStep::Tls,
            why,
        };
        let name = ServerName::try_from(to.host.to_owned())
            .map_err(|error| tls_failure(format!("{}: {error}", to.host)))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| tls_failure(format!("TLS with {}: {error}", to.host)))?;
        Ok(Box::new(stream))
    }
}

fn cleartext(to: &Target<'_>) -> DialFailure {
    let (host, needs) = (to.host, "it needs https");
    let why = match to.reach {
        Reach::Own | Reach::Egress => format!(
            "{host} would get its key in the clear: {needs}, or egress.allow_private_networks"
        ),
        Reach::EgressNoCleartext => format!("{host} would be asked in the clear: {needs}"),
    };
    DialFailure {
        step: DialStep::Check,
        why,
    }
}

/// Builds the TLS config: the system's root certificates or, where it has none, Mozilla's (`webpki_roots`).
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
