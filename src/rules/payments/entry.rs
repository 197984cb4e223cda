//! [`PaymentEntry`]: one payment in a list, with what it grants and why.

use crate::rules::amount::{Millis, Tokens};

/// Payment of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentEntry {
    pub(crate) kind: PaymentKind,
    /// ID of the Checkout session, the invoice or the subscription.
    pub object: String,
    /// Moment when it was taken in.
    pub at: Millis,
    /// Event that told it first.
    pub event: String,
    /// Tokens that it grants.
    pub tokens: Tokens,
    /// Tokens of these that refunds and disputes took back, or would have taken had they not been spent.
    pub taken_back: Tokens,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PaymentKind {
    TopUp,
    Invoice,
    Trial,
}

impl PaymentKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            PaymentKind::TopUp => "topUp",
            PaymentKind::Invoice => "invoice",
            PaymentKind::Trial => "trial",
        }
    }
}
