//! Connections, from the moment they are accepted: who is there, which protocol, and one request after the other.
//!
//! Each step before a request has a deadline: the header of the PROXY protocol, TLS, the first bytes, which say the
//! protocol. A connection stays on the thread that serves it, and so do the streams on it.

use crate::proxy::downstream::connection::{Connection, Limits, NoRequest};
use crate::proxy::downstream::http1::{HeadFault, Http1, ReturnSlot};
use crate::proxy::downstream::proxy_protocol::{self, ProxyHeader};
use crate::proxy::downstream::rejection::turn_away;
use crate::proxy::downstream::streams::{Established, Service};
use crate::proxy::gateway::{Gateway, Side};
use crate::proxy::limits::connections::Seat;
use crate::proxy::pipeline::Pipeline;
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

/// Server of every connection.
pub struct Front {
    pipeline: Arc<Pipeline>,
    public: Arc<HttpProxy<Gateway>>,
    ops: Arc<HttpProxy<Gateway>>,
}

/// Protocol and audience of a listener's connections.
pub struct ListenerSpec {
    pub tls: Option<Acceptor>,
    /// Each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    pub side: Side,
}

/// A connection as it was accepted.
pub struct Accepted {
    pub socket: TcpStream,
    pub peer: SocketAddr,
    pub listener: Arc<ListenerSpec>,
    /// Its place; the operator's own connections need none.
    pub seat: Option<Seat>,
}

fn proxy(pipeline: &Arc<Pipeline>, side: Side) -> Arc<HttpProxy<Gateway>> {
    let conf = Arc::new(ServerConf::default());
    let gateway = Gateway {
        pipeline: pipeline.clone(),
        side,
    };
    let mut proxy = http_proxy(&conf, gateway);
    let mut options = HttpServerOptions::default();
    // It is refused with the words of every other method.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    Arc::new(proxy)
}

impl Front {
    pub fn new(pipeline: Arc<Pipeline>) -> Front {
        Front {
            public: proxy(&pipeline, Side::Public),
            ops: proxy(&pipeline, Side::Ops),
            pipeline,
        }
    }

    /// Timeout of each step before a request: PROXY header, TLS, preface.
    fn deadline(&self) -> Duration {
        self.pipeline.local.settings.server.header_timeout
    }

    /// Serves a connection to its end.
    pub async fn serve(&self, accepted: Accepted, shutdown: &ShutdownWatch) {
        let Accepted {
            mut socket,
            mut peer,
            listener,
            mut seat,
        } = accepted;
        // A socket that is gone already fails where it is read.
        let _ = socket.set_nodelay(true);
        if listener.proxy_protocol {
            let said = tokio::time::timeout(self.deadline(), self.proxy_header(&mut socket, peer));
            match said.await {
                Ok(Some(ProxyHeader::Local)) => {}
                Ok(Some(ProxyHeader::For(client))) => {
                    peer = client;
                    // It takes its own place and leaves the balancer's.
                    seat = match self.pipeline.places.seat(client.ip()) {
                        Ok(seat) => Some(seat),
                        Err(full) => {
                            let is_tls = listener.tls.is_some();
                            return turn_away(socket, full, is_tls, &self.pipeline.metrics);
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
                // Its future is large, and over long before the connection is.
                let handshake = Box::pin(acceptor.tls_handshake(stream));
                match tokio::time::timeout(self.deadline(), handshake).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(_)) | Err(_) => {
                        self.pipeline.metrics.failed_handshakes.add(1);
                        return;
                    }
                }
            }
        };
        let proxy = match listener.side {
            Side::Public => &self.public,
            Side::Ops => &self.ops,
        };
        let service = Service {
            pipeline: &self.pipeline,
            proxy,
            shutdown,
            deadline: self.deadline(),
        };
        let established = Established {
            stream,
            peer,
            is_public: listener.side == Side::Public,
        };
        match established.stream.selected_alpn_proto() {
            Some(ALPN::H2) => service.http2(established).await,
            _ => self.http1(&service, established).await,
        }
        drop(seat);
    }

    /// Reads the PROXY header. `None`: its sender is not trusted, or sent something else.
    async fn proxy_header(&self, socket: &mut TcpStream, peer: SocketAddr) -> Option<ProxyHeader> {
        if !self.pipeline.places.is_trusted(peer.ip()) {
            return None;
        }
        let mut fixed = [0; proxy_protocol::FIXED_BYTES];
        socket.read_exact(&mut fixed).await.ok()?;
        let mut rest = vec![0; proxy_protocol::rest(&fixed).ok()?];
        socket.read_exact(&mut rest).await.ok()?;
        proxy_protocol::read(&fixed, &rest).ok()
    }

    /// A connection of HTTP/1.1, to its end; or of HTTP/2, where its first bytes say so.
    async fn http1(&self, service: &Service<'_>, established: Established) {
        let limits = Limits {
            head: service.deadline,
            write: self.pipeline.write_timeout(),
        };
        let Established {
            stream,
            peer,
            is_public,
        } = established;
        let may_upgrade = stream.get_ssl_digest().is_none();
        let slot = ReturnSlot::default();
        let mut connection = Box::new(Connection::new(stream, limits, may_upgrade));
        let mut draining = pin!(service.draining());
        let mut is_draining = false;
        loop {
            let next = tokio::select! {
                biased;
                next = connection.next(self.pipeline.places.is_crowded()) => next,
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    continue;
                }
                // A connection that waits for a next request may close; one that has begun it may not.
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
                        is_public,
                    };
                    return Box::pin(service.http2(established)).await;
                }
            };
            let is_refused = matches!(request, Err(HeadFault::Refused(_)));
            let session = Http1::new(connection, slot.clone(), request, peer);
            let session = ServerSession::new_custom(Box::new(session));
            let served = service.proxy.process_new_http(session, service.shutdown);
            served.await;
            // It comes back from every request, however that ended.
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
