//! The result of something that was paid or billed: the ids of the objects that it made.
//!
//! Plain data, for tests and pages.

/// Ids of what a payment, a renewal or a plan change made; `None` where there was no such object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub customer: Option<String>,
    pub subscription: Option<String>,
    pub invoice: Option<String>,
    /// Absent where nothing was charged.
    pub payment_intent: Option<String>,
}
