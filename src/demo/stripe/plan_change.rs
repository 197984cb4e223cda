//! Plan changes within a period: a credit for the old plan's unused time, a debit for the new one's remaining time.
//!
//! A change between months and years starts a new period at once and is billed at once. Within a trial the prorations
//! are 0.

use super::calendar::add_months;
use super::data::AccountData;
use super::error::StripeError;
use super::lines;
use super::proration::Remaining;
use super::receipt::Receipt;
use super::records::{BillingReason, Line, PricedItem, Span, Subscription, SubscriptionStatus};
use super::subscriptions::{
    bill_at_once, change, in_status, pending_lines, receipt, remember_billed,
};

/// Stripe's `proration_behavior`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proration {
    /// Prorated, and billed at once.
    AlwaysInvoice,
    /// Prorated; the lines wait for the next cycle's invoice.
    CreateProrations,
    /// Not prorated: the new price counts from the next cycle.
    None,
}

/// Changes the plan of a running subscription.
pub(super) fn change_plan(
    data: &mut AccountData,
    id: &str,
    price: &str,
    proration: Proration,
) -> Result<Receipt, StripeError> {
    let from = [
        SubscriptionStatus::Active,
        SubscriptionStatus::Trialing,
        SubscriptionStatus::PastDue,
    ];
    let old = in_status(data, id, &from)?;
    let known = data.price(price);
    let price = known.ok_or_else(|| StripeError::missing("price", price))?;
    if price.interval.months().is_none() || price.currency != old.item.price.currency {
        return Err(StripeError::invalid(
            "The price does not fit the subscription.",
        ));
    }
    let is_reset = price.interval != old.item.price.interval;
    let item = PricedItem {
        price,
        quantity: old.item.quantity,
    };
    if is_reset && old.status != SubscriptionStatus::Trialing {
        return Ok(reset(data, &old, item, proration));
    }
    Ok(swap(data, &old, item, proration))
}

/// Changes the price and keeps the period.
fn swap(
    data: &mut AccountData,
    old: &Subscription,
    item: PricedItem,
    proration: Proration,
) -> Receipt {
    let mut lines = Vec::new();
    if proration != Proration::None {
        lines = vec![
            lines::unused(data, old, share(data, old)),
            lines::remaining(data, old, &item, share(data, old)),
        ];
    }
    let changed = change(data, &old.id, old, |subscription| {
        subscription.item = item;
        subscription.pending.extend(lines);
    });
    data.announce(changed.into_iter().collect());
    if proration != Proration::AlwaysInvoice {
        return receipt(data, &old.id, "");
    }
    let billed = data.subscriptions.find(&old.id).map(pending_lines);
    bill(data, &old.id, billed.unwrap_or_default())
}

/// Changes the price and starts a period of the other length.
fn reset(
    data: &mut AccountData,
    old: &Subscription,
    item: PricedItem,
    proration: Proration,
) -> Receipt {
    let now = data.now();
    let months = item.price.interval.months().unwrap_or(1);
    let period = Span {
        start: now,
        end: add_months(now, months),
    };
    let mut billed = pending_lines(old);
    if proration != Proration::None {
        billed.push(lines::unused(data, old, share(data, old)));
    }
    let changed = change(data, &old.id, old, |subscription| {
        subscription.item = item;
        subscription.anchor = now;
        subscription.periods = 1;
        subscription.period = period;
    });
    data.announce(changed.into_iter().collect());
    if let Some(new) = data.subscriptions.find(&old.id).cloned() {
        billed.push(lines::plan(data, &new, period));
    }
    bill(data, &old.id, billed)
}

fn bill(data: &mut AccountData, id: &str, billed: Vec<Line>) -> Receipt {
    let Some(of) = data.subscriptions.find(id).cloned() else {
        return Receipt::default();
    };
    let (invoice, news) = bill_at_once(data, &of, BillingReason::Update, billed);
    remember_billed(data, id, &invoice);
    data.announce(news);
    receipt(data, id, &invoice)
}

/// Share of the period that is prorated; none of a trial.
fn share(data: &AccountData, of: &Subscription) -> Remaining {
    let is_trial = of.status == SubscriptionStatus::Trialing;
    let at = if is_trial { of.period.end } else { data.now() };
    Remaining::at(at, of.period)
}
