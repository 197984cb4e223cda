//! HTTP/1.1 as both ends of a measurement need it: bytes come in, heads and decoded bodies come out.
//!
//! Strict enough that a broken answer is noticed, small enough that neither the generator nor the
//! provider is what is measured.

mod body;
mod events;
mod inbox;

pub use body::{Body, Framing};
pub use events::Events;
pub use inbox::{Inbox, Request};
