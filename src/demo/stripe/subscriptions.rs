//! The life of a subscription: started, renewed, unpaid, paused.
//!
//! A period ends when the test or a button says so, whatever the clock shows. Plan changes are in
//! `plan_change.rs`, ends in `cancellation.rs`.

use super::calendar::{add_days, add_months};
use super::data::{AccountData, News, previous_attributes};
use super::error::StripeError;
use super::invoices;
use super::lines;
use super::receipt::Receipt;
use super::records::{
    BillingReason, CheckoutSession, Discount, Interval, Line, PricedItem, Span, Subscription,
    SubscriptionStatus,
};
use super::render;

/// A started subscription with its first invoice.
pub(super) struct Started {
    pub subscription: String,
    pub invoice: String,
    pub news: Vec<News>,
}

/// Starts the subscription that a session sells. `is_later`: a slow bank has the payment.
pub(super) fn start(
    data: &mut AccountData,
    session: &CheckoutSession,
    customer: &str,
    is_later: bool,
) -> Result<Started, StripeError> {
    let mut items = session.items.iter();
    let plan = items.find(|item| item.price.interval != Interval::Once);
    let item = plan.ok_or_else(|| StripeError::invalid("The session sells no plan."))?;
    let new = new_subscription(data, session, customer, item);
    let mut first = Vec::new();
    for item in &session.items {
        first.push(match (item.price.interval, new.trial) {
            (Interval::Once, _) => lines::once(data, &new, item),
            (_, Some(trial)) => lines::trial(data, &new, trial),
            (_, None) => lines::plan(data, &new, new.period),
        });
    }
    let id = new.id.clone();
    data.subscriptions.insert(new.clone());
    let (invoice, mut news) = invoices::open(data, &new, BillingReason::Create, first);
    remember_billed(data, &id, &invoice);
    let due = data
        .invoices
        .find(&invoice)
        .map_or(0, |known| known.amount_due);
    if is_later && due > 0 {
        news.extend(invoices::process(data, &invoice));
        set_status(data, &id, SubscriptionStatus::Incomplete);
    } else {
        news.extend(invoices::pay(data, &invoice));
    }
    let created = find(data, &id)?;
    let object = render::subscription(data, created, data.shape);
    news.insert(0, News::new("customer.subscription.created", object));
    Ok(Started {
        subscription: id,
        invoice,
        news,
    })
}

fn new_subscription(
    data: &mut AccountData,
    session: &CheckoutSession,
    customer: &str,
    item: &PricedItem,
) -> Subscription {
    let now = data.now();
    let months = item.price.interval.months().unwrap_or(1);
    let trial = (session.trial_days > 0).then(|| Span {
        start: now,
        end: add_days(now, session.trial_days),
    });
    let (status, anchor, periods) = match trial {
        Some(trial) => (SubscriptionStatus::Trialing, trial.end, 0),
        None => (SubscriptionStatus::Active, now, 1),
    };
    Subscription {
        id: data.id("sub"),
        item_id: data.id("si"),
        item: item.clone(),
        customer: customer.to_owned(),
        status,
        metadata: session.subscription_metadata.clone(),
        created: now,
        anchor,
        periods,
        period: trial.unwrap_or(Span {
            start: now,
            end: add_months(now, months),
        }),
        trial,
        cancel_at_period_end: false,
        canceled_at: None,
        ended_at: None,
        discount: session.discount.clone(),
        latest_invoice: None,
        pending: Vec::new(),
        billed: None,
    }
}

