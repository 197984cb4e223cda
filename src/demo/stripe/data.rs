//! Everything that one account holds: its objects, its events and how it was set up.
//!
//! The files beside this one (`checkout.rs`, `subscriptions.rs` and others) change it under the account's lock;
//! nothing here decides. Memory is bounded by [`AccountData::room`].

use super::calls::KeptAnswers;
use super::collection::Collection;
use super::error::StripeError;
use super::events::{RecordedEvent, UnixClock};
use super::records::{
    CheckoutSession, Customer, Dispute, Invoice, Payment, Portal, Price, Refund, Subscription,
};
use super::shape::ApiShape;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Objects of one account, with its invoices' lines and its events.
const MAX_IDS: u64 = 50_000;
/// Bytes of events, calls and kept answers over all accounts of a stand-in.
const MAX_BYTES: usize = 256 << 20;

/// Prices from which on described ones are no longer noted.
const MAX_NOTED_PRICES: usize = 100;

/// A change that is told to the webhook: the object as it was at that moment.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub kind: &'static str,
    pub object: Value,
    /// `previous_attributes`, of updates.
    pub previous: Option<Value>,
}

impl News {
    pub(super) fn new(kind: &'static str, object: Value) -> News {
        News {
            kind,
            object,
            previous: None,
        }
    }
}

/// The API call that caused an event, for its `request`.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause {
    pub request: Option<String>,
    pub idempotency_key: Option<String>,
}

/// The state of one account.
pub(super) struct AccountData {
    /// Whether the key begins with `sk_live_` or `rk_live_`.
    pub livemode: bool,
    pub shape: ApiShape,
    /// Smaller amounts are not charged and go to the customer's balance.
    pub minimum_charge: i64,
    /// Whether every payment from here on fails.
    pub card_declines: bool,
    /// `proration_discounts=itemized`: proration lines are gross, with their discount beside them.
    pub itemized_prorations: bool,
    pub holds_events: bool,
    pub cause: Cause,
    pub prices: Collection<Price>,
    pub customers: Collection<Customer>,
    pub sessions: Collection<CheckoutSession>,
    pub subscriptions: Collection<Subscription>,
    pub invoices: Collection<Invoice>,
    pub payments: Collection<Payment>,
    pub refunds: Collection<Refund>,
    pub disputes: Collection<Dispute>,
    pub portals: Collection<Portal>,
    pub events: Vec<RecordedEvent>,
    pub answers: KeptAnswers,
    ids: u64,
    clock: UnixClock,
    waiting: mpsc::Sender<RecordedEvent>,
    bytes: Arc<AtomicUsize>,
}

impl AccountData {
    pub(super) fn new(
        livemode: bool,
        clock: UnixClock,
        waiting: mpsc::Sender<RecordedEvent>,
        bytes: Arc<AtomicUsize>,
    ) -> AccountData {
        AccountData {
            livemode,
            shape: ApiShape::Basil,
            minimum_charge: 0,
            card_declines: false,
            itemized_prorations: false,
            holds_events: false,
            cause: Cause::default(),
            prices: Collection::default(),
            customers: Collection::default(),
            sessions: Collection::default(),
            subscriptions: Collection::default(),
            invoices: Collection::default(),
            payments: Collection::default(),
            refunds: Collection::default(),
            disputes: Collection::default(),
            portals: Collection::default(),
            events: Vec::new(),
            answers: KeptAnswers::default(),
            ids: 0,
            clock,
            waiting,
            bytes,
        }
    }

    pub(super) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Refuses where the account, or the stand-in as a whole, holds as much as it may.
    pub(super) fn room(&self) -> Result<(), StripeError> {
        let is_full = self.ids >= MAX_IDS || self.bytes.load(Ordering::Relaxed) >= MAX_BYTES;
        if is_full {
            return Err(StripeError::full());
        }
        Ok(())
    }

    /// Counts bytes that are kept; [`AccountData::forget`] is the reverse.
    pub(super) fn keep(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn forget(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// New id with Stripe's prefix, such as `sub` or `cs_test`. The random part has 122 bits, so that an id in a
    /// page's address cannot be guessed.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}_1{:05}{}", self.ids, Uuid::new_v4().simple())
    }

    /// Added price, or the one that its id describes.
    pub(super) fn price(&self, id: &str) -> Option<Price> {
        let added = self.prices.find(id).cloned();
        added.or_else(|| Price::described_by(id))
    }

    /// Notes a price that its id describes, so that the portal offers it.
    pub(super) fn note_price(&mut self, id: &str) {
        let is_new = self.prices.find(id).is_none();
        let has_room = self.prices.oldest_first().count() < MAX_NOTED_PRICES;
        if is_new
            && has_room
            && let Some(price) = Price::described_by(id)
        {
            self.prices.insert(price);
        }
    }

    /// Records events in this order, and queues them unless they are held.
    pub(super) fn announce(&mut self, news: Vec<News>) {
        for news in news {
            let event = self.event(news.kind, news.object, news.previous);
            self.keep(event.body.len());
            self.events.push(event.clone());
            if !self.holds_events {
                // A full queue loses the delivery and keeps the event, as an outage of Stripe would.
                let _ = self.waiting.try_send(event);
            }
        }
    }

    /// An event that is not recorded.
    pub(super) fn event(
        &mut self,
        kind: &str,
        object: Value,
        previous: Option<Value>,
    ) -> RecordedEvent {
        let id = self.id("evt");
        let mut data = json!({ "object": object });
        if let Some(previous) = previous {
            data["previous_attributes"] = previous;
        }
        let body = json!({
            "id": id,
            "object": "event",
            "api_version": self.shape.version(),
            "created": self.now(),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {
                "id": self.cause.request,
                "idempotency_key": self.cause.idempotency_key,
            },
            "type": kind,
        });
        RecordedEvent {
            id,
            kind: kind.to_owned(),
            body: Bytes::from(body.to_string()),
        }
    }
}

/// Members of `before` that `after` has otherwise, as `previous_attributes` has them; `None` where nothing changed.
pub(super) fn previous_attributes(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return None;
    };
    let mut previous = serde_json::Map::new();
    for (name, old) in before {
        let new = after.get(name).unwrap_or(&Value::Null);
        if old == new {
            continue;
        }
        let inner = previous_attributes(old, new).unwrap_or_else(|| old.clone());
        previous.insert(name.clone(), inner);
    }
    (!previous.is_empty()).then_some(Value::Object(previous))
}
