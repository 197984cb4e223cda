//! Minimal HTTP/1.1 for the load generator and the mock provider: parses heads, decodes bodies, counts SSE
//! events.
//!
//! Strict enough to detect a malformed response, and cheap enough that neither end is the bottleneck.

mod body;
mod events;
mod inbox;

pub use body::{Body, Framing};
pub use events::Events;
pub use inbox::{Inbox, Request};
