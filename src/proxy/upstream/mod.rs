//! The provider's side of a call: the request as it leaves, a connection to a checked address, the heartbeat
//! of the hold while an answer is awaited.

pub mod client;
pub mod connection;
pub mod forward;
pub mod heartbeat;
pub mod names;
