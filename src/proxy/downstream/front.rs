//! Serves accepted connections: PROXY header, TLS handshake, protocol detection, then one request after the
//! other.
//!
//! Each step before the first request must end within `server.header_timeout`.
//! A connection and its HTTP/2 streams stay on the thread that serves it, never on another.

use crate::proxy::call::Proxy;
use crate::proxy::downstream::connection::{Connection, ConnectionTimeouts, NoRequest};
use crate::proxy::downstream::http1::{HeadFault, Http1, ReturnSlot};
use crate::proxy::downstream::proxy_protocol::{self, ProxyHeader};
use crate::proxy::downstream::rejection::reject;
use crate::proxy::downstream::session::SessionLimits;
use crate::proxy::downstream::streams::{Established, Service};
use crate::proxy::gateway::Gateway;
use crate::proxy::limits::connections::ConnectionPermit;
use crate::proxy::side::Side;
use pingora::apps::{HttpServerApp, HttpServerOptions};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, GetSocketDigest, SocketDigest, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Server of all connections, with one Pingora service for each kind of listener ([`Side`]).
pub struct ConnectionServer {
    proxy: Arc<Proxy>,
    public: Arc<HttpProxy<Gateway>>,
    admin: Arc<HttpProxy<Gateway>>,
    ops: Arc<HttpProxy<Gateway>>,
}

/// Protocol and audience of a listener's connections, from `server.listen`, `server.admin_listen` or `server.ops_listen`.
pub struct ListenerSpec {
    pub tls: Option<Acceptor>,
    /// Whether each connection begins with a PROXY protocol header (`proxy_protocol` of the listener).
    pub proxy_protocol: bool,
    pub side: Side,
}

/// Accepted TCP connection, before any byte was read.
pub struct Accepted {
    pub socket: TcpStream,
    pub peer: SocketAddr,
    pub listener: Arc<ListenerSpec>,
    /// Permit of the connection. `None` on `server.ops_listen`, which is not limited.
    pub permit: Option<ConnectionPermit>,
}

/// Builds Pingora's proxy service for the listeners of a [`Side`].
fn service(proxy: &Arc<Proxy>, side: Side) -> Arc<HttpProxy<Gateway>> {
    let conf = Arc::new(ServerConf::default());
    let gateway = Gateway {
        proxy: proxy.clone(),
        side,
    };
    let mut service = http_proxy(&conf, gateway);
    let mut options = HttpServerOptions::default();
    // Pingora passes `CONNECT` through, so that the gateway itself refuses it like other methods that it does
    // not serve.
    options.allow_connect_method_proxying = true;
    service.server_options = Some(options);
    Arc::new(service)
}

impl ConnectionServer {
    pub fn new(proxy: Arc<Proxy>) -> ConnectionServer {
        ConnectionServer {
            public: service(&proxy, Side::of_listen(&proxy.local.settings.server)),
            admin: service(&proxy, Side::Admin),
            ops: service(&proxy, Side::Ops),
            proxy,
        }
    }

    /// Timeout of each step before a request: PROXY header, TLS, preface.
    fn deadline(&self) -> Duration {
        self.proxy.local.settings.server.header_timeout
    }

