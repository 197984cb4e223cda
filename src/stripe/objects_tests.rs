//! Both shapes of each object, and what must not be read.

use super::*;
use serde_json::{Value, json};

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn before() -> Value {
    json!({
        "id": "in_1", "object": "invoice", "status": "paid", "customer": "cus_1", "created": 5, "total": 999,
        "amount_paid": 999, "subscription": "sub_1", "payment_intent": "pi_1", "charge": "ch_1",
        "subscription_details": {"metadata": {"tenant": "abc"}},
        "lines": {"object": "list", "has_more": false, "data": [
            {"id": "il_1", "amount": 999, "currency": "usd", "price": {"id": "price_1", "unit_amount": 999}, "discount_amounts": null},
        ]},
    })
}

fn basil() -> Value {
    json!({
        "id": "in_1", "object": "invoice", "status": "paid", "customer": {"id": "cus_1", "object": "customer"},
        "created": 5, "total": 999, "amount_paid": 999,
        "parent": {"type": "subscription_details", "quote_details": null, "subscription_details": {
            "subscription": "sub_1", "metadata": {"tenant": "abc"}}},
        "lines": {"object": "list", "has_more": false, "data": [
            {"id": "il_1", "amount": 999, "currency": "usd", "discount_amounts": [],
             "pricing": {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_1"}}},
        ]},
    })
}

#[test]
fn both_shapes_of_an_invoice_say_the_same() {
    for (shape, intent) in [(before(), Some("pi_1")), (basil(), None)] {
        let invoice: Invoice = read(shape);
        assert!(invoice.is_paid());
        assert_eq!(invoice.customer.as_deref(), Some("cus_1"));
        assert_eq!(invoice.subscription(), Some("sub_1"));
        assert_eq!(invoice.metadata().unwrap().get("tenant"), Some("abc"));
        assert_eq!(invoice.payment_intent.as_deref(), intent);
        let line = &invoice.lines.as_ref().unwrap().data[0];
        assert_eq!((line.price(), line.net()), (Some("price_1"), 999));
    }
}

#[test]
fn an_invoice_without_a_subscription_is_nobodys() {
    let mut invoice = basil();
    invoice["parent"] = Value::Null;
    let invoice: Invoice = read(invoice);
    assert!(invoice.metadata().is_none() && invoice.subscription().is_none());
}

#[test]
fn a_discount_lowers_a_charge_to_nothing_at_most() {
    for (amount, discounts, net) in [
        (999, json!([{"amount": 500}, {"amount": 100}]), 399),
        (999, json!([{"amount": 5000}]), 0),
        (999, json!([{"amount": -5000}]), 999),
        (-999, json!([{"amount": 100}]), -999),
    ] {
        let line: Line = read(json!({"id": "il", "amount": amount, "discount_amounts": discounts}));
        assert_eq!(line.net(), net, "{amount} {discounts}");
        assert_eq!(line.price(), None);
    }
}

#[test]
fn a_dispute_counts_while_its_funds_are_out() {
    for (moved, withdrawn) in [
        (json!([]), 0),
        (json!([{"amount": -999}]), 999),
        (json!([{"amount": -999}, {"amount": 999}]), 0),
        (json!([{"amount": -999}, {"amount": 990}]), 0),
    ] {
        let dispute: Dispute = read(
            json!({"id": "dp", "amount": 999, "payment_intent": "pi", "balance_transactions": moved}),
        );
        assert_eq!(dispute.withdrawn(), withdrawn);
    }
}

#[test]
fn a_price_has_an_amount_in_each_of_its_currencies() {
    let price: Price = read(json!({
        "id": "price_1", "unit_amount": 999, "currency": "usd", "recurring": {"interval": "month", "interval_count": 1},
        "currency_options": {"eur": {"unit_amount": 899}, "gbp": {"unit_amount": null}},
    }));
    assert_eq!(price.amount_in("usd"), Some(999));
    assert_eq!(price.amount_in("eur"), Some(899));
    assert_eq!(
        (price.amount_in("gbp"), price.amount_in("chf")),
        (None, None)
    );
}

#[test]
fn a_member_that_stands_twice_makes_an_object_unreadable() {
    let twice = r#"{"id":"in_1","id":"in_2","created":1}"#;
    assert!(serde_json::from_str::<Invoice>(twice).is_err());
    let twice = r#"{"id":"evt_1","object":"event","type":"a","type":"b"}"#;
    assert!(serde_json::from_str::<StripeEvent<'_>>(twice).is_err());
}
