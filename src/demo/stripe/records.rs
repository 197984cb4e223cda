//! The objects of a Stripe account as the model keeps them, apart from their JSON.
//!
//! Plain data with the names of Stripe's API. Amounts are cents, times are Unix seconds.

use super::calendar::add_months;
use serde::Serialize;
use serde_json::{Map, Value};

pub(super) type Metadata = Map<String, Value>;

/// Interval in which a price is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Once: a price for `mode=payment`.
    Once,
    Month,
    Year,
}

impl Interval {
    /// Months of a period; `None` where it is billed once.
    pub(super) fn months(self) -> Option<u64> {
        match self {
            Interval::Once => None,
            Interval::Month => Some(1),
            Interval::Year => Some(12),
        }
    }

    /// Name in `recurring.interval`.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Interval::Once => None,
            Interval::Month => Some("month"),
            Interval::Year => Some("year"),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Price {
    pub id: String,
    pub cents: i64,
    pub currency: String,
    pub interval: Interval,
}

impl Price {
    /// Price that its id describes: `price_plus_1200_month` is 12 USD a month, `price_pack_500` is 5 USD once.
    pub(super) fn described_by(id: &str) -> Option<Price> {
        let rest = id.strip_prefix("price_")?;
        let (rest, interval) = if let Some(rest) = rest.strip_suffix("_month") {
            (rest, Interval::Month)
        } else if let Some(rest) = rest.strip_suffix("_year") {
            (rest, Interval::Year)
        } else {
            (rest, Interval::Once)
        };
        let (name, cents) = rest.rsplit_once('_')?;
        let is_number = !cents.is_empty() && cents.bytes().all(|byte| byte.is_ascii_digit());
        if name.is_empty() || !is_number {
            return None;
        }
        let cents = cents.parse::<u32>().ok()?;
        Some(Price {
            id: id.to_owned(),
            cents: i64::from(cents),
            currency: "usd".to_owned(),
            interval,
        })
    }

