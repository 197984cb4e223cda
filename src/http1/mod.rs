//! FRAMES. HTTP/1.1 as bytes: parses and serialises heads and bodies.
//!
//! Pure and incremental: bytes in, facts out, no socket and no clock. A request that two parsers could read
//! as different requests is refused here, before any other code sees it.

pub mod body;
pub mod fields;
pub mod head;
pub mod write;
