//! Payments of a tenant: what is for sale, the way to pay for it, and what Stripe tells afterwards.
//!
//! [`checkout`] and [`portal`] send a person to Stripe; nothing is granted there. [`webhook`] takes Stripe's events,
//! [`events`] finds whose they are, and [`purchase`] changes the account by what Stripe answers when it is asked.

mod catalogue;
pub(super) mod checkout;
pub(super) mod ending;
mod events;
pub(super) mod history;
mod owner;
pub(super) mod pages;
pub(super) mod plans;
pub(super) mod portal;
mod purchase;
pub mod tenant_account;
mod told;
pub(super) mod webhook;
