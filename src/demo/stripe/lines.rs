//! Lines of invoices: a plan's period, a trial, a price that is billed once, the two halves of a proration.
//!
//! Amounts of plans are before their discount. Prorations are net of it unless the account itemizes them: then they
//! are gross, with the discount beside them.

use super::calendar::date;
use super::data::AccountData;
use super::proration::{Remaining, percent_of};
use super::records::{Discount, Line, LineSource, PricedItem, Span, Subscription};

/// Line for a whole period of the subscription's plan.
pub(super) fn plan(data: &mut AccountData, of: &Subscription, period: Span) -> Line {
    let price = &of.item.price;
    let every = price.interval.name().unwrap_or("time");
    let description = format!(
        "{} × {} (at {} / {every})",
        of.item.quantity,
        price.id,
        money(price.cents, &price.currency)
    );
    let mut line = blank(data, of, &of.item, period, description);
    line.amount = of.item.cents();
    discounted(line, of.discount.as_ref())
}

/// Line of amount 0 for a trial.
pub(super) fn trial(data: &mut AccountData, of: &Subscription, period: Span) -> Line {
    let description = format!("Trial period for {}", of.item.price.id);
    blank(data, of, &of.item, period, description)
}

/// Line for a price that is billed once, beside the plan.
pub(super) fn once(data: &mut AccountData, of: &Subscription, item: &PricedItem) -> Line {
    let now = data.now();
    let at = Span {
        start: now,
        end: now,
    };
    let mut line = blank(data, of, item, at, item.price.id.clone());
    line.amount = item.cents();
    line.source = LineSource::InvoiceItem(data.id("ii"));
    discounted(line, of.discount.as_ref())
}

/// Credit for the time of the present plan that was billed and is not used.
pub(super) fn unused(data: &mut AccountData, of: &Subscription, share: Remaining) -> Line {
    let description = format!(
        "Unused time on {} after {}",
        of.item.price.id,
        date(data.now())
    );
    let mut line = proration(data, of, &of.item, description);
    prorate(
        data,
        &mut line,
        -share.of(of.item.cents()),
        of.discount.as_ref(),
    );
    line.credited = of.billed.clone();
    line
}

/// Debit for the rest of the period at another price.
pub(super) fn remaining(
    data: &mut AccountData,
    of: &Subscription,
    item: &PricedItem,
    share: Remaining,
) -> Line {
    let description = format!(
        "Remaining time on {} after {}",
        item.price.id,
        date(data.now())
    );
    let mut line = proration(data, of, item, description);
    prorate(
        data,
        &mut line,
        share.of(item.cents()),
        of.discount.as_ref(),
    );
    line
}

fn proration(
    data: &mut AccountData,
    of: &Subscription,
    item: &PricedItem,
    description: String,
) -> Line {
    let rest = Span {
        start: data.now(),
        end: of.period.end,
    };
    let mut line = blank(data, of, item, rest, description);
    line.proration = true;
    line.source = LineSource::InvoiceItem(data.id("ii"));
    line
}

fn prorate(data: &AccountData, line: &mut Line, gross: i64, discount: Option<&Discount>) {
    let percent = discount.map_or(0, |known| known.percent);
    let off = percent_of(gross, percent);
    line.discount = discount.cloned();
    if data.itemized_prorations {
        line.amount = gross;
        line.discount_cents = off;
    } else {
        line.amount = gross - off;
    }
}

fn discounted(mut line: Line, discount: Option<&Discount>) -> Line {
    if let Some(known) = discount {
        line.discount_cents = percent_of(line.amount, known.percent);
        line.discount = Some(known.clone());
    }
    line
}

fn blank(
    data: &mut AccountData,
    of: &Subscription,
    item: &PricedItem,
    period: Span,
    description: String,
) -> Line {
    Line {
        id: data.id("il"),
        amount: 0,
        discount_cents: 0,
        discount: None,
        description,
        item: item.clone(),
        period,
        proration: false,
        source: LineSource::Plan,
        subscription: of.id.clone(),
        subscription_item: of.item_id.clone(),
        credited: None,
    }
}

/// Amount for people: `12.00 USD`.
pub(super) fn money(cents: i64, currency: &str) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let (whole, rest) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    format!("{sign}{whole}.{rest:02} {}", currency.to_uppercase())
}
