//! Payments: requests and answers below `/billing`, and the lists of `/admin/payments` and `/admin/users/{user}/payments`.

use crate::rules::amount::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Purchase of a group or a top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Checkout {
    /// Group to subscribe to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// One of the group's prices. Absent: its usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Name of a top-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_up: Option<String>,
    /// Page to come back to after the payment: of an origin in the tenant's `cors.origins`, or one of its
    /// `redirect_uris`. Stripe puts the session's ID in place of `{CHECKOUT_SESSION_ID}`.
    pub success_url: String,
    /// Page to come back to without a payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_url: Option<String>,
}

/// Page to come back to from the portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortalCall {
    /// A page such as `successUrl` of a checkout may be. Absent: the first origin of the tenant's `cors.origins`, or else
    /// the page of the portal's configuration in Stripe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
}

/// A page of Stripe's, for the person's browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckoutPage {
    /// Address of the page. It ends by itself.
    pub url: String,
}

/// Plans and top-ups of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plans {
    /// Groups that can be subscribed to.
    pub plans: Vec<SoldPlan>,
    /// Tokens that can be bought once.
    pub top_ups: Vec<TopUp>,
}

/// A group that is for sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoldPlan {
    /// Name of the group, for a checkout.
    pub group: String,
    /// Its prices, the usual one first.
    pub prices: Vec<PlanPrice>,
    /// Days for which a first subscription is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_days: Option<u64>,
    /// Requests that pass in any window; `null`: no limit.
    pub rate_limit: Option<u64>,
    /// Length of the window in seconds.
    pub rate_limit_window: Option<u64>,
    /// The only models of the group; `null`: all.
    pub models: Option<Vec<String>>,
}

/// A price of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanPrice {
    /// ID of the price in Stripe.
    pub price: String,
    /// Tokens that each period adds.
    pub tokens: Tokens,
    /// Amount of a period in the currency's smallest unit; `null`: Stripe does not say it now.
    pub amount: Option<u64>,
    /// Currency in three small letters.
    pub currency: Option<String>,
    /// Unit of the period: `month`, `year`, `week` or `day`.
    pub interval: Option<String>,
    /// Units of a period.
    pub interval_count: Option<u64>,
}

/// Tokens that can be bought once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopUp {
    /// Name of the top-up, for a checkout.
    pub top_up: String,
    /// Tokens that it adds to the balance.
    pub tokens: u64,
    /// ID of the price in Stripe.
    pub price: String,
    /// Amount in the currency's smallest unit; `null`: Stripe does not say it now.
    pub amount: Option<u64>,
    /// Currency in three small letters.
    pub currency: Option<String>,
}

/// An event of Stripe's, as far as it is described here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StripeEvent {
    /// ID of the event.
    pub id: String,
    /// `event`.
    pub object: String,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookTaken {
    /// Always `true`: Stripe need not send it again.
    pub received: bool,
    /// Reason why it does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
    /// Tokens that it has added to a balance, or taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// Group that an account has moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Events of Stripe, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentEvents<E = PaymentEvent> {
    /// At most 200.
    pub events: Vec<E>,
}

/// An event of Stripe, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentEvent {
    /// Moment when it came.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// ID of the event.
    pub event: String,
    /// Its type, in Stripe's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Account that it is about, as usage records name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Tokens that it has added to the balance, or taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// Group that the account has moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Reason why it does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// Payments of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountPayments {
    /// Stripe's customer; `null`: none yet.
    pub customer: Option<String>,
    /// Subscriptions that give the account its group.
    pub subscriptions: Vec<String>,
    /// Whether a dispute keeps the account from buying.
    pub is_blocked: bool,
    /// Oldest first.
    pub payments: Vec<Payment>,
}

/// A payment, and what it grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// Moment when it was taken in.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// `topUp`, `invoice` or `trial`.
    pub kind: String,
    /// ID of the Checkout session, the invoice or the subscription.
    pub object: String,
    /// Event that told it first.
    pub event: String,
    /// Tokens that it grants.
    pub tokens: Tokens,
    /// Tokens of these that refunds and disputes take back.
    pub taken_back: Tokens,
    /// Reason for its grant, in words.
    pub why: String,
}
