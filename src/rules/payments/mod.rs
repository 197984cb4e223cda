//! Payments of an account: what each paid object grants, what refunds and disputes take back, and which group the
//! account's subscriptions give it.
//!
//! All of it follows from objects and not from events: a [`Payments`] is a set of facts, and what the account is owed is
//! a function of that set. So events may come in any order, more than once or never, and nothing is granted twice.
//! Nothing here knows a clock, a store or Stripe's wire format.

pub mod book;
pub mod entry;
pub mod facts;
pub mod invoices;
mod owed;

pub use owed::{Checkout, PaymentChange, Payments};

#[cfg(test)]
mod life_tests;
