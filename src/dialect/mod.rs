//! READS. The providers' wire formats: bytes in, facts out.
//!
//! A dialect is the shape of an API; an endpoint is configuration. A new vendor that speaks OpenAI
//! is configuration; a new API is one file here. No I/O, no async: a meter is fed and asked.

pub mod call;
pub mod error;
pub mod openai;
pub mod prompt;
pub mod splice;
pub mod sse;
