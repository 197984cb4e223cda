//! JSON of the model's objects as Stripe's API and its events have it, in both shapes.
//!
//! Pure: data in, JSON out. Members that nobody reads are left out.

mod billing;
mod payments;

pub(super) use billing::{invoice, invoice_payment, line, subscription};
pub(super) use payments::{
    charge, checkout_session, customer, dispute, payment_intent, portal_session, price, refund,
};
