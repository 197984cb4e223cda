//! The tables of payments: [`Stripe`] of `auth`, its top-ups, the prices of a group, and how they are checked.

use crate::tables::{
    Goes, MAX_NUMBER, Node, Reading, Secret, ValueType, by_name, choice, list, object, opened_line,
    table, whole, words,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Host that receives the secrets of billing.
const STRIPE: &str = "api.stripe.com";
/// Most secrets of a webhook: one, and the next one while they change.
const MAX_SECRETS: usize = 4;
/// Most top-ups of a tenant, and most further prices of a group: a list of what is for sale asks Stripe for each.
const MAX_ENTRIES: usize = 50;
/// Longest name of a price.
const MAX_PRICE_CHARS: usize = 128;

/// Taker of the money: Stripe, or a stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingKind {
    Stripe,
    /// The stand-in that the gateway starts itself.
    Demo,
}

/// Whether an API key is of Stripe's live mode or of its test mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Live,
    Test,
}

table! {
    /// A Stripe account.
    pub struct Stripe unknown Kept {
        /// `stripe`, or `demo`: a stand-in on this machine that moves no money, and has neither key nor secrets.
        kind: BillingKind = choice([("stripe", BillingKind::Stripe), ("demo", BillingKind::Demo)]).default("stripe");
        /// The secret API key, or a restricted one: it makes Checkout and portal sessions, and reads subscriptions, invoices, prices, refunds and disputes.
        api_key: Option<Secret> = opened_line(Goes::To(STRIPE)).optional();
        /// The signing secrets of the webhook, at most 4: while Stripe rolls one, both are taken.
        /// Without any there is no checkout, since nothing would be granted.
        webhook_secrets: Vec<Secret> = webhook_secrets().default("[]");
        /// Tokens for sale, by the names that a checkout asks for them by.
        top_ups: BTreeMap<String, SoldTokens> = sold().or_from(|_| BTreeMap::new());
    }
    check demo_has_no_key;
}

table! {
    /// Tokens for sale.
    pub struct SoldTokens unknown Kept {
        /// The price in Stripe, of one payment.
        price: String = price().shown("price_1Qs8…");
        /// Tokens that it adds to the balance.
        tokens: u64 = whole(1, MAX_NUMBER);
    }
}

table! {
    /// A further price of a group.
    pub struct GroupPrice unknown Kept {
        /// Tokens that a period paid at this price is worth.
        /// Absent: the group's `tokens`.
        tokens: Option<u64> = whole(0, MAX_NUMBER).optional();
    }
}

impl Stripe {
    /// Returns the mode of the API key. `None`: there is none, or it is of neither.
    pub fn mode(&self) -> Option<Mode> {
        if self.kind == BillingKind::Demo {
            return Some(Mode::Test);
        }
        let mut parts = self.api_key.as_ref()?.expose().splitn(3, '_');
        match (parts.next()?, parts.next()?, parts.next()?) {
            ("sk" | "rk", "live", _) => Some(Mode::Live),
            ("sk" | "rk", "test", _) => Some(Mode::Test),
            _ => None,
        }
    }
}

/// Prices of Stripe as their IDs are written.
pub(super) fn price() -> ValueType<String> {
    let price = words().check(|price| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        match (1..=MAX_PRICE_CHARS).contains(&price.len()) && price.bytes().all(is_plain) {
            true => Ok(()),
            false => Err("expected the ID of a price in Stripe, such as price_1Qs8"),
        }
    });
    price.with_schema(json!({"pattern": "^[A-Za-z0-9_.-]{1,128}$"}))
}

/// Further prices of a group.
pub(super) fn prices() -> ValueType<BTreeMap<String, GroupPrice>> {
    let prices = by_name(object::<GroupPrice>()).check(|prices| few(prices.len()));
    prices.map(|prices| prices.into_iter().collect())
}

fn sold() -> ValueType<BTreeMap<String, SoldTokens>> {
    let sold = by_name(object::<SoldTokens>()).check(|sold| few(sold.len()));
    sold.map(|sold| sold.into_iter().collect())
}

fn few(entries: usize) -> Result<(), &'static str> {
    match entries > MAX_ENTRIES {
        true => Err("must not have more than 50 entries"),
        false => Ok(()),
    }
}

fn webhook_secrets() -> ValueType<Vec<Secret>> {
    let secret = opened_line(Goes::To(STRIPE)).check(|secret| match secret.expose() {
        "" => Err("must not be empty"),
        _ => Ok(()),
    });
    let secrets = list(secret, 0).check(|secrets| match secrets.len() > MAX_SECRETS {
        true => Err("must not be longer than 4"),
        false => Ok(()),
    });
    secrets.with_schema(json!({"maxItems": MAX_SECRETS}))
}

/// Each price stands for one thing: a group, or tokens.
pub(super) fn each_price_once(config: &Node<'_>, reading: &mut Reading<'_>) {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let groups = config.field("user_groups");
    for group in groups.iter().flat_map(Node::entries) {
        if let Some(price) = group.field("stripe_price") {
            once(&price, price.value().as_str(), &mut known, reading);
        }
        let further = group.field("stripe_prices");
        for price in further.iter().flat_map(Node::entries) {
            once(&price, Some(price.name()), &mut known, reading);
        }
    }
    let auth = config.field("auth");
    let stripe = auth.as_ref().and_then(|auth| auth.field("stripe"));
    let sold = stripe.as_ref().and_then(|stripe| stripe.field("top_ups"));
    for top_up in sold.iter().flat_map(Node::entries) {
        if let Some(price) = top_up.field("price") {
            once(&price, price.value().as_str(), &mut known, reading);
        }
    }
}

fn once(
    node: &Node<'_>,
    price: Option<&str>,
    known: &mut BTreeMap<String, String>,
    reading: &mut Reading<'_>,
) {
    let Some(price) = price else { return };
    match known.get(price) {
        Some(other) => reading.fault(node, format!("the same price stands at {other}")),
        None => {
            known.insert(price.to_owned(), node.path());
        }
    }
}

/// A stand-in beside a real account would give away what others pay for.
fn demo_has_no_key(node: &Node<'_>, reading: &mut Reading<'_>) {
    let kind = node.field("kind");
    if kind.is_none_or(|kind| kind.value() != "demo") {
        return;
    }
    for name in ["api_key", "webhook_secrets"] {
        if let Some(field) = node.field(name) {
            reading.fault(
                &field,
                "must be left out: the stand-in of kind demo has none",
            );
        }
    }
}
