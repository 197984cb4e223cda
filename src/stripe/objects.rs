//! Objects of Stripe's API as far as they are read, in the shapes before and after API version 2025-03-31.
//!
//! The shape of an event is the webhook's in Stripe's dashboard, that of an answer the version that the call names. A
//! member that stands twice makes an object unreadable.

use serde::Deserialize;
use serde::de::Error;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Metadata by which an object is known as made by this gateway: whose it is, and what it grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StripeMetadata(BTreeMap<String, String>);

impl StripeMetadata {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// ID of another object, or that object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(String),
    Object { id: String },
}

fn id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let reference = Option::<Reference>::deserialize(deserializer)?;
    let id = reference.map(|(Reference::Id(id) | Reference::Object { id })| id);
    match id.as_deref().is_none_or(is_plain) {
        true => Ok(id),
        false => Err(D::Error::custom("an ID that is none of Stripe's")),
    }
}

fn own_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    id(deserializer)?.ok_or_else(|| D::Error::custom("an object without an ID"))
}

fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub struct StripeEvent<'a> {
    pub id: String,
    /// `event`; those of API v2 are of another kind.
    pub object: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub livemode: bool,
    /// Account that the event is of, where that is one connected to the tenant's own (Connect).
    #[serde(default)]
    pub account: Option<String>,
    #[serde(borrow, default)]
    pub data: Option<EventData<'a>>,
}

/// Longest ID or type that is taken. Stripe's are shorter.
const MAX_ID_BYTES: usize = 128;

/// Whether a text is such as Stripe's IDs and types are.
pub fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(plain)
}

impl StripeEvent<'_> {
    /// Whether its ID and type can be noted.
    pub fn is_plain(&self) -> bool {
        is_plain(&self.id) && is_plain(&self.kind)
    }
}

#[derive(Deserialize)]
pub struct EventData<'a> {
    #[serde(borrow)]
    pub object: &'a RawValue,
}

/// Page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct ListPage<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

/// Checkout session.
#[derive(Debug, Deserialize)]
pub struct StripeSession {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    pub mode: String,
    /// `open`, `complete` or `expired`.
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub payment_status: String,
    #[serde(default, deserialize_with = "id")]
    pub customer: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub subscription: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub payment_intent: Option<String>,
    #[serde(default)]
    pub amount_total: Option<u64>,
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: StripeMetadata,
    /// Address of the page; only when it is made.
    #[serde(default)]
    pub url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Subscription {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub cancel_at_period_end: bool,
    #[serde(default, deserialize_with = "id")]
    pub customer: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: StripeMetadata,
    #[serde(default)]
    items: Option<ListPage<SubscriptionItem>>,
}

#[derive(Debug, Deserialize)]
struct SubscriptionItem {
    #[serde(default, deserialize_with = "id")]
    price: Option<String>,
}

impl Subscription {
    /// Returns the prices of its items.
    pub fn prices(&self) -> impl Iterator<Item = &str> {
        let items = self.items.iter().flat_map(|items| &items.data);
        items.filter_map(|item| item.price.as_deref())
    }
}

#[derive(Debug, Deserialize)]
pub struct Invoice {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub customer: Option<String>,
    pub created: u64,
    #[serde(default)]
    pub total: i64,
    #[serde(default)]
    pub amount_paid: i64,
    #[serde(default)]
    pub(crate) lines: Option<ListPage<Line>>,
    #[serde(default)]
    parent: Option<Parent>,
    #[serde(default)]
    subscription_details: Option<SubscriptionDetails>,
    #[serde(default, deserialize_with = "id")]
    subscription: Option<String>,
    /// Only in the shape before.
    #[serde(default, deserialize_with = "id")]
    pub payment_intent: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Parent {
    #[serde(default)]
    subscription_details: Option<SubscriptionDetails>,
}

#[derive(Debug, Deserialize)]
struct SubscriptionDetails {
    #[serde(default, deserialize_with = "id")]
    subscription: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    metadata: StripeMetadata,
}

impl Invoice {
    fn details(&self) -> Option<&SubscriptionDetails> {
        let parent = self.parent.as_ref();
        let details = parent.and_then(|parent| parent.subscription_details.as_ref());
        details.or(self.subscription_details.as_ref())
    }

    /// Returns the metadata of the subscription that it is of, as they were when it was made.
    pub fn metadata(&self) -> Option<&StripeMetadata> {
        self.details().map(|details| &details.metadata)
    }

    pub fn subscription(&self) -> Option<&str> {
        let details = self
            .details()
            .and_then(|details| details.subscription.as_deref());
        details.or(self.subscription.as_deref())
    }

