//! JSON of what is paid again and again: subscriptions, invoices with their lines, invoice payments.
//!
//! Pure. Basil moved most of what ties an invoice to its subscription and to its payment; both shapes are here,
//! side by side.

use super::payments::price;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::records::{
    Discount, Invoice, InvoiceStatus, Line, LineSource, PaymentStatus, Span, Subscription,
};
use crate::demo::stripe::shape::ApiShape;
use serde_json::{Value, json};

/// Lines inside an invoice; the rest is behind `/lines`.
const MAX_EMBEDDED_LINES: usize = 10;

pub(crate) fn subscription(
    data: &AccountData,
    subscription: &Subscription,
    shape: ApiShape,
) -> Value {
    let Span { start, end } = subscription.period;
    let mut item = json!({
        "id": subscription.item_id,
        "object": "subscription_item",
        "created": subscription.created,
        "metadata": {},
        "price": price(data, &subscription.item.price),
        "quantity": subscription.item.quantity,
        "subscription": subscription.id,
    });
    if shape == ApiShape::Basil {
        item["current_period_start"] = json!(start);
        item["current_period_end"] = json!(end);
    }
    let discounts = discount_ids(subscription.discount.as_ref());
    let mut json = json!({
        "id": subscription.id,
        "object": "subscription",
        "billing_cycle_anchor": subscription.anchor,
        "cancel_at": subscription.cancel_at_period_end.then_some(end),
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "collection_method": "charge_automatically",
        "created": subscription.created,
        "currency": subscription.item.price.currency,
        "customer": subscription.customer,
        "discounts": discounts,
        "ended_at": subscription.ended_at,
        "items": {
            "object": "list",
            "data": [item],
            "has_more": false,
            "total_count": 1,
            "url": format!("/v1/subscription_items?subscription={}", subscription.id),
        },
        "latest_invoice": subscription.latest_invoice,
        "livemode": data.livemode,
        "metadata": subscription.metadata,
        "pause_collection": null,
        "start_date": subscription.created,
        "status": subscription.status,
        "trial_end": subscription.trial.map(|trial| trial.end),
        "trial_start": subscription.trial.map(|trial| trial.start),
    });
    if shape == ApiShape::Before {
        json["current_period_start"] = json!(start);
        json["current_period_end"] = json!(end);
    }
    json
}

fn discount_ids(discount: Option<&Discount>) -> Vec<&str> {
    discount
        .map(|known| known.id.as_str())
        .into_iter()
        .collect()
}

pub(crate) fn invoice(data: &AccountData, invoice: &Invoice, shape: ApiShape) -> Value {
    let embedded = invoice.lines.iter().take(MAX_EMBEDDED_LINES);
    let lines: Vec<Value> = embedded
        .map(|one| line(data, invoice, one, shape))
        .collect();
    let mut json = json!({
        "id": invoice.id,
        "object": "invoice",
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": invoice.amount_due - invoice.amount_paid,
        "attempt_count": invoice.attempts,
        "attempted": invoice.attempts > 0,
        "billing_reason": invoice.reason,
        "collection_method": "charge_automatically",
        "created": invoice.created,
        "currency": invoice.currency,
        "customer": invoice.customer,
        "ending_balance": (invoice.status != InvoiceStatus::Draft).then_some(invoice.ending_balance),
        "lines": {
            "object": "list",
            "data": lines,
            "has_more": invoice.lines.len() > MAX_EMBEDDED_LINES,
            "total_count": invoice.lines.len(),
            "url": format!("/v1/invoices/{}/lines", invoice.id),
        },
        "livemode": data.livemode,
        "metadata": {},
        "number": invoice.number,
        "period_end": invoice.period.end,
        "period_start": invoice.period.start,
        "starting_balance": invoice.starting_balance,
        "status": invoice.status,
        "status_transitions": {
            "finalized_at": (invoice.status != InvoiceStatus::Draft).then_some(invoice.created),
            "paid_at": invoice.paid_at,
        },
        "subtotal": invoice.subtotal(),
        "total": invoice.total(),
        "total_discount_amounts": total_discounts(invoice),
    });
    tie(data, invoice, shape, &mut json);
    json
}

/// Members that tie an invoice to its subscription, and before Basil to its payment.
fn tie(data: &AccountData, invoice: &Invoice, shape: ApiShape, json: &mut Value) {
    let metadata = &invoice.subscription_metadata;
    match shape {
        ApiShape::Before => {
            let payment = invoice.payment_intent.as_deref();
            let payment = payment.and_then(|id| data.payments.find(id));
            json["charge"] = json!(payment.and_then(|known| known.charge.clone()));
            json["paid"] = json!(invoice.status == InvoiceStatus::Paid);
            json["payment_intent"] = json!(invoice.payment_intent);
            json["subscription"] = json!(invoice.subscription);
            json["subscription_details"] = json!({ "metadata": metadata });
        }
        ApiShape::Basil => {
            json["parent"] = json!({
                "quote_details": null,
                "subscription_details": {
                    "metadata": metadata,
                    "subscription": invoice.subscription,
                },
                "type": "subscription_details",
            });
        }
    }
}

