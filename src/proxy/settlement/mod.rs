//! Settlement, the end of a call: [`bill`] decides the charge, [`settle`] ends the hold, [`record`] writes
//! one usage record. Runs on every way out.

pub mod bill;
pub mod deliver;
pub mod members;
pub mod receipt;
pub mod record;
pub mod settle;
pub mod texts;
