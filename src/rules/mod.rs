//! DECIDES. Pure functions: accounts and leases, rate limits, prices and charges, tenant configs.
//!
//! A rule takes its inputs as arguments, `now` and nonces included, and returns the outcome. It must never do
//! I/O, read a clock, draw a random number or be async.

pub mod account;
pub mod amount;
pub mod app_event;
pub mod balance;
pub mod carry;
pub mod charge;
pub mod choice;
pub mod circuit;
pub mod config;
pub mod date;
pub mod digest;
pub mod egress;
pub mod entry;
pub mod families;
pub mod hashed_name;
pub mod health;
pub mod hosted;
pub mod identity;
pub mod issued_key;
pub mod key_choice;
pub mod lease_budget;
pub mod load;
pub mod lru;
pub mod model_name;
pub mod models;
pub mod money;
pub mod neighbours;
pub mod origin;
pub mod payments;
pub(crate) mod percent;
pub mod person;
pub mod posting;
pub mod price;
pub mod record;
pub mod redact;
pub mod refill;
pub mod seal;
pub mod server;
pub mod tenant;
pub mod window;

#[cfg(test)]
mod histories;
