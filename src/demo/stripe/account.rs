//! One Stripe account: how it is set up, what its customers and its merchant do, which events came of it.
//!
//! Each method takes the account's lock once, so an act is atomic. Acts make their objects and announce their events
//! in Stripe's order; the sums are made in the files beside this one.

use super::calls::{CallLog, ReceivedCall};
use super::cancellation::{self, GiveUp};
use super::checkout;
use super::data::{AccountData, Cause};
use super::error::StripeError;
use super::events::{SignedEvent, Signer};
use super::plan_change::{self, Proration};
use super::receipt::Receipt;
use super::records::{Interval, Price, SubscriptionStatus};
use super::reversals;
use super::shape::ApiShape;
use super::subscriptions;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// An account of the stand-in, which is known by its API key.
pub struct StripeAccount {
    key: String,
    /// `http://127.0.0.1:PORT`
    origin: String,
    /// Last segment of the dashboard's address.
    dashboard: String,
    signer: Arc<Signer>,
    data: Mutex<AccountData>,
    log: Mutex<CallLog>,
}

impl StripeAccount {
    pub(super) fn new(
        key: &str,
        origin: String,
        dashboard: String,
        signer: Arc<Signer>,
        data: AccountData,
    ) -> StripeAccount {
        StripeAccount {
            key: key.to_owned(),
            origin,
            dashboard,
            signer,
            data: Mutex::new(data),
            log: Mutex::default(),
        }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn dashboard(&self) -> &str {
        &self.dashboard
    }

    pub(super) fn data(&self) -> MutexGuard<'_, AccountData> {
        self.data.lock()
    }

