//! The gateway as a process and as a library: start, stop, handover, and the bill of materials.

mod admin_listen;
mod commands;
pub mod library;
mod sbom;
mod start;
pub mod stop;
