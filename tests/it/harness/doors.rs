//! A gateway with a plain and a TLS listener; tunnels give plain-socket clients access to both.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::authority::Authority;
use super::gateway::Gateway;
use super::http2::Trust;
use super::setup::Setup;

pub const LOOPBACK: &str = "DNS:localhost, IP:127.0.0.1, IP:::1";

pub struct Doors {
    pub gateway: Gateway,
    pub tls: SocketAddr,
    pub ca: PathBuf,
    tunnel: Tunnel,
    _authority: Authority,
}

impl Doors {
    /// Starts a gateway; `server` has the settings of that section except `listen`.
    #[track_caller]
    pub fn start(setup: Setup, server: Value) -> Doors {
        let authority = Authority::new();
        let (cert, key) = authority.issue("server", LOOPBACK);
        let (gateway, tls) = start_tls(setup, &json!({"cert": cert, "key": key}), server);
        let ca = authority.ca();
        Doors {
            gateway,
            tls,
            tunnel: Tunnel::start(tls, ca.clone()),
            ca,
            _authority: authority,
        }
    }

    /// Name and address of each entry.
    pub fn all(&self) -> [(&'static str, SocketAddr); 2] {
        [
            ("plain", self.gateway.addr()),
            ("over TLS", self.tunnel.addr),
        ]
    }
}

/// A gateway with a plain listener and one with these TLS settings; the address of the latter.
#[track_caller]
pub fn start_tls(setup: Setup, tls: &Value, mut server: Value) -> (Gateway, SocketAddr) {
    server["listen"] = json!(["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": tls}]);
    let gateway = Gateway::start(setup.yaml(&format!("server: {server}")));
    let line = gateway.wait_log("Listening on https://");
    let (_, address) = line.split_once("https://").expect("an address");
    let address = address.trim().parse().expect("an address");
    (gateway, address)
}

/// Accepts plain connections and forwards them over TLS, as HTTP/1.1.
struct Tunnel {
    addr: SocketAddr,
    _runtime: Runtime,
}

impl Tunnel {
    fn start(to: SocketAddr, ca: PathBuf) -> Tunnel {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let ca = Arc::new(ca);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(carry(socket, to, ca.clone()));
            }
        });
        Tunnel {
            addr,
            _runtime: runtime,
        }
    }
}

async fn carry(mut socket: TcpStream, to: SocketAddr, ca: Arc<PathBuf>) {
    let trust = Trust {
        ca: Some(&ca),
        alpn: &[b"http/1.1"],
        ..Trust::default()
    };
    let connected = tokio::time::timeout(Duration::from_secs(30), trust.connect(to, "localhost"));
    // A client whose server is gone sees a closed socket.
    if let Ok(Ok(mut stream)) = connected.await {
        let _ = copy_bidirectional(&mut socket, &mut stream).await;
    }
}