    /// Serves a connection until it closes.
    pub async fn serve(&self, accepted: Accepted, shutdown: &ShutdownWatch) {
        let Accepted {
            mut socket,
            mut peer,
            listener,
            mut permit,
        } = accepted;
        // Ignored: if the socket is dead, the first read reports it.
        let _ = socket.set_nodelay(true);
        if listener.proxy_protocol {
            let said = tokio::time::timeout(self.deadline(), self.proxy_header(&mut socket, peer));
            match said.await {
                Ok(Some(ProxyHeader::Local)) => {}
                Ok(Some(ProxyHeader::For(client))) => {
                    peer = client;
                    // The permit for the client's address replaces the load balancer's.
                    permit = match self.proxy.limits.connections.acquire(client.ip()) {
                        Ok(permit) => Some(permit),
                        Err(full) => {
                            let is_tls = listener.tls.is_some();
                            return reject(socket, client.ip(), full, is_tls, &self.proxy.metrics);
                        }
                    };
                }
                Ok(None) | Err(_) => return,
            }
        }
        let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
        let _ = digest.peer_addr.set(Some(peer.into()));
        let mut stream = Socket::from(socket);
        stream.set_socket_digest(digest);
        let stream: Stream = match &listener.tls {
            None => Box::new(stream),
            Some(acceptor) => {
                // Boxed: the handshake's future is large and would stay in the connection's own for its whole
                // lifetime.
                let handshake = Box::pin(acceptor.tls_handshake(stream));
                match tokio::time::timeout(self.deadline(), handshake).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(_)) | Err(_) => {
                        self.proxy.metrics.failed_handshakes.add(1);
                        return;
                    }
                }
            }
        };
        let proxy = match listener.side {
            Side::Everyone | Side::Public => &self.public,
            Side::Admin => &self.admin,
            Side::Ops => &self.ops,
        };
        let service = Service {
            parts: &self.proxy,
            proxy,
            shutdown,
            deadline: self.deadline(),
        };
        let established = Established {
            stream,
            peer,
            is_limited: listener.side.is_limited(),
        };
        match established.stream.selected_alpn_proto() {
            Some(ALPN::H2) => service.http2(established).await,
            _ => self.http1(&service, established).await,
        }
        drop(permit);
    }

    /// Reads the PROXY header. `None`: the peer is not in `server.trusted_proxies`, or the header is
    /// malformed.
    async fn proxy_header(&self, socket: &mut TcpStream, peer: SocketAddr) -> Option<ProxyHeader> {
        if !self.proxy.limits.connections.is_trusted(peer.ip()) {
            return None;
        }
        let mut fixed = [0; proxy_protocol::FIXED_BYTES];
        socket.read_exact(&mut fixed).await.ok()?;
        let mut rest = vec![0; proxy_protocol::rest(&fixed).ok()?];
        socket.read_exact(&mut rest).await.ok()?;
        proxy_protocol::read(&fixed, &rest).ok()
    }

    /// Serves an HTTP/1.1 connection until it closes, or an HTTP/2 one if it starts with the preface (h2c).
    async fn http1(&self, service: &Service<'_>, established: Established) {
        let limits = ConnectionTimeouts {
            head: service.deadline,
            write: SessionLimits::of(&self.proxy.local.settings).write,
        };
        let Established {
            stream,
            peer,
            is_limited,
        } = established;
        let may_upgrade = stream.get_ssl_digest().is_none();
        let slot = ReturnSlot::default();
        let mut connection = Box::new(Connection::new(stream, limits, may_upgrade));
        let mut draining = pin!(service.draining());
        let mut is_draining = false;
        loop {
            let next = tokio::select! {
                biased;
                next = connection.next(self.proxy.limits.connections.is_nearly_full()) => next,
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    continue;
                }
                // During a drain an idle connection is closed; one that has begun a request is served first.
                () = std::future::ready(()), if is_draining && connection.is_idle() => break,
            };
            let request = match next {
                Ok(request) => Ok(request),
                Err(NoRequest::Gone) => break,
                Err(NoRequest::TooSlow) => Err(HeadFault::TooSlow),
                Err(NoRequest::Refused(refused)) => Err(HeadFault::Refused(refused)),
                Err(NoRequest::Http2) => {
                    let Some(stream) = connection.into_stream() else {
                        return;
                    };
                    let established = Established {
                        stream,
                        peer,
                        is_limited,
                    };
                    return Box::pin(service.http2(established)).await;
                }
            };
            let is_refused = matches!(request, Err(HeadFault::Refused(_)));
            let session = Http1::new(connection, slot.clone(), request, peer);
            let session = ServerSession::new_custom(Box::new(session));
            let served = service.proxy.process_new_http(session, service.shutdown);
            served.await;
            // `Http1` returns the connection when it is dropped, whatever ended the request.
            let Some(back) = slot.take() else { return };
            connection = back;
            if is_refused {
                connection.linger().await;
            }
            if !connection.keeps() {
                break;
            }
        }
        connection.close().await;
    }
}
