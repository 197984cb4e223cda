//! Connections, from the moment they are accepted: who is there, which protocol, and one request after the other.
//!
//! Whatever comes in is waited for by a deadline: the words of a balancer, TLS, the first bytes that say which protocol
//! it is. A connection stays on the thread that serves it, and so do the streams on it.

use super::connection::{Connection, Limits, NoRequest};
use super::gateway::{Gateway, Side};
use super::http1::{Home, Http1, Unread};
use super::pipeline::Pipeline;
use super::places::Seat;
use super::preamble::{self, Preamble};
use super::streams::{Arrived, Service};
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

/// What serves every connection.
pub struct Front {
    pipeline: Arc<Pipeline>,
    public: Arc<HttpProxy<Gateway>>,
    ops: Arc<HttpProxy<Gateway>>,
}

/// What a listener's connections have in common.
pub struct Door {
    pub tls: Option<Acceptor>,
    /// Balancers say who is behind them before anything else.
    pub proxy_protocol: bool,
    pub side: Side,
}

/// A connection as it was accepted.
pub struct Accepted {
    pub socket: TcpStream,
    pub peer: SocketAddr,
    pub door: Arc<Door>,
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

    /// Time for what a client must say before it can ask anything.
    fn deadline(&self) -> Duration {
        self.pipeline.local.settings.server.header_timeout
    }

    /// Serves a connection to its end.
    pub async fn serve(&self, accepted: Accepted, shutdown: &ShutdownWatch) {
        let Accepted {
            mut socket,
            mut peer,
            door,
            mut seat,
        } = accepted;
        // A socket that is gone already fails where it is read.
        let _ = socket.set_nodelay(true);
        if door.proxy_protocol {
            let said = tokio::time::timeout(self.deadline(), self.introduced(&mut socket, peer));
            match said.await {
                Ok(Some(Preamble::Local)) => {}
                Ok(Some(Preamble::For(client))) => {
                    peer = client;
                    // It takes its own place and leaves the balancer's.
                    seat = match self.pipeline.places.seat(client.ip()) {
                        Ok(seat) => Some(seat),
                        Err(_) => return,
                    };
                }
                Ok(None) | Err(_) => return,
            }
        }
        let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
        let _ = digest.peer_addr.set(Some(peer.into()));
        let mut stream = Socket::from(socket);
        stream.set_socket_digest(digest);
        let stream: Stream = match &door.tls {
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
        let proxy = match door.side {
            Side::Public => &self.public,
            Side::Ops => &self.ops,
        };
        let service = Service {
            pipeline: &self.pipeline,
            proxy,
            shutdown,
            deadline: self.deadline(),
        };
        let arrived = Arrived {
            stream,
            peer,
            is_public: door.side == Side::Public,
        };
        match arrived.stream.selected_alpn_proto() {
            Some(ALPN::H2) => service.http2(arrived).await,
            _ => self.http1(&service, arrived).await,
        }
        drop(seat);
    }

    /// What a balancer says of whom it speaks for. `None`: it may not say so, or says something else.
    async fn introduced(&self, socket: &mut TcpStream, peer: SocketAddr) -> Option<Preamble> {
        if !self.pipeline.places.is_trusted(peer.ip()) {
            return None;
        }
        let mut fixed = [0; preamble::FIXED_BYTES];
        socket.read_exact(&mut fixed).await.ok()?;
        let mut rest = vec![0; preamble::rest(&fixed).ok()?];
        socket.read_exact(&mut rest).await.ok()?;
        preamble::read(&fixed, &rest).ok()
    }

    /// A connection of HTTP/1.1, to its end; or of HTTP/2, where its first bytes say so.
    async fn http1(&self, service: &Service<'_>, arrived: Arrived) {
        let limits = Limits {
            head: service.deadline,
            write: self.pipeline.local.settings.accounts.hold_ttl / 4,
        };
        let Arrived {
            stream,
            peer,
            is_public,
        } = arrived;
        let may_upgrade = stream.get_ssl_digest().is_none();
        let home = Home::default();
        let mut connection = Box::new(Connection::new(stream, limits, may_upgrade));
        let mut stop = service.shutdown.clone();
        let mut draining = pin!(async move {
            let _ = stop.wait_for(|draining| *draining).await;
        });
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
                Err(NoRequest::TooSlow) => Err(Unread::TooSlow),
                Err(NoRequest::Refused(refused)) => Err(Unread::Refused(refused)),
                Err(NoRequest::Http2) => {
                    let Some(stream) = connection.into_stream() else {
                        return;
                    };
                    let arrived = Arrived {
                        stream,
                        peer,
                        is_public,
                    };
                    return Box::pin(service.http2(arrived)).await;
                }
            };
            let is_refused = matches!(request, Err(Unread::Refused(_)));
            let session = Http1::new(connection, home.clone(), request, peer);
            let session = ServerSession::new_custom(Box::new(session));
            let served = service.proxy.process_new_http(session, service.shutdown);
            served.await;
            // It comes back from every request, however that ended.
            let Some(back) = home.take() else { return };
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