/// Ends the present period, or the trial, and bills the next one.
pub(super) fn renew(
    data: &mut AccountData,
    id: &str,
    from: &[SubscriptionStatus],
) -> Result<Receipt, StripeError> {
    let old = in_status(data, id, from)?;
    if old.cancel_at_period_end {
        return Err(StripeError::invalid(
            "The subscription ends with its period.",
        ));
    }
    let next = old.next_period();
    let mut billed = pending_lines(&old);
    billed.push(lines::plan(data, &old, next));
    let (invoice, mut news) = invoices::open(data, &old, BillingReason::Cycle, billed);
    remember_billed(data, id, &invoice);
    let moved = change(data, id, &old, |subscription| {
        subscription.period = next;
        subscription.periods += 1;
        subscription.pending.clear();
        if subscription.status == SubscriptionStatus::Trialing {
            subscription.status = SubscriptionStatus::Active;
        }
    });
    news.splice(1..1, moved);
    news.extend(collect(data, id, &invoice));
    data.announce(news);
    Ok(receipt(data, id, &invoice))
}

/// Collects an invoice and sets the subscription's status by the outcome.
pub(super) fn collect(data: &mut AccountData, id: &str, invoice: &str) -> Vec<News> {
    let (is_paid, mut news) = invoices::collect(data, invoice);
    let Some(old) = data.subscriptions.find(id).cloned() else {
        return news;
    };
    let status = match (is_paid, old.status) {
        (true, SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid) => {
            SubscriptionStatus::Active
        }
        (false, SubscriptionStatus::Active) => SubscriptionStatus::PastDue,
        (_, other) => other,
    };
    news.extend(change(data, id, &old, |subscription| {
        subscription.status = status;
    }));
    news
}

/// The card works again: the latest invoice is paid.
pub(super) fn retry_payment(data: &mut AccountData, id: &str) -> Result<Receipt, StripeError> {
    let from = [SubscriptionStatus::PastDue, SubscriptionStatus::Unpaid];
    let old = in_status(data, id, &from)?;
    let invoice = old.latest_invoice.unwrap_or_default();
    let news = collect(data, id, &invoice);
    data.announce(news);
    Ok(receipt(data, id, &invoice))
}

/// Status `paused`, as after a trial without a payment method.
pub(super) fn pause(data: &mut AccountData, id: &str) -> Result<(), StripeError> {
    let from = [SubscriptionStatus::Trialing, SubscriptionStatus::Active];
    let old = in_status(data, id, &from)?;
    let news = move_status(
        data,
        &old,
        SubscriptionStatus::Paused,
        "customer.subscription.paused",
    );
    data.announce(news);
    Ok(())
}

/// Status `active` again; the next invoice is the next renewal's.
pub(super) fn resume(data: &mut AccountData, id: &str) -> Result<(), StripeError> {
    let old = in_status(data, id, &[SubscriptionStatus::Paused])?;
    let news = move_status(
        data,
        &old,
        SubscriptionStatus::Active,
        "customer.subscription.resumed",
    );
    data.announce(news);
    Ok(())
}

fn move_status(
    data: &mut AccountData,
    old: &Subscription,
    status: SubscriptionStatus,
    kind: &'static str,
) -> Vec<News> {
    let updated = change(data, &old.id, old, |subscription| {
        subscription.status = status;
    });
    let object = updated.as_ref().map(|news| news.object.clone());
    let moved = object.map(|object| News::new(kind, object));
    updated.into_iter().chain(moved).collect()
}

/// Takes a coupon in percent for later invoices and prorations; 0 removes it.
pub(super) fn discount(data: &mut AccountData, id: &str, percent: u8) -> Result<(), StripeError> {
    let old = find(data, id)?.clone();
    let coupon = data.id("di");
    let news = change(data, id, &old, |subscription| {
        subscription.discount = (percent > 0).then_some(Discount {
            id: coupon,
            percent,
        });
    });
    data.announce(news.into_iter().collect());
    Ok(())
}

