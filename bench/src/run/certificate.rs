//! The certificate that every contender with TLS shows: of the curve that most of the web has.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, fault};

pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Its own issuer, for 127.0.0.1 and two days.
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
