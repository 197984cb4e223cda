//! The one integration binary: the built gateway, real stores, scripted providers.

mod harness;

mod harness_itself;
mod store_contract;
mod store_histories;
