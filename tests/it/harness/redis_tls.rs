//! A redis-server behind TLS, with an authority and a certificate made for this one test.
//!
//! Beside the TLS port it has a plain one, for the test's own commands only.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::dir::TempDir;
use super::net::free_port;
use super::process::openssl;
use super::redis::Redis;

const AUTHORITY: &str = "\
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = ResuLLM test authority
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
";

pub struct RedisTls {
    redis: Redis,
    certificates: TempDir,
    port: u16,
}

impl RedisTls {
    /// Fails, with the server's log, where redis-server was built without TLS.
    #[track_caller]
    pub fn start() -> RedisTls {
        let certificates = TempDir::new();
        issue(certificates.path());
        let port = free_port();
        let path = |name: &str| certificates.file(name).to_string_lossy().into_owned();
        let redis = Redis::with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path("server.pem"),
            "--tls-key-file",
            &path("server.key"),
            "--tls-ca-cert-file",
            &path("ca.pem"),
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
            certificates,
            port,
        }
    }

    pub fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that a client has to trust, in PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.certificates.file("ca.pem")
    }

    /// The same server by its plain port.
    pub fn plain(&self) -> &Redis {
        &self.redis
    }
}

fn issue(dir: &Path) {
    std::fs::write(dir.join("authority.cnf"), AUTHORITY).expect("the config of openssl");
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(
        dir,
        &format!("req -x509 -config authority.cnf {new_key} -keyout ca.key -out ca.pem -days 2"),
    );
    run(
        dir,
        &format!(
            "req -new -config authority.cnf {new_key} -subj /CN=localhost \
             -keyout server.key -out server.csr"
        ),
    );
    run(
        dir,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile authority.cnf -extensions server -out server.pem",
    );
}

fn run(dir: &Path, arguments: &str) {
    let output = openssl()
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    assert!(
        output.status.success(),
        "openssl {arguments}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
