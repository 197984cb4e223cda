//! The cache of answers: a call that somebody has made before gets the same answer, for a fee.
//!
//! The call was admitted before the cache is asked, so a hit needs a key with balance and a place in its window like
//! any other call. An error of the store is a miss.

pub mod entry;
pub mod flights;
pub mod plan;
pub mod stage;
pub mod tap;
