//! The client's side of a request: connections and protocols, head, body, reply.
//!
//! No step here knows a provider or changes a balance. [`session`] hides the protocol from the other steps.

pub mod client_address;
pub mod connection;
pub mod cors;
pub mod frames;
pub mod front;
pub mod hosts;
pub mod http1;
pub mod http2;
pub mod intake;
pub mod preflight;
pub mod proxy_protocol;
pub mod rejection;
pub mod reply;
pub mod route;
pub mod session;
pub mod streams;
pub mod tally;
