//! The one integration binary: the built gateway, real stores, scripted providers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test and its harness stop at the first thing that is not as it should be"
)]

mod api;
mod cache;
mod deploy;
mod docs;
mod failover;
mod faults;
mod fuzz;
mod harness;
mod image;
mod money;
mod payments;
mod people;
mod process;
mod readers;
mod regression;
mod sdk;
mod sign_in;
mod store;
mod stripe_stand_in;
mod telemetry;
