//! BILLS: Stripe as the gateway knows it, its few calls and its signed events.
//!
//! No SDK: [`client`] makes the calls over `fetch`, [`objects`] reads what comes back and what events carry, in the
//! shapes before and after API version 2025-03-31, and [`signature`] says whether an event is Stripe's. What follows
//! from any of it is decided in `rules/payments`.

pub mod client;
pub mod objects;
pub mod prices;
pub mod signature;
pub mod stand_in;
