//! Listening sockets, and the files of their certificates.

use super::tls::Certificates;
use super::{listen, tls};
use crate::proxy::downstream::front::ListenerSpec;
use crate::proxy::gateway::Side;
use crate::settings::Settings;
use pingora::listeners::tls::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Listening sockets of `server.listen` and `server.ops_listen`, each with the [`ListenerSpec`] of its
/// connections.
pub struct Sockets {
    pub all: Vec<(TcpListener, Arc<ListenerSpec>)>,
    /// Certificates to reload when their files change.
    pub(crate) followed: Vec<Arc<Certificates>>,
}

impl Sockets {
    /// Opens the sockets that the settings name, reusing those in `inherited` (handed over by the previous
    /// process).
    pub fn open(settings: &Settings, mut inherited: Vec<TcpListener>) -> Result<Sockets, String> {
        let mut sockets = Sockets {
            all: Vec::new(),
            followed: Vec::new(),
        };
        for listener in &settings.server.listen {
            let tls = match &listener.tls {
                None => None,
                Some(tls) => {
                    let (config, certificates) = tls::load(tls)?;
                    sockets.followed.push(certificates);
                    Some(Acceptor::from_server_config(config))
                }
            };
            let spec = Arc::new(ListenerSpec {
                tls,
                proxy_protocol: listener.proxy_protocol,
                side: Side::Public,
            });
            for listener in listen::listen(&listener.address.to_string(), &mut inherited)? {
                sockets.all.push((listener, spec.clone()));
            }
        }
        let spec = Arc::new(ListenerSpec {
            tls: None,
            proxy_protocol: false,
            side: Side::Ops,
        });
        if let Some(address) = &settings.server.ops_listen {
            for listener in listen::listen(&address.to_string(), &mut inherited)? {
                sockets.all.push((listener, spec.clone()));
            }
        }
        Ok(sockets)
    }

    /// Local addresses, in the order of the settings.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = self.all.iter();
        addresses.filter_map(|(listener, _)| listener.local_addr().ok())
    }

    /// Logs each address; with port 0 this is how the operator learns the real port.
    pub(crate) fn announce(&self) -> io::Result<()> {
        for (listener, spec) in &self.all {
            let address = listener.local_addr()?;
            match (spec.side, &spec.tls) {
                (Side::Public, None) => log::info!("Listening on http://{address}"),
                (Side::Public, Some(_)) => log::info!("Listening on https://{address}"),
                (Side::Ops, _) => log::info!("Metrics on http://{address}/metrics"),
            }
        }
        Ok(())
    }

    /// Duplicates of the sockets, to be handed over to a new process.
    pub fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self.all.iter();
        sockets
            .map(|(listener, _)| listener.as_fd().try_clone_to_owned())
            .collect()
    }
}

/// Reloads changed certificate files every [`tls::RELOAD_INTERVAL`], on a dedicated thread: a hanging file
/// system must not block anything else.
pub(crate) fn follow(followed: Vec<Arc<Certificates>>) {
    if followed.is_empty() {
        return;
    }
    let look = move || {
        loop {
            std::thread::sleep(tls::RELOAD_INTERVAL);
            for certificates in &followed {
                certificates.follow();
            }
        }
    };
    let thread = std::thread::Builder::new().name("certificates".to_owned());
    if let Err(error) = thread.spawn(look) {
        log::error!(
            "Certificate files cannot be watched: {error}. Renewed certificates need a restart"
        );
    }
}
