//! The one integration binary: the built gateway, real stores, scripted providers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test and its harness stop at the first thing that is not as it should be"
)]

mod harness;

mod accounts;
mod admin;
mod agents;
mod agents_tools;
mod browsers;
mod chat;
mod crash;
mod exact;
mod failover;
mod faults;
mod frames;
mod frameworks;
mod fuzz;
mod harness_itself;
mod hosted;
mod http2;
mod in_flight;
mod leases;
mod library;
mod prices;
mod readers;
mod refusals;
mod regression;
mod sbom;
mod sdks;
mod sdks_calls;
mod sdks_errors;
mod sdks_provider;
mod sealing;
mod served;
mod silence;
mod start;
mod stop;
mod store_contract;
mod store_histories;
mod tenants;
mod tls;
mod tokenizers;
mod tokenizers_texts;
mod turns;
mod turns_scripts;
mod usage;
