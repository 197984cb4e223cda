//! Opens the listening sockets for the addresses in the settings.
//!
//! After a hand-over, a process reuses the inherited sockets that its own settings name, closes the others
//! and opens those that are missing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use tokio::net::{TcpListener, TcpSocket};

/// Listen backlog: connections that may wait to be accepted, also during a hand-over.
pub(super) const BACKLOG: u32 = 4_096;
/// Attempts with port 0 until the chosen port is free on both `127.0.0.1` and `::1`.
const FREE_PORT_TRIES: usize = 20;

/// Returns the listeners for `address`, removing those it reuses from `inherited`. The error is a sentence
/// that names the address.
pub fn listen(address: &str, inherited: &mut Vec<TcpListener>) -> Result<Vec<TcpListener>, String> {
    let failed = |error: io::Error| format!("Cannot listen on {address}: {error}");
    if let Some(Ok(port)) = address.strip_prefix("localhost:").map(str::parse) {
        return listen_on_localhost(port, inherited).map_err(failed);
    }
    let addresses = address.to_socket_addrs().map_err(failed)?;
    let listeners = addresses.map(|address| take_or_bind(address, inherited));
    listeners.collect::<io::Result<_>>().map_err(failed)
}

/// Listens on `127.0.0.1` and `::1` with the same port, because clients resolve `localhost` to either one.
fn listen_on_localhost(
    port: u16,
    inherited: &mut Vec<TcpListener>,
) -> io::Result<Vec<TcpListener>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let four = take_or_bind(
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            inherited,
        )?;
        let chosen = four.local_addr()?.port();
        match take_or_bind(
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), chosen),
            inherited,
        ) {
            Ok(six) => return Ok(vec![four, six]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 || tries == FREE_PORT_TRIES {
                    return Err(error);
                }
            }
            Err(error) => {
                log::warn!(
                    "Cannot listen on [::1]: {error}. localhost is served on 127.0.0.1 alone"
                );
                return Ok(vec![four]);
            }
        }
    }
}

/// Takes the inherited listener of this address, or binds a new one. Port 0 matches any inherited port.
fn take_or_bind(address: SocketAddr, inherited: &mut Vec<TcpListener>) -> io::Result<TcpListener> {
    let fits = |listener: &TcpListener| {
        listener.local_addr().is_ok_and(|bound| {
            bound == address || (address.port() == 0 && bound.ip() == address.ip())
        })
    };
    match inherited.iter().position(fits) {
        Some(at) => Ok(inherited.remove(at)),
        None => bind(address),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn successor_keeps_named_sockets_and_opens_missing_ones() {
        let mut first = listen("127.0.0.1:0", &mut Vec::new()).unwrap();
        first.extend(listen("localhost:0", &mut Vec::new()).unwrap());
        let bound = addresses(&first);
        let mut inherited = first;
        let on_localhost = bound[1].to_string().replace("127.0.0.1", "localhost");
        let mut kept = listen(&on_localhost, &mut inherited).unwrap();
        kept.extend(listen("127.0.0.1:0", &mut inherited).unwrap());
        assert_eq!(addresses(&kept), [bound[1], bound[2], bound[0]]);
        assert!(inherited.is_empty());
        let opened = listen("127.0.0.1:0", &mut inherited).unwrap();
        assert!(!bound.contains(&addresses(&opened)[0]));
    }
}
