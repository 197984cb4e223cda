//! A redis-server with TLS and a certificate authority of its own.
//!
//! A second, plain port is for the test's own commands.

use std::net::TcpStream;
use std::path::PathBuf;

use super::authority::Authority;
use super::net::free_port;
use super::redis::Redis;

pub struct RedisTls {
    redis: Redis,
    authority: Authority,
    port: u16,
}

impl RedisTls {
    /// Starts it; fails with the server's log if redis-server was built without TLS.
    #[track_caller]
    pub fn start() -> RedisTls {
        let authority = Authority::new();
        let names = "DNS:localhost, IP:127.0.0.1, IP:::1";
        let (cert, key) = authority.issue("server", names);
        let port = free_port();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let redis = Redis::with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &text(cert),
            "--tls-key-file",
            &text(key),
            "--tls-ca-cert-file",
            &text(authority.ca()),
            "--tls-auth-clients",
            "no",
        ]);
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_ok(),
            "redis-server does not listen on its TLS port:\n{}",
            redis.log()
        );
        RedisTls {
            redis,
            authority,
            port,
        }
    }

    pub fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// PEM file of the authority that clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.authority.ca()
    }

    /// The same server through its plain port.
    pub fn plain(&self) -> &Redis {
        &self.redis
    }
}
