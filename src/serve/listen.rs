//! Sockets: from the addresses that the operator wrote to listeners.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted, also while one process takes over from another.
const BACKLOG: u32 = 4_096;
/// Free ports tried until one is free on both addresses of `localhost`.
const FREE_PORT_TRIES: usize = 20;

/// Every listener for these addresses, or a sentence that says which one cannot be had.
pub fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for address in addresses {
        let failed = |error: io::Error| format!("Cannot listen on {address}: {error}");
        match address.strip_prefix("localhost:").map(str::parse) {
            Some(Ok(port)) => listeners.extend(listen_on_localhost(port).map_err(failed)?),
            _ => {
                for address in address.to_socket_addrs().map_err(failed)? {
                    listeners.push(bind(address).map_err(failed)?);
                }
            }
        }
    }
    Ok(listeners)
}

/// `localhost` is both addresses, on one port, so that it does not matter which one a client picks.
fn listen_on_localhost(port: u16) -> io::Result<Vec<TcpListener>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let four = bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))?;
        let chosen = four.local_addr()?.port();
        match bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), chosen)) {
            Ok(six) => return Ok(vec![four, six]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 || tries == FREE_PORT_TRIES {
                    return Err(error);
                }
            }
            Err(error) => {
                log::warn!("No IPv6 here, listening on IPv4 alone: {error}");
                return Ok(vec![four]);
            }
        }
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
