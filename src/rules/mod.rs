//!
//! No I/O, no clock, no randomness, no async: a rule takes what it needs and returns what it found.

pub mod account;
pub mod amount;
pub mod charge;
pub mod choice;
pub mod config;
pub mod date;
pub mod egress;
pub mod entry;
pub mod families;
pub mod hosted;
pub mod model_name;
pub mod models;
pub mod neighbours;
pub mod origin;
pub mod price;
pub mod purse;
pub mod record;
pub mod seal;
pub mod server;
pub mod strike;
pub mod tenant;
pub mod window;

#[cfg(test)]
mod histories;
