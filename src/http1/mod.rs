//! FRAMES. HTTP/1.1 as bytes: heads and bodies taken apart and put together.
//!
//! Pure and incremental: bytes in, facts out, no socket and no clock. A request that two readers could
//! take for two different ones is refused here, before anything else looks at it.

pub mod body;
pub mod fields;
pub mod head;
pub mod write;
