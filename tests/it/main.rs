//! The one integration binary: the built gateway, real stores, scripted providers.

mod harness;

mod accounts;
mod admin;
mod chat;
mod crash;
mod harness_itself;
mod library;
mod regression;
mod sdks;
mod start;
mod stop;
mod store_contract;
mod store_histories;
mod tenants;
