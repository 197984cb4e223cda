//! The ledger's promise: no key gets more than it is worth, and the charge matches what was served.
//! Holds, leases, crashes, prices and token counts.

pub mod crash;
mod exact;
mod in_flight;
mod leases;
mod ledger;
mod prices;
mod prices_page;
mod recordings;
mod served;
mod tokenizers;
