//! Ends of subscriptions: at once, with the period, or after the last failed retry.
//!
//! A cancelled subscription keeps its invoices. Its unused time is credited on demand alone, as at Stripe.

use super::data::{AccountData, News};
use super::error::StripeError;
use super::lines;
use super::proration::Remaining;
use super::records::{BillingReason, SubscriptionStatus};
use super::render;
use super::subscriptions::{bill_at_once, change, find, in_status, pending_lines};

/// Outcome of collecting an invoice after all retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The subscription stays, with status `unpaid`.
    Unpaid,
    Cancel,
}

/// The last retry of a renewal failed.
pub(super) fn give_up(data: &mut AccountData, id: &str, end: GiveUp) -> Result<(), StripeError> {
    let old = in_status(data, id, &[SubscriptionStatus::PastDue])?;
    let news = match end {
        GiveUp::Unpaid => change(data, id, &old, |subscription| {
            subscription.status = SubscriptionStatus::Unpaid;
        }),
        GiveUp::Cancel => end_now(data, id),
    };
    data.announce(news.into_iter().collect());
    Ok(())
}

/// Cancels at once. `prorate`: unused time is credited to the customer's balance.
pub(super) fn cancel(data: &mut AccountData, id: &str, prorate: bool) -> Result<(), StripeError> {
    let old = find(data, id)?.clone();
    if old.status.is_ended() {
        return Err(StripeError::missing("subscription", id).with_status(404));
    }
    let mut news: Vec<News> = Vec::new();
    if prorate && old.status == SubscriptionStatus::Active {
        let share = Remaining::at(data.now(), old.period);
        let mut billed = pending_lines(&old);
        billed.push(lines::unused(data, &old, share));
        news.extend(bill_at_once(data, &old, BillingReason::Update, billed).1);
    }
    let deleted = end_now(data, id);
    data.announce(deleted.into_iter().chain(news).collect());
    Ok(())
}

/// Sets or takes back `cancel_at_period_end`.
pub(super) fn set_cancel_at_period_end(
    data: &mut AccountData,
    id: &str,
    ends: bool,
) -> Result<(), StripeError> {
    let old = find(data, id)?.clone();
    if old.status.is_ended() {
        let message = "A canceled subscription can only update its cancellation_details.";
        return Err(StripeError::invalid(message));
    }
    let now = data.now();
    let news = change(data, id, &old, |subscription| {
        subscription.cancel_at_period_end = ends;
        subscription.canceled_at = ends.then_some(now);
    });
    data.announce(news.into_iter().collect());
    Ok(())
}

/// The period of a subscription with `cancel_at_period_end` is over.
pub(super) fn reach_period_end(data: &mut AccountData, id: &str) -> Result<(), StripeError> {
    let old = find(data, id)?.clone();
    if !old.cancel_at_period_end || old.status.is_ended() {
        return Err(StripeError::invalid(
            "The subscription does not end with its period.",
        ));
    }
    let mut news = Vec::new();
    if !old.pending.is_empty() {
        let billed = pending_lines(&old);
        news = bill_at_once(data, &old, BillingReason::Cycle, billed).1;
    }
    news.extend(end_now(data, id));
    data.announce(news);
    Ok(())
}

fn end_now(data: &mut AccountData, id: &str) -> Option<News> {
    let now = data.now();
    let subscription = data.subscriptions.find_mut(id)?;
    subscription.status = SubscriptionStatus::Canceled;
    subscription.canceled_at = subscription.canceled_at.or(Some(now));
    subscription.ended_at = Some(now);
    subscription.pending.clear();
    let object = render::subscription(data, data.subscriptions.find(id)?, data.shape);
    Some(News::new("customer.subscription.deleted", object))
}