fn total_discounts(invoice: &Invoice) -> Vec<Value> {
    let amount = invoice.discount_cents();
    let first = invoice.lines.iter().find_map(|line| line.discount.as_ref());
    let total = first.map(|discount| json!({ "amount": amount, "discount": discount.id }));
    total.into_iter().collect()
}

pub(crate) fn line(data: &AccountData, invoice: &Invoice, line: &Line, shape: ApiShape) -> Value {
    let discount = line.discount.as_ref();
    let amounts: Vec<Value> = discount
        .map(|known| json!({ "amount": line.discount_cents, "discount": known.id }))
        .into_iter()
        .collect();
    let mut json = json!({
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": invoice.currency,
        "description": line.description,
        "discount_amounts": amounts,
        "discountable": !line.proration,
        "discounts": discount_ids(discount),
        "invoice": invoice.id,
        "livemode": data.livemode,
        "metadata": invoice.subscription_metadata,
        "period": { "end": line.period.end, "start": line.period.start },
        "quantity": line.item.quantity,
    });
    describe(data, line, shape, &mut json);
    json
}

/// Members of a line about its price and its origin, which Basil moved.
fn describe(data: &AccountData, line: &Line, shape: ApiShape, json: &mut Value) {
    let credited = line
        .credited
        .as_ref()
        .map(|(invoice, line)| json!({ "invoice": invoice, "invoice_line_items": [line] }));
    let details = json!({ "credited_items": credited });
    let item = match &line.source {
        LineSource::Plan => None,
        LineSource::InvoiceItem(id) => Some(id.as_str()),
    };
    match shape {
        ApiShape::Before => {
            if let Some(id) = item {
                json["invoice_item"] = json!(id);
            }
            json["price"] = price(data, &line.item.price);
            json["proration"] = json!(line.proration);
            json["proration_details"] = details;
            json["subscription"] = json!(line.subscription);
            if is_of_plan(line) {
                json["subscription_item"] = json!(line.subscription_item);
            }
            json["type"] = json!(if item.is_none() {
                "subscription"
            } else {
                "invoiceitem"
            });
        }
        ApiShape::Basil => {
            json["parent"] = parent(line, item, &details);
            json["pricing"] = json!({
                "price_details": {
                    "price": line.item.price.id,
                    "product": line.item.price.product(),
                },
                "type": "price_details",
                "unit_amount_decimal": unit_amount(line),
            });
        }
    }
}

/// Whether the line is about the subscription's plan: its price, or a proration of it.
fn is_of_plan(line: &Line) -> bool {
    line.proration || line.source == LineSource::Plan
}

fn parent(line: &Line, item: Option<&str>, details: &Value) -> Value {
    let mut inner = json!({
        "invoice_item": item,
        "proration": line.proration,
        "proration_details": details,
        "subscription": line.subscription,
    });
    if is_of_plan(line) {
        inner["subscription_item"] = json!(line.subscription_item);
        return json!({
            "invoice_item_details": null,
            "subscription_item_details": inner,
            "type": "subscription_item_details",
        });
    }
    json!({
        "invoice_item_details": inner,
        "subscription_item_details": null,
        "type": "invoice_item_details",
    })
}

/// Price of one unit; of a proration, the prorated amount of one unit.
fn unit_amount(line: &Line) -> String {
    let cents = match line.proration {
        true => line.amount / line.item.quantity.max(1),
        false => line.item.price.cents,
    };
    cents.to_string()
}

pub(crate) fn invoice_payment(data: &AccountData, invoice: &Invoice) -> Value {
    let payment = invoice.payment_intent.as_deref();
    let payment = payment.and_then(|id| data.payments.find(id));
    let is_paid = payment.is_some_and(|known| known.status == PaymentStatus::Succeeded);
    json!({
        "id": invoice.payment_id,
        "object": "invoice_payment",
        "amount_paid": is_paid.then_some(invoice.amount_paid),
        "amount_requested": invoice.amount_due,
        "created": invoice.created,
        "currency": invoice.currency,
        "invoice": invoice.id,
        "is_default": true,
        "livemode": data.livemode,
        "payment": { "payment_intent": invoice.payment_intent, "type": "payment_intent" },
        "status": if is_paid { "paid" } else { "open" },
        "status_transitions": { "canceled_at": null, "paid_at": invoice.paid_at },
    })
}
