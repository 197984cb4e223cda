//! The protocols of the load generator, and a dialer that opens their sockets.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Outcome, fault};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/1.1 over TLS
    Http1Tls,
    /// HTTP/2 with prior knowledge (`h2c`)
    Http2,
    /// HTTP/2 over TLS
    Http2Tls,
}

impl Protocol {
    pub fn is_secure(self) -> bool {
        matches!(self, Protocol::Http1Tls | Protocol::Http2Tls)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Http2Tls)
    }

    pub fn scheme(self) -> &'static str {
        match self.is_secure() {
            true => "https",
            false => "http",
        }
    }

    fn alpn(self) -> &'static [u8] {
        match self.is_http2() {
            true => b"h2",
            false => b"http/1.1",
        }
    }
}

impl fmt::Display for Protocol {
    /// Formats the name as on the command line.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Protocol::Http1 => "http1",
            Protocol::Http1Tls => "http1-tls",
            Protocol::Http2 => "http2",
            Protocol::Http2Tls => "http2-tls",
        })
    }
}

pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Opens sockets to one address.
pub struct Dialer {
    pub address: SocketAddr,
    pub protocol: Protocol,
    tls: Option<TlsConnector>,
}

impl Dialer {
    /// `trusted`: the certificate to trust, required for TLS protocols.
    pub fn new(address: SocketAddr, protocol: Protocol, trusted: Option<&Path>) -> Outcome<Dialer> {
        let tls = match (protocol.is_secure(), trusted) {
            (false, _) => None,
            (true, Some(file)) => Some(connector(protocol, file)?),
            (true, None) => return Err(fault("TLS needs --trust with a certificate")),
        };
        Ok(Dialer {
            address,
            protocol,
            tls,
        })
    }

    /// Connects, with a TLS handshake if needed; fails if ALPN does not select the protocol.
    pub async fn open(&self) -> io::Result<Box<dyn Socket>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = tls.connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(self.protocol.alpn()) {
            return Err(io::Error::other("the server chose another protocol"));
        }
        Ok(Box::new(stream))
    }
}

fn connector(protocol: Protocol, trusted: &Path) -> Outcome<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(trusted)?)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
