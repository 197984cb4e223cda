//! TLS of a listener: its certificates, chosen by the name that is asked for and followed when their files change.
//!
//! TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, no early data. A certificate that cannot be read is an error at the
//! start; later on the last good one stays and the log says why.

use crate::settings::{Certificate, Tls};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// Interval at which the files are looked at.
pub const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// The certificates of a listener.
#[derive(Debug)]
pub struct Certificates {
    written: Vec<Certificate>,
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// Each with when its files were written.
    keys: Vec<(Arc<CertifiedKey>, Stamp)>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

type Stamp = [Option<SystemTime>; 2];

impl Certificates {
    pub fn load(tls: &Tls) -> Result<Certificates, String> {
        let mut keys = Vec::new();
        for certificate in &tls.certificates {
            keys.push((load_key(certificate)?, stamp(certificate)));
        }
        Ok(Certificates {
            written: tls.certificates.clone(),
            loaded: RwLock::new(Loaded::of(keys)),
        })
    }

    /// Loads what has changed since.
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
                    // Perhaps only one of two files is there yet: it is tried again when they change.
                    log::error!("{why}; the certificate before it stays");
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
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Loaded::of(keys);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
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

    /// The one for this name, the one for all names at its level, or the first.
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

/// The names that a certificate is for, in lower case.
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

/// Reads a file. Of a pipe or a device nobody knows when it ends.
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

/// What a listener needs to speak TLS, and its certificates, to be followed.
pub fn load(tls: &Tls) -> Result<(Arc<ServerConfig>, Arc<Certificates>), String> {
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
