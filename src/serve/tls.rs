//! TLS of a listener: certificates selected by SNI and reloaded when their files change.
//!
//! TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, no early data. An unreadable certificate fails the start. In
//! a running process a failed reload keeps the last good certificate and logs an error.

use crate::settings::{Certificate, Tls};
use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Interval at which the files' modification times are checked.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Certificates of one listener; rustls picks one per handshake through `ResolvesServerCert`.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// File paths from the settings, in the same order as [`Loaded::keys`].
    written: Vec<Certificate>,
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// Each with the [`Stamp`] of the files it was loaded from.
    keys: Vec<(Arc<CertifiedKey>, Stamp)>,
    /// By DNS name in lower case, wildcards (`*.example.com`) included. The first certificate wins.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

/// Modification times of the `cert` and the `key` file.
type Stamp = [Option<SystemTime>; 2];

impl Certificates {
    pub fn load(tls: &Tls) -> Result<Certificates, String> {
        let mut keys = Vec::new();
        for certificate in &tls.certificates() {
            keys.push((load_key(certificate)?, stamp(certificate)));
        }
        Ok(Certificates {
            written: tls.certificates(),
            loaded: RwLock::new(Loaded::of(keys)),
        })
    }

    /// Reloads the certificates whose files changed since they were last read.
    pub fn follow(&self) {
        for (place, certificate) in self.written.iter().enumerate() {
            let now = stamp(certificate);
            let before = self.read().keys.get(place).map(|(_, stamp)| *stamp);
            if before == Some(now) {
                continue;
            }
            let file = certificate.cert.display();
            let key = match load_key(certificate) {
                Ok(key) => key,
                Err(why) => {
                    // Perhaps only one of the two files was replaced yet. The new stamp is kept, so the next
                    // change retries.
                    log::error!(
                        "{why}; the certificate before it stays in use, and a change of the files is tried again"
                    );
                    self.replace(place, None, now);
                    continue;
                }
            };
            self.replace(place, Some(key), now);
            log::info!("Loaded the certificate {file}");
        }
    }

    fn replace(&self, place: usize, key: Option<Arc<CertifiedKey>>, stamp: Stamp) {
        let mut keys = self.read().keys.clone();
        if let Some(slot) = keys.get_mut(place) {
            *slot = (key.unwrap_or_else(|| slot.0.clone()), stamp);
        }
        *self.loaded.write() = Loaded::of(keys);
    }

    fn read(&self) -> parking_lot::RwLockReadGuard<'_, Loaded> {
        self.loaded.read()
    }
}

impl Loaded {
    fn of(keys: Vec<(Arc<CertifiedKey>, Stamp)>) -> Loaded {
        let mut by_name = HashMap::new();
        for (key, _) in &keys {
            for name in names(key) {
                by_name.entry(name).or_insert_with(|| key.clone());
            }
        }
        Loaded { keys, by_name }
    }

    /// Selects the certificate for an SNI name: exact match, then wildcard (`*.` and the rest), then the
    /// first one.
    fn of_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let exact = name.and_then(|name| self.by_name.get(name));
        let wild = || {
            let (_, rest) = name?.split_once('.')?;
            self.by_name.get(&format!("*.{rest}"))
        };
        let found = exact
            .or_else(wild)
            .or(self.keys.first().map(|(key, _)| key));
        found.cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.read().of_name(name.as_deref())
    }
}

/// DNS names (`subjectAltName`) of a certificate, in lower case.
fn names(key: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = key.cert.first() else {
        return Vec::new();
    };
    webpki::EndEntityCert::try_from(leaf).map_or_else(
        |_| Vec::new(),
        |cert| {
            cert.valid_dns_names()
                .map(str::to_ascii_lowercase)
                .collect()
        },
    )
}

fn stamp(certificate: &Certificate) -> Stamp {
    let changed = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    [changed(&certificate.cert), changed(&certificate.key)]
}

/// Reads a regular file. Pipes and devices are refused: reading one might never end.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        std::fs::read(path)
    };
    read().map_err(|error| error.to_string())
}

fn load_key(certificate: &Certificate) -> Result<Arc<CertifiedKey>, String> {
    let chain = chain(&certificate.cert)?;
    let path = &certificate.key;
    let unreadable = |why: String| format!("Cannot read the private key {}: {why}", path.display());
    let pem = read_file(path).map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unreadable(error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
    key.map(Arc::new).map_err(|error| {
        let (cert, key) = (certificate.cert.display(), path.display());
        format!("The certificate {cert} and the key {key} cannot be used: {error}")
    })
}

/// Reads a PEM file of at least one certificate.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |why: String| format!("Cannot read the certificate {}: {why}", path.display());
    let pem = read_file(path).map_err(unreadable)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| unreadable(error.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable("there is none in it".to_owned()));
    }
    Ok(chain)
}

/// Returns the rustls configuration of a listener, and its certificates for reloading with
/// [`Certificates::follow`].
pub(crate) fn load(tls: &Tls) -> Result<(Arc<ServerConfig>, Arc<Certificates>), String> {
    let certificates = Arc::new(Certificates::load(tls)?);
    let config = config(tls, certificates.clone())?;
    Ok((Arc::new(config), certificates))
}

fn config(tls: &Tls, certificates: Arc<Certificates>) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: &dyn std::fmt::Display| format!("TLS cannot be set up: {error}");
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| failed(&error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in chain(path)? {
                roots.add(root).map_err(|error| failed(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| failed(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