    pub fn is_paid(&self) -> bool {
        self.status.as_deref() == Some("paid")
    }
}

#[derive(Debug, Deserialize)]
pub struct Line {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub currency: String,
    #[serde(default, deserialize_with = "nullable")]
    discount_amounts: Vec<DiscountAmount>,
    #[serde(default, deserialize_with = "id")]
    price: Option<String>,
    #[serde(default)]
    pricing: Option<Pricing>,
}

#[derive(Debug, Deserialize)]
struct DiscountAmount {
    amount: i64,
}

#[derive(Debug, Deserialize)]
struct Pricing {
    #[serde(default)]
    price_details: Option<PriceDetails>,
}

#[derive(Debug, Deserialize)]
struct PriceDetails {
    #[serde(default, deserialize_with = "id")]
    price: Option<String>,
}

impl Line {
    /// Returns the price that it is billed at. `None`: its amount was set by hand.
    pub fn price(&self) -> Option<&str> {
        let pricing = self.pricing.as_ref();
        let details = pricing.and_then(|pricing| pricing.price_details.as_ref());
        let price = details.and_then(|details| details.price.as_deref());
        price.or(self.price.as_deref())
    }

    /// Returns its amount after discounts. A discount never turns a charge into a credit.
    pub fn net(&self) -> i64 {
        let discounts = self.discount_amounts.iter();
        let off: i64 = discounts.fold(0, |sum, off| sum.saturating_add(off.amount.max(0)));
        match self.amount > 0 {
            true => self.amount.saturating_sub(off).max(0),
            false => self.amount,
        }
    }
}

/// Payment of an invoice.
#[derive(Debug, Deserialize)]
pub(crate) struct InvoicePayment {
    #[serde(default, deserialize_with = "id")]
    pub invoice: Option<String>,
    #[serde(default)]
    payment: Option<PaymentOf>,
}

#[derive(Debug, Deserialize)]
struct PaymentOf {
    #[serde(default, deserialize_with = "id")]
    payment_intent: Option<String>,
}

impl InvoicePayment {
    pub fn intent(self) -> Option<String> {
        self.payment?.payment_intent
    }
}

#[derive(Debug, Deserialize)]
pub struct PaymentIntent {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: StripeMetadata,
    /// Only in the shape before.
    #[serde(default, deserialize_with = "id")]
    pub invoice: Option<String>,
}

/// What a charge, a refund or a dispute is about.
#[derive(Debug, Deserialize)]
pub struct OfPayment {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    #[serde(default, deserialize_with = "id")]
    pub payment_intent: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Refund {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    pub amount: u64,
    #[serde(default)]
    pub status: Option<String>,
}

impl Refund {
    /// Whether the money goes back, or has gone.
    pub fn counts(&self) -> bool {
        !matches!(self.status.as_deref(), Some("failed" | "canceled"))
    }
}

#[derive(Debug, Deserialize)]
pub struct Dispute {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    pub amount: u64,
    #[serde(default, deserialize_with = "id")]
    pub payment_intent: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    balance_transactions: Vec<BalanceTransaction>,
}

#[derive(Debug, Deserialize)]
struct BalanceTransaction {
    amount: i64,
}

impl Dispute {
    /// Returns the amount that is withdrawn now. An inquiry withdraws nothing, a dispute that was won gave all back.
    pub fn withdrawn(&self) -> u64 {
        // Rates of exchange may differ between the two: their sums say nothing.
        let moved = self.balance_transactions.iter();
        let out = moved.clone().filter(|moved| moved.amount < 0).count();
        let back = moved.filter(|moved| moved.amount > 0).count();
        if out > back { self.amount } else { 0 }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    #[serde(deserialize_with = "own_id")]
    pub id: String,
    #[serde(default)]
    pub unit_amount: Option<u64>,
    #[serde(default)]
    pub currency: String,
    #[serde(default)]
    pub(crate) recurring: Option<Recurring>,
    #[serde(default)]
    currency_options: Option<BTreeMap<String, CurrencyOption>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Recurring {
    pub interval: String,
    #[serde(default)]
    pub interval_count: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct CurrencyOption {
    #[serde(default)]
    unit_amount: Option<u64>,
}

impl Price {
    /// Returns its full amount in a currency. `None`: it has none there, or one that depends on how much is used.
    pub fn amount_in(&self, currency: &str) -> Option<u64> {
        if currency == self.currency {
            return self.unit_amount;
        }
        self.currency_options.as_ref()?.get(currency)?.unit_amount
    }
}

#[derive(Deserialize)]
pub struct Portal {
    pub url: String,
}

/// Error of Stripe's API.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(default)]
    pub(super) error: ErrorDetails,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorDetails {
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub param: Option<String>,
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
