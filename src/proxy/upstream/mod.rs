//! The provider's side of a call: [`request`] serializes it, [`forward`] sends it by [`client`] to a checked
//! address, [`lifetime`] bounds the wait for its answer.

pub mod client;
pub mod connection;
pub mod drain;
pub mod forward;
pub mod lifetime;
pub mod request;
