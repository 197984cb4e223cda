//! MOVES. The way of a request, from Pingora's socket to the provider and back.
//!
//! `pipeline` is the story; each step has a file of its own and shares one word with it.

pub mod admit;
pub mod client;
pub mod connection;
pub mod cors;
pub mod counter;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod frames;
pub mod front;
pub mod gateway;
pub mod hosts;
pub mod http1;
pub mod http2;
pub mod intake;
pub mod lag;
pub mod models;
pub mod ops;
pub mod patience;
pub mod pipeline;
pub mod places;
pub mod preflight;
pub mod proxy_protocol;
pub mod record;
pub mod refusals;
pub mod relay;
pub mod reply;
pub mod room;
pub mod route;
pub mod scratch;
pub mod session;
pub mod settle;
pub mod strangers;
pub mod streams;
pub mod tally;
pub mod traffic;
pub mod turned_away;
pub mod upstream;
pub mod watch;
