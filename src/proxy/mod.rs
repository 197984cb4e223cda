//! MOVES. The way of a request, from Pingora's socket to the provider and back.
//!
//! `pipeline` is the story; its steps stand in rooms, one folder each.

pub mod admission;
pub mod downstream;
pub mod error;
pub mod exchange;
pub mod gateway;
pub mod lazy_timer;
pub mod limits;
pub mod models;
pub mod ops;
pub mod pipeline;
pub mod relay;
pub mod route;
pub mod scratch;
pub mod settlement;
pub mod upstream;
