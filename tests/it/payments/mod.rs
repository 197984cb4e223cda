//! People pay: checkout, webhook, portal, and what the account has in the end.

mod attacked;
mod checkout;
mod forged;
mod kills;
mod life;
mod notified;
mod orders;
pub mod shop;
