//! Lists with Stripe's cursors: `limit`, `starting_after` and `has_more`, newest first.
//!
//! Reads only. The lines of an invoice come in the invoice's order.

use super::call::ApiCall;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::records::SubscriptionStatus;
use crate::demo::stripe::render;
use serde_json::{Value, json};

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: u64 = 100;

pub(super) fn subscriptions(data: &AccountData, call: &ApiCall<'_>) -> Result<Value, StripeError> {
    let known = ["customer", "status", "limit", "starting_after", "expand[*]"];
    call.form.check(&known)?;
    let customer = customer(data, call)?;
    let status = call.form.text("status").unwrap_or_default();
    let rows = data.subscriptions.newest_first().filter(|one| {
        let is_wanted = match status {
            "all" => true,
            "" => one.status != SubscriptionStatus::Canceled,
            "ended" => one.status.is_ended(),
            status => json!(one.status) == status,
        };
        is_wanted && customer.is_none_or(|id| one.customer == id)
    });
    let rows = rows.map(|one| (one.id.as_str(), one));
    page(call, "subscription", rows, |one| {
        render::subscription(data, one, call.shape)
    })
}

pub(super) fn invoices(data: &AccountData, call: &ApiCall<'_>) -> Result<Value, StripeError> {
    let known = [
        "customer",
        "subscription",
        "status",
        "limit",
        "starting_after",
        "expand[*]",
    ];
    call.form.check(&known)?;
    let customer = customer(data, call)?;
    let (status, subscription) = (call.form.text("status"), call.form.text("subscription"));
    let rows = data.invoices.newest_first().filter(|one| {
        customer.is_none_or(|id| one.customer == id)
            && subscription.is_none_or(|id| one.subscription == id)
            && status.is_none_or(|status| json!(one.status) == status)
    });
    let rows = rows.map(|one| (one.id.as_str(), one));
    page(call, "invoice", rows, |one| {
        render::invoice(data, one, call.shape)
    })
}

pub(super) fn lines(
    data: &AccountData,
    call: &ApiCall<'_>,
    id: &str,
) -> Result<Value, StripeError> {
    call.form.check(&["limit", "starting_after", "expand[*]"])?;
    let found = data.invoices.find(id);
    let invoice = found.ok_or_else(|| StripeError::missing("invoice", id).with_status(404))?;
    let rows = invoice.lines.iter().map(|line| (line.id.as_str(), line));
    page(call, "line_item", rows, |line| {
        render::line(data, invoice, line, call.shape)
    })
}

pub(super) fn invoice_payments(
    data: &AccountData,
    call: &ApiCall<'_>,
) -> Result<Value, StripeError> {
    let (kind, intent) = ("payment[type]", "payment[payment_intent]");
    let known = [
        "invoice",
        "status",
        kind,
        intent,
        "limit",
        "starting_after",
        "expand[*]",
    ];
    call.form.check(&known)?;
    let (invoice, status) = (call.form.text("invoice"), call.form.text("status"));
    let intent = call.form.text(intent);
    if intent.is_some() && call.form.text(kind) != Some("payment_intent") {
        return Err(StripeError::invalid("payment[type] must be payment_intent.").at(kind));
    }
    let paid = data.invoices.newest_first().filter(|one| {
        one.payment_intent.is_some()
            && invoice.is_none_or(|id| one.id == id)
            && intent.is_none_or(|id| one.payment_intent.as_deref() == Some(id))
    });
    let rows = paid.map(|one| (one.payment_id.as_str(), render::invoice_payment(data, one)));
    let rows = rows.filter(|(_, one)| status.is_none_or(|status| one["status"] == status));
    page(call, "invoice_payment", rows, |one| one)
}

pub(super) fn refunds(data: &AccountData, call: &ApiCall<'_>) -> Result<Value, StripeError> {
    let known = [
        "payment_intent",
        "charge",
        "limit",
        "starting_after",
        "expand[*]",
    ];
    call.form.check(&known)?;
    let (intent, charge) = (call.form.text("payment_intent"), call.form.text("charge"));
    let rows = data.refunds.newest_first().filter(|one| {
        intent.is_none_or(|id| one.payment_intent == id) && charge.is_none_or(|id| one.charge == id)
    });
    let rows = rows.map(|one| (one.id.as_str(), one));
    page(call, "refund", rows, render::refund)
}

/// The `customer` of a list, which must be known.
fn customer<'a>(data: &AccountData, call: &'a ApiCall<'_>) -> Result<Option<&'a str>, StripeError> {
    let customer = call.form.text("customer");
    match customer {
        Some(id) if data.customers.find(id).is_none() => {
            Err(StripeError::missing("customer", id).at("customer"))
        }
        _ => Ok(customer),
    }
}

/// One page of rows, which come with their ids.
fn page<'a, T>(
    call: &ApiCall<'_>,
    noun: &str,
    mut rows: impl Iterator<Item = (&'a str, T)>,
    render: impl Fn(T) -> Value,
) -> Result<Value, StripeError> {
    let limit = match call.form.integer("limit")? {
        None => DEFAULT_LIMIT,
        Some(limit @ 1..=MAX_LIMIT) => usize::try_from(limit).unwrap_or(DEFAULT_LIMIT),
        Some(limit) => {
            let message = format!("Invalid integer: {limit}; limit is 1 to {MAX_LIMIT}.");
            return Err(StripeError::invalid(message)
                .with_code("parameter_invalid_integer")
                .at("limit"));
        }
    };
    if let Some(after) = call.form.text("starting_after")
        && !rows.any(|(id, _)| id == after)
    {
        return Err(StripeError::missing(noun, after).at("starting_after"));
    }
    let shown = rows.by_ref().take(limit);
    let shown: Vec<Value> = shown.map(|(_, row)| render(row)).collect();
    Ok(json!({
        "object": "list",
        "data": shown,
        "has_more": rows.next().is_some(),
        "url": format!("/v1/{}", call.segments.join("/")),
    }))
}
