//! The process around the proxy: what builds it, what runs it, what recovers a crashed one.
//!
//! Pingora serves the connections. Accepting, draining and handing over are done here because Pingora's own server
//! cannot report the port it was given for port 0, and sleeps for minutes on a graceful stop even when nothing is in
//! flight.

pub mod build;
pub mod handover;
pub mod life;
pub mod limits;
pub mod listen;
pub mod recover;
pub mod signals;
pub mod sockets;
mod stand_in;
pub mod tls;
pub mod workers;
