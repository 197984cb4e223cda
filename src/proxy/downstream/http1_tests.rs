//! Tests of [`Http1`] under Pingora's own proxy path, which forwards upgraded sockets.

use super::*;
use crate::proxy::downstream::connection::ConnectionTimeouts;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::proxy::{ProxyHttp, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LIMITS: ConnectionTimeouts = ConnectionTimeouts {
    head: Duration::from_secs(5),
    write: Duration::from_secs(5),
};

/// [`ProxyHttp`] service that forwards every request to one address.
struct ForwardTo(std::net::SocketAddr);

#[async_trait]
impl ProxyHttp for ForwardTo {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _: &mut pingora::proxy::Session,
        (): &mut (),
    ) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Upstream that accepts an upgrade (101) and then echoes every read twice.
async fn echo(listener: TcpListener) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket"), "{head}");
    assert!(head.contains("sec-websocket-key: abc"), "{head}");
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nready";
    socket.write_all(agreed.as_bytes()).await.unwrap();
    let mut said = [0; 1024];
    loop {
        let length = socket.read(&mut said).await.unwrap();
        if length == 0 {
            return;
        }
        let twice = [&said[..length], &said[..length]].concat();
        socket.write_all(&twice).await.unwrap();
    }
}

async fn serve(listener: TcpListener, upstream: std::net::SocketAddr) {
    let (socket, peer) = listener.accept().await.unwrap();
    let proxy = Arc::new(http_proxy(
        &Arc::new(ServerConf::default()),
        ForwardTo(upstream),
    ));
    let stream = Box::new(Socket::from(socket));
    let mut connection = Box::new(Connection::new(stream, LIMITS, true));
    let request = connection.next(false).await.map_err(|_| HeadFault::TooSlow);
    let slot = ReturnSlot::default();
    let session = Http1::new(connection, slot.clone(), request, peer);
    let session = ServerSession::new_custom(Box::new(session));
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    proxy.process_new_http(session, &shutdown).await;
    let connection = slot.take().expect("it comes back");
    assert!(!connection.keeps());
    connection.close().await;
}

async fn until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(wanted.as_bytes()) {
        read.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_socket_passes_both_ways_until_either_side_ends() {
    let (front, back) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let (address, upstream) = (front.local_addr().unwrap(), back.local_addr().unwrap());
    let echoing = tokio::spawn(echo(back));
    let serving = tokio::spawn(serve(front, upstream));
    let talk = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = "GET /x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: abc\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = until(&mut socket, "ready").await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
        for word in ["one", "two", "three"] {
            socket.write_all(word.as_bytes()).await.unwrap();
            assert_eq!(
                until(&mut socket, &format!("{word}{word}")).await.len(),
                2 * word.len()
            );
        }
    };
    let timeout = Duration::from_secs(20);
    tokio::time::timeout(timeout, talk).await.unwrap();
    tokio::time::timeout(timeout, serving)
        .await
        .unwrap()
        .unwrap();
    tokio::time::timeout(timeout, echoing)
        .await
        .unwrap()
        .unwrap();
}

/// Pingora takes the end of a body that it hears of after the 101 for the end of the upgraded bytes.
#[tokio::test]
async fn body_of_a_forwarded_upgrade_is_open_until_its_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let head = "GET /x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let stream = Box::new(Socket::from(socket));
    let mut connection = Box::new(Connection::new(stream, LIMITS, true));
    let request = connection.next(false).await.map_err(|_| HeadFault::TooSlow);
    let mut session = Http1::new(connection, ReturnSlot::default(), request, peer);
    assert!(session.is_body_done() && session.is_body_empty());

    session.enable_retry_buffering();
    let open = (session.is_body_done(), session.is_body_empty());
    let refused = Box::new(ResponseHeader::build(400, None).unwrap());
    session.write_response_header(refused, false).await.unwrap();

    assert_eq!(open, (false, false));
    assert!(session.is_body_done());
}

#[test]
fn request_headers_are_borrowed_and_not_copied() {
    let mut bytes = bytes::BytesMut::from(&b"GET /a?b HTTP/1.1\r\nhost: x\r\nx: y\r\n\r\n"[..]);
    let request = crate::http1::head::take_request(&mut bytes, 0)
        .unwrap()
        .unwrap();
    let handoff = Arc::new(Handoff {
        request,
        fault: None,
        reusables: Mutex::default(),
        header_lines: Mutex::default(),
    });

    assert!(!is_upgrade(&handoff.request.fields));
    let plain = head(&handoff, false);
    let upgrade = head(&handoff, true);

    assert!(plain.headers.is_empty());
    assert_eq!((upgrade.uri.path(), upgrade.uri.query()), ("/a", Some("b")));
    assert_eq!(upgrade.headers["x"], "y");
    let found = plain.extensions.get::<Arc<Handoff>>().unwrap();
    assert_eq!(found.request.fields.get("x"), Some("y"));
}
