//! Facts about paid objects, as the rules take them: whichever shape they were told in, and whatever told them.

use crate::rules::amount::{Millis, Tokens};

/// A top-up whose price was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidTopUp {
    /// ID of the Checkout session: a session grants once.
    pub session: String,
    /// Name of the top-up in the tenant's config.
    pub item: String,
    /// Tokens that were promised when the session was made.
    pub tokens: Tokens,
    /// Amount paid, in the currency's smallest unit.
    pub amount: u64,
    /// Payment intent, by which refunds and disputes name the payment.
    pub intent: Option<String>,
    pub told: ToldBy,
}

/// Event that told a fact first, and when it was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldBy {
    pub event: String,
    pub at: Millis,
}

/// Paid invoice of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidInvoice {
    pub id: String,
    /// Moment of its creation, in seconds since 1970.
    pub created_seconds: u64,
    /// Amount of the whole invoice, in the currency's smallest unit.
    pub total: u64,
    pub lines: Vec<InvoiceLine>,
    /// Payment intents that have paid it.
    pub intents: Vec<String>,
}

/// Line of an invoice. A credit has a negative amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    /// Plan that its price buys; `None`: its price is in no group.
    pub price: Option<PlanPrice>,
    /// Amount after discounts, in the currency's smallest unit.
    pub amount: i64,
}

/// Price of a plan: `tokens` for `amount`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanPrice {
    pub amount: u64,
    pub tokens: Tokens,
}

/// Subscription as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionNow {
    pub id: String,
    pub customer: String,
    pub standing: SubscriptionStanding,
    /// Prices of its items.
    pub prices: Vec<String>,
    /// Group that its price stands for; `None`: its price is in no group.
    pub plan: Option<GroupPlan>,
}

/// Group that a subscription gives, with the tokens of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    pub group: String,
    pub price: String,
    pub tokens: Tokens,
    /// Tokens of a trial, once an account.
    pub trial_tokens: Tokens,
}

/// Standing of a subscription: its meaning for the account's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionStanding {
    /// `active`, or `past_due`: Stripe still tries to collect.
    Live,
    /// `trialing`.
    Trial,
    /// `unpaid`, `canceled`, `incomplete_expired`, `paused`, and whatever is added later.
    Ended,
    /// `incomplete`: the first payment is under way.
    Begun,
}

impl SubscriptionStanding {
    /// Reads Stripe's word for a status.
    pub fn of(status: &str) -> SubscriptionStanding {
        match status {
            "active" | "past_due" => SubscriptionStanding::Live,
            "trialing" => SubscriptionStanding::Trial,
            "incomplete" => SubscriptionStanding::Begun,
            _ => SubscriptionStanding::Ended,
        }
    }

    pub(super) fn gives_group(self) -> bool {
        matches!(
            self,
            SubscriptionStanding::Live | SubscriptionStanding::Trial
        )
    }
}
