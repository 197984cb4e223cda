//! Single objects by id: `GET /v1/subscriptions/sub_…` and the like.
//!
//! Reads only. `expand[]` is accepted; it expands a price's `currency_options` and nothing else.

use super::call::ApiCall;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::records::Price;
use crate::demo::stripe::render;
use serde_json::{Value, json};

pub(super) fn find(
    data: &AccountData,
    call: &ApiCall<'_>,
    collection: &[&str],
    id: &str,
) -> Result<Value, StripeError> {
    call.form.check(&["expand[*]"])?;
    let shape = call.shape;
    let (noun, found) = match collection {
        ["subscriptions"] => {
            let found = data.subscriptions.find(id);
            (
                "subscription",
                found.map(|one| render::subscription(data, one, shape)),
            )
        }
        ["invoices"] => {
            let found = data.invoices.find(id);
            (
                "invoice",
                found.map(|one| render::invoice(data, one, shape)),
            )
        }
        ["prices"] => (
            "price",
            data.price(id).map(|one| expanded_price(data, call, &one)),
        ),
        ["charges"] => {
            let mut payments = data.payments.newest_first();
            let found = payments.find(|one| one.charge.as_deref() == Some(id));
            ("charge", found.map(|one| render::charge(data, one, shape)))
        }
        ["payment_intents"] => {
            let found = data.payments.find(id);
            (
                "payment_intent",
                found.map(|one| render::payment_intent(data, one, shape)),
            )
        }
        ["refunds"] => ("refund", data.refunds.find(id).map(render::refund)),
        ["disputes"] => {
            let found = data.disputes.find(id);
            ("dispute", found.map(|one| render::dispute(data, one)))
        }
        ["customers"] => {
            let found = data.customers.find(id);
            ("customer", found.map(|one| render::customer(data, one)))
        }
        ["checkout", "sessions"] => {
            let found = data.sessions.find(id);
            let found = found.map(|one| render::checkout_session(data, one, call.origin));
            ("checkout.session", found)
        }
        _ => return Err(call.unrecognized()),
    };
    found.ok_or_else(|| StripeError::missing(noun, id).with_status(404).at("id"))
}

fn expanded_price(data: &AccountData, call: &ApiCall<'_>, price: &Price) -> Value {
    let mut json = render::price(data, price);
    let mut expanded = call.form.values("expand").into_iter();
    if expanded.any(|name| name == "currency_options") {
        let option = json!({
            "unit_amount": price.cents,
            "unit_amount_decimal": price.cents.to_string(),
        });
        json["currency_options"] = json!({ price.currency.as_str(): option });
    }
    json
}