    pub(super) fn log(&self) -> MutexGuard<'_, CallLog> {
        self.log.lock()
    }

    pub(super) fn count_bytes(&self, kept: usize, gone: usize) {
        let data = self.data();
        data.keep(kept);
        data.forget(gone);
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Address of the page on which payments are refunded, disputed and renewed. Whoever has it may do so.
    pub fn dashboard_url(&self) -> String {
        format!("{}/dashboard/{}", self.origin, self.dashboard)
    }

    /// Sets the shape of events, and of answers to calls without `Stripe-Version`. At first [`ApiShape::Basil`].
    pub fn set_shape(&self, shape: ApiShape) {
        self.data().shape = shape;
    }

    /// Sets the webhook's secrets: `Stripe-Signature` carries one `v1` for each.
    pub fn set_webhook_secrets(&self, secrets: &[&str]) {
        let secrets = secrets.iter().map(|secret| (*secret).to_owned());
        self.signer.set_secrets(secrets.collect());
    }

    /// Sets the amount below which an invoice is not charged but goes to the balance. At first 0; Stripe has 50.
    pub fn set_minimum_charge(&self, cents: u32) {
        self.data().minimum_charge = i64::from(cents);
    }

    /// Sets whether the customers' cards are refused from here on.
    pub fn set_card_declines(&self, declines: bool) {
        self.data().card_declines = declines;
    }

    /// Sets Stripe's `proration_discounts`: `itemized`, or `included` as at first.
    pub fn set_itemized_prorations(&self, itemized: bool) {
        self.data().itemized_prorations = itemized;
    }

    /// Adds a price, or changes the one of this id for what is bought later.
    pub fn add_price(&self, id: &str, cents: u32, currency: &str, interval: Interval) {
        self.data().prices.insert(Price {
            id: id.to_owned(),
            cents: i64::from(cents),
            currency: currency.to_owned(),
            interval,
        });
    }

    /// Pays a session by card.
    pub fn pay(&self, session: &str) -> Result<Receipt, StripeError> {
        self.act(|data| checkout::pay(data, session, &self.origin))
    }

    /// Pays a session by a method that takes days: it completes as `unpaid`.
    pub fn pay_later(&self, session: &str) -> Result<Receipt, StripeError> {
        self.act(|data| checkout::pay_later(data, session, &self.origin))
    }

    /// The payment of [`StripeAccount::pay_later`] arrives.
    pub fn pay_later_succeeds(&self, session: &str) -> Result<Receipt, StripeError> {
        self.act(|data| checkout::settle_later(data, session, &self.origin, true))
    }

    /// The payment of [`StripeAccount::pay_later`] is refused.
    pub fn pay_later_fails(&self, session: &str) -> Result<Receipt, StripeError> {
        self.act(|data| checkout::settle_later(data, session, &self.origin, false))
    }

    pub fn expire(&self, session: &str) -> Result<(), StripeError> {
        self.act(|data| checkout::expire(data, session, &self.origin))
    }

    /// Takes a coupon in percent off an open session or a subscription (`cs_…` or `sub_…`); 0 removes it.
    pub fn discount(&self, id: &str, percent: u8) -> Result<(), StripeError> {
        if percent > 100 {
            return Err(StripeError::invalid("A coupon takes at most 100 percent."));
        }
        self.act(|data| match id.starts_with("cs_") {
            true => checkout::discount(data, id, percent),
            false => subscriptions::discount(data, id, percent),
        })
    }

    /// Begins the next period, and charges for it: `billing_reason` is `subscription_cycle`.
    pub fn renew(&self, subscription: &str) -> Result<Receipt, StripeError> {
        let from = [SubscriptionStatus::Active, SubscriptionStatus::PastDue];
        self.act(|data| subscriptions::renew(data, subscription, &from))
    }

    /// Begins the next period with a card that is refused: the subscription is `past_due`.
    pub fn renew_unpaid(&self, subscription: &str) -> Result<Receipt, StripeError> {
        let from = [SubscriptionStatus::Active, SubscriptionStatus::PastDue];
        self.act(|data| {
            let declines = std::mem::replace(&mut data.card_declines, true);
            let renewed = subscriptions::renew(data, subscription, &from);
            data.card_declines = declines;
            renewed
        })
    }

    /// Charges the latest invoice of a `past_due` or `unpaid` subscription again.
    pub fn retry_payment(&self, subscription: &str) -> Result<Receipt, StripeError> {
        self.act(|data| subscriptions::retry_payment(data, subscription))
    }

    /// Ends the retries of a `past_due` subscription.
    pub fn give_up(&self, subscription: &str, end: GiveUp) -> Result<(), StripeError> {
        self.act(|data| cancellation::give_up(data, subscription, end))
    }

    /// Ends the trial, and charges for the first period.
    pub fn trial_ends(&self, subscription: &str) -> Result<Receipt, StripeError> {
        let from = [SubscriptionStatus::Trialing];
        self.act(|data| subscriptions::renew(data, subscription, &from))
    }

    pub fn change_plan(
        &self,
        subscription: &str,
        price: &str,
        proration: Proration,
    ) -> Result<Receipt, StripeError> {
        self.act(|data| plan_change::change_plan(data, subscription, price, proration))
    }

    /// Cancels at once. `prorate`: unused time is credited to the customer's balance.
    pub fn cancel(&self, subscription: &str, prorate: bool) -> Result<(), StripeError> {
        self.act(|data| cancellation::cancel(data, subscription, prorate))
    }

    pub fn cancel_at_period_end(&self, subscription: &str) -> Result<(), StripeError> {
        self.act(|data| cancellation::set_cancel_at_period_end(data, subscription, true))
    }

    /// Ends a subscription after [`StripeAccount::cancel_at_period_end`].
    pub fn reach_period_end(&self, subscription: &str) -> Result<(), StripeError> {
        self.act(|data| cancellation::reach_period_end(data, subscription))
    }

    /// Sets status `paused`, as after a trial without a payment method.
    pub fn pause(&self, subscription: &str) -> Result<(), StripeError> {
        self.act(|data| subscriptions::pause(data, subscription))
    }

    pub fn resume(&self, subscription: &str) -> Result<(), StripeError> {
        self.act(|data| subscriptions::resume(data, subscription))
    }

    /// Refunds a part of a payment. Returns the id of the refund, `re_…`.
    pub fn refund(&self, payment_intent: &str, cents: u32) -> Result<String, StripeError> {
        self.act(|data| reversals::refund(data, payment_intent, i64::from(cents)))
    }

    /// The customer's bank sends a refund back.
    pub fn fail_refund(&self, refund: &str) -> Result<(), StripeError> {
        self.act(|data| reversals::fail_refund(data, refund))
    }

    /// The bank asks about a payment and withdraws nothing. Returns the dispute's id, `dp_…`.
    pub fn dispute_inquiry(&self, payment_intent: &str) -> Result<String, StripeError> {
        self.act(|data| reversals::inquire(data, payment_intent))
    }

    /// The bank withdraws the whole payment. An open inquiry becomes the dispute. Returns the dispute's id.
    pub fn dispute(&self, payment_intent: &str) -> Result<String, StripeError> {
        self.act(|data| reversals::dispute(data, payment_intent, None))
    }

    /// The bank withdraws a part of the payment. Returns the dispute's id.
    pub fn dispute_part(&self, payment_intent: &str, cents: u32) -> Result<String, StripeError> {
        self.act(|data| reversals::dispute(data, payment_intent, Some(i64::from(cents))))
    }

    /// Closes a dispute and gives the money back to the merchant; an inquiry is closed without money.
    pub fn win_dispute(&self, dispute: &str) -> Result<(), StripeError> {
        self.act(|data| reversals::decide(data, dispute, true))
    }

    pub fn lose_dispute(&self, dispute: &str) -> Result<(), StripeError> {
        self.act(|data| reversals::decide(data, dispute, false))
    }

    /// Every event so far, oldest first, signed at the present time.
    pub fn events(&self) -> Vec<SignedEvent> {
        let events = self.data().events.clone();
        let signed = events.into_iter().map(|event| self.signer.signed(event));
        signed.collect()
    }

    /// Sets whether events are recorded only. Held events are not delivered later; a test sends them itself.
    pub fn hold_events(&self, holds: bool) {
        self.data().holds_events = holds;
    }

    /// An event with any object and a valid signature, neither recorded nor delivered.
    pub fn forge(&self, kind: &str, object: Value) -> SignedEvent {
        let event = self.data().event(kind, object, None);
        self.signer.signed(event)
    }

    /// Value of `Stripe-Signature` for a body at a Unix time.
    pub fn sign(&self, body: &[u8], at: u64) -> String {
        self.signer.signature(body, at)
    }

    /// The newest 1,000 API calls, oldest first.
    pub fn calls(&self) -> Vec<ReceivedCall> {
        self.log().calls()
    }

    /// Fails the next API calls before they do anything.
    pub fn fail_next(&self, count: u32, status: u16) {
        self.log().set_failures(count, status);
    }

    /// Sets a pause between the execution of an API call and its answer.
    pub fn pause_before_answer(&self, pause: Duration) {
        self.log().set_pause(pause);
    }

    fn act<T>(
        &self,
        act: impl FnOnce(&mut AccountData) -> Result<T, StripeError>,
    ) -> Result<T, StripeError> {
        let mut data = self.data();
        data.room()?;
        data.cause = Cause::default();
        act(&mut data)
    }
}
