//! MOVES. The way of a request, over Pingora's phases. The only place with Pingora's session.
//!
//! `pipeline` is the story; each step has a file of its own and shares one word with it.

pub mod admit;
pub mod client;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod intake;
pub mod models;
pub mod ops;
pub mod pipeline;
pub mod record;
pub mod relay;
pub mod reply;
pub mod route;
pub mod settle;
pub mod shell;
pub mod strict;
pub mod traffic;
pub mod upstream;
pub mod watch;
