//! The end of a call: its charge, the end of its hold, one usage record. It runs on every way out.

pub mod record;
pub mod settle;
