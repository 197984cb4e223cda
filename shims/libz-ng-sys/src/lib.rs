//! Pingora asks for zlib-ng, whose own crate needs cmake to build. The gateway compresses nothing,
//! so plain zlib, which a C compiler alone can build, stands in for it under the same names.

pub use libz_sys::*;