/// The bank's answer to the first payment of an `incomplete` subscription.
pub(super) fn complete(data: &mut AccountData, id: &str, is_paid: bool) -> Vec<News> {
    let Some(old) = data.subscriptions.find(id).cloned() else {
        return Vec::new();
    };
    let invoice = old.latest_invoice.clone().unwrap_or_default();
    let (mut news, status) = if is_paid {
        (invoices::pay(data, &invoice), SubscriptionStatus::Active)
    } else {
        let news = invoices::refuse(data, &invoice);
        (news, SubscriptionStatus::IncompleteExpired)
    };
    let now = data.now();
    news.extend(change(data, id, &old, |subscription| {
        subscription.status = status;
        subscription.ended_at = (!is_paid).then_some(now);
    }));
    news
}

/// Makes an invoice and collects it. Returns its id and what is to be told.
pub(super) fn bill_at_once(
    data: &mut AccountData,
    of: &Subscription,
    reason: BillingReason,
    billed: Vec<Line>,
) -> (String, Vec<News>) {
    let (invoice, mut news) = invoices::open(data, of, reason, billed);
    if let Some(subscription) = data.subscriptions.find_mut(&of.id) {
        subscription.latest_invoice = Some(invoice.clone());
        subscription.pending.clear();
    }
    news.extend(collect(data, &of.id, &invoice));
    (invoice, news)
}

/// Pending lines as an invoice has them: the newest change first.
pub(super) fn pending_lines(of: &Subscription) -> Vec<Line> {
    let changes = of.pending.chunks(2).rev();
    changes.flatten().cloned().collect()
}

/// Notes the invoice, and its line for the present plan, which a later credit names.
pub(super) fn remember_billed(data: &mut AccountData, id: &str, invoice: &str) {
    let Some(subscription) = data.subscriptions.find_mut(id) else {
        return;
    };
    subscription.latest_invoice = Some(invoice.to_owned());
    let lines = data.invoices.find(invoice).map(|known| &known.lines);
    let mut debits = lines.into_iter().flatten().rev();
    if let Some(line) = debits.find(|line| line.item.price.id == subscription.item.price.id) {
        subscription.billed = Some((invoice.to_owned(), line.id.clone()));
    }
}

/// Applies a change. Returns `customer.subscription.updated` where it differs from `old` afterwards.
pub(super) fn change(
    data: &mut AccountData,
    id: &str,
    old: &Subscription,
    apply: impl FnOnce(&mut Subscription),
) -> Option<News> {
    apply(data.subscriptions.find_mut(id)?);
    let before = render::subscription(data, old, data.shape);
    let after = render::subscription(data, data.subscriptions.find(id)?, data.shape);
    let previous = previous_attributes(&before, &after)?;
    Some(News {
        previous: Some(previous),
        ..News::new("customer.subscription.updated", after)
    })
}

fn set_status(data: &mut AccountData, id: &str, status: SubscriptionStatus) {
    if let Some(subscription) = data.subscriptions.find_mut(id) {
        subscription.status = status;
    }
}

pub(super) fn find<'a>(data: &'a AccountData, id: &str) -> Result<&'a Subscription, StripeError> {
    let found = data.subscriptions.find(id);
    found.ok_or_else(|| StripeError::missing("subscription", id).with_status(404))
}

/// Copy of a subscription that must have one of these statuses.
pub(super) fn in_status(
    data: &AccountData,
    id: &str,
    allowed: &[SubscriptionStatus],
) -> Result<Subscription, StripeError> {
    let found = find(data, id)?;
    if !allowed.contains(&found.status) {
        let message = format!("The subscription {id} has status {:?}.", found.status);
        return Err(StripeError::invalid(message));
    }
    Ok(found.clone())
}

pub(super) fn receipt(data: &AccountData, id: &str, invoice: &str) -> Receipt {
    let invoice = data.invoices.find(invoice);
    Receipt {
        customer: data
            .subscriptions
            .find(id)
            .map(|known| known.customer.clone()),
        subscription: Some(id.to_owned()),
        invoice: invoice.map(|known| known.id.clone()),
        payment_intent: invoice.and_then(|known| known.payment_intent.clone()),
    }
}
