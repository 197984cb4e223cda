//! The TLS certificate that all contenders use: an ECDSA P-256 key, the most common kind on the web.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, fault};

/// Paths of the PEM files.
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Creates a self-signed certificate for `127.0.0.1` with `openssl`, valid for two days.
    pub fn make(dir: &Path) -> Outcome<Certificate> {
        let (chain, key) = (dir.join("certificate.pem"), dir.join("certificate.key"));
        let output = Command::new("openssl")
            .args("req -x509 -nodes -days 2 -subj /CN=bench".split(' '))
            .args("-newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '))
            .args(
                "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
                    .split(' '),
            )
            .arg("-out")
            .arg(&chain)
            .arg("-keyout")
            .arg(&key)
            .output()
            .map_err(|error| fault(format!("openssl: {error}")))?;
        match output.status.success() {
            true => Ok(Certificate { chain, key }),
            false => {
                let text = String::from_utf8_lossy(&output.stderr);
                Err(fault(format!("openssl: {}", text.trim())))
            }
        }
    }
}
