//! MOVES. One request, from Pingora's session to the provider and back.
//!
//! [`call`] is the story; each of its steps is a function of one of the folders here.

pub mod access;
pub mod admission;
pub mod attempts;
pub mod cache;
pub mod call;
pub mod counting;
pub mod downstream;
pub mod error;
pub mod exchange;
pub mod gateway;
pub mod http_date;
pub mod lazy_timer;
pub mod limits;
pub mod local_answer;
pub mod models;
pub mod ops;
pub mod outcome;
pub mod read_buffer;
pub mod relay;
pub mod request_id;
pub mod settlement;
pub mod side;
pub mod upstream;