    pub(super) fn product(&self) -> String {
        let name = self.id.strip_prefix("price_").unwrap_or(&self.id);
        format!("prod_{name}")
    }
}

/// Half-open stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u64,
    pub end: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Customer {
    pub id: String,
    /// Negative: credit for later invoices.
    pub balance: i64,
    pub created: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckoutMode {
    Payment,
    Subscription,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckoutStatus {
    Open,
    Complete,
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckoutPayment {
    Unpaid,
    Paid,
    NoPaymentRequired,
}

#[derive(Clone, Debug)]
pub(super) struct PricedItem {
    pub price: Price,
    pub quantity: i64,
}

impl PricedItem {
    pub(super) fn cents(&self) -> i64 {
        self.price.cents.saturating_mul(self.quantity)
    }
}

#[derive(Clone, Debug)]
pub(super) struct CheckoutSession {
    pub id: String,
    pub mode: CheckoutMode,
    pub status: CheckoutStatus,
    pub payment_status: CheckoutPayment,
    pub success_url: String,
    pub cancel_url: Option<String>,
    pub client_reference_id: Option<String>,
    pub customer: Option<String>,
    /// `customer_creation=always`.
    pub makes_customer: bool,
    pub items: Vec<PricedItem>,
    pub discount: Option<Discount>,
    pub allow_promotion_codes: bool,
    pub metadata: Metadata,
    /// The `metadata` of `payment_intent_data`.
    pub payment_metadata: Metadata,
    /// The `metadata` of `subscription_data`.
    pub subscription_metadata: Metadata,
    pub trial_days: u64,
    pub payment_intent: Option<String>,
    pub subscription: Option<String>,
    pub invoice: Option<String>,
    pub created: u64,
    pub expires_at: u64,
}

impl CheckoutSession {
    /// Sum before discounts of what is due at once: nothing of a plan on trial.
    pub(super) fn subtotal(&self) -> i64 {
        let due = self
            .items
            .iter()
            .filter(|item| self.trial_days == 0 || item.price.interval == Interval::Once);
        due.map(PricedItem::cents).sum()
    }

    pub(super) fn currency(&self) -> &str {
        let first = self.items.first();
        first.map_or("usd", |item| &item.price.currency)
    }
}

/// A coupon in percent, as applied to a session or a subscription.
#[derive(Clone, Debug)]
pub(super) struct Discount {
    pub id: String,
    pub percent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SubscriptionStatus {
    Trialing,
    Active,
    PastDue,
    Unpaid,
    Canceled,
    Incomplete,
    IncompleteExpired,
    Paused,
}

impl SubscriptionStatus {
    pub(super) fn is_ended(self) -> bool {
        matches!(
            self,
            SubscriptionStatus::Canceled | SubscriptionStatus::IncompleteExpired
        )
    }
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub id: String,
    /// Id of its one item, `si_…`.
    pub item_id: String,
    pub item: PricedItem,
    pub customer: String,
    pub status: SubscriptionStatus,
    pub metadata: Metadata,
    pub created: u64,
    /// Start from which periods are counted.
    pub anchor: u64,
    /// Periods from the anchor to the end of the present one.
    pub periods: u64,
    pub period: Span,
    pub trial: Option<Span>,
    pub cancel_at_period_end: bool,
    pub canceled_at: Option<u64>,
    pub ended_at: Option<u64>,
    pub discount: Option<Discount>,
    pub latest_invoice: Option<String>,
    /// Proration lines for the next invoice.
    pub pending: Vec<Line>,
    /// Invoice and line that billed the present period, for `credited_items`.
    pub billed: Option<(String, String)>,
}

impl Subscription {
    /// Period after the present one.
    pub(super) fn next_period(&self) -> Span {
        let months = self.item.price.interval.months().unwrap_or(1);
        Span {
            start: self.period.end,
            end: add_months(self.anchor, (self.periods + 1) * months),
        }
    }
}

/// Origin of an invoice's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineSource {
    /// The subscription's own price for a whole period.
    Plan,
    /// An `ii_…`: a proration, or a price that is billed once.
    InvoiceItem(String),
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub id: String,
    /// Before `discount_cents`; negative for a credit.
    pub amount: i64,
    pub discount_cents: i64,
    pub discount: Option<Discount>,
    pub description: String,
    pub item: PricedItem,
    pub period: Span,
    pub proration: bool,
    pub source: LineSource,
    pub subscription: String,
    pub subscription_item: String,
    /// Invoice and line that a credit takes back.
    pub credited: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum BillingReason {
    #[serde(rename = "subscription_create")]
    Create,
    #[serde(rename = "subscription_cycle")]
    Cycle,
    #[serde(rename = "subscription_update")]
    Update,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InvoiceStatus {
    Draft,
    Open,
    Paid,
}

#[derive(Clone, Debug)]
pub(super) struct Invoice {
    pub id: String,
    /// Id of its one `invoice_payment`.
    pub payment_id: String,
    pub number: String,
    pub subscription: String,
    /// The subscription's metadata when the invoice was made.
    pub subscription_metadata: Metadata,
    pub customer: String,
    pub currency: String,
    pub reason: BillingReason,
    pub status: InvoiceStatus,
    pub lines: Vec<Line>,
    pub period: Span,
    pub starting_balance: i64,
    pub ending_balance: i64,
    pub amount_due: i64,
    pub amount_paid: i64,
    pub attempts: u32,
    pub payment_intent: Option<String>,
    pub created: u64,
    pub paid_at: Option<u64>,
}

impl Invoice {
    pub(super) fn subtotal(&self) -> i64 {
        self.lines.iter().map(|line| line.amount).sum()
    }

    pub(super) fn discount_cents(&self) -> i64 {
        self.lines.iter().map(|line| line.discount_cents).sum()
    }

    pub(super) fn total(&self) -> i64 {
        self.subtotal() - self.discount_cents()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PaymentStatus {
    Processing,
    Succeeded,
    RequiresPaymentMethod,
}

/// A payment intent with its charge.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub id: String,
    /// `ch_…`, from the moment that money moves.
    pub charge: Option<String>,
    pub amount: i64,
    pub amount_refunded: i64,
    pub currency: String,
    pub customer: Option<String>,
    pub metadata: Metadata,
    pub status: PaymentStatus,
    pub invoice: Option<String>,
    pub disputed: bool,
    pub created: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefundStatus {
    Succeeded,
    Failed,
}

#[derive(Clone, Debug)]
pub(super) struct Refund {
    pub id: String,
    pub payment_intent: String,
    pub charge: String,
    pub amount: i64,
    pub currency: String,
    pub status: RefundStatus,
    pub created: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DisputeStatus {
    WarningNeedsResponse,
    WarningClosed,
    NeedsResponse,
    Won,
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Dispute {
    pub id: String,
    pub payment_intent: String,
    pub charge: String,
    pub amount: i64,
    pub currency: String,
    pub status: DisputeStatus,
    /// Ids and amounts of its `balance_transactions`: negative when withdrawn, positive when reinstated.
    pub movements: Vec<(String, i64)>,
    pub created: u64,
}

/// A link to the customer portal.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    /// Last segment of its URL.
    pub id: String,
    pub customer: String,
    pub return_url: String,
}
