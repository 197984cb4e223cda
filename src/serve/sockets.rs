//! Listening sockets, and the files of their certificates.

use super::tls::Certificates;
use super::{listen, tls};
use crate::proxy::downstream::front::ListenerSpec;
use crate::proxy::side::Side;
use crate::settings::{Listener, Settings};
use pingora::listeners::tls::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Listening sockets of `server.listen`, `server.ops_listen` and `server.admin_listen`, each with the
/// [`ListenerSpec`] of its connections.
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
        let server = &settings.server;
        for listener in &server.listen {
            sockets.add(listener, Side::of_listen(server), &mut inherited)?;
        }
        // `admin_listen` comes last: port 0 takes inherited sockets in order, and older versions have none for it.
        if let Some(address) = &server.ops_listen {
            let listener = Listener::at(address.clone());
            sockets.add(&listener, Side::Ops, &mut inherited)?;
        }
        if let Some(listener) = &server.admin_listen {
            sockets.add(listener, Side::Admin, &mut inherited)?;
        }
        Ok(sockets)
    }

    /// Adds the sockets of a [`Listener`].
    fn add(
        &mut self,
        listener: &Listener,
        side: Side,
        inherited: &mut Vec<TcpListener>,
    ) -> Result<(), String> {
        let tls = match &listener.tls {
            None => None,
            Some(tls) => {
                let (config, certificates) = tls::load(tls)?;
                self.followed.push(certificates);
                Some(Acceptor::from_server_config(config))
            }
        };
        let spec = Arc::new(ListenerSpec {
            tls,
            proxy_protocol: listener.proxy_protocol,
            side,
        });
        for listener in listen::listen(&listener.address.to_string(), inherited)? {
            self.all.push((listener, spec.clone()));
        }
        Ok(())
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
            let scheme = match spec.tls {
                None => "http",
                Some(_) => "https",
            };
            match spec.side {
                Side::Everyone | Side::Public => log::info!("Listening on {scheme}://{address}"),
                Side::Admin => log::info!("Admin routes on {scheme}://{address}"),
                Side::Ops => log::info!("Metrics on {scheme}://{address}/metrics"),
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
