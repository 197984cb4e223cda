//! NOTIFIES: events for apps about their people, signed as Standard Webhooks, retried, bounded.
//!
//! [`event`] is what is told, [`signature`] how it is signed, and [`sending`] tries to deliver it for about three
//! quarters of an hour. Events wait in memory alone: nothing depends on them, and what they tell stands in the store.

pub mod event;
pub mod sending;
mod signature;
