//! Webhooks that are not Stripe's, not this tenant's, or not of this mode.

use super::shop::{FREE, Shop, assert_state, basic, object, send, small, spend, state};
use crate::harness::issuer::now;
use crate::harness::{Gateway, Response};
use resullm::demo::stripe::SignedEvent;
use serde_json::{Value, json};

fn take(gateway: &Gateway, event: &SignedEvent) -> Response {
    send(&gateway.client(), "/abc/billing/stripe", event)
}

/// A shop in which somebody has just paid for a top-up, and the event that says so.
fn paid() -> (Shop, Gateway, String, SignedEvent) {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    let events = shop.events();
    let event = events
        .into_iter()
        .find(|event| event.kind == "checkout.session.completed")
        .unwrap();
    (shop, gateway, key, event)
}

#[test]
fn an_event_counts_with_a_fresh_signature_over_its_very_bytes() {
    let (shop, gateway, key, event) = paid();
    let signed = |signature: String| SignedEvent {
        signature,
        ..event.clone()
    };
    let old = shop.stripe.sign(&event.body, now() - 301);
    let early = shop.stripe.sign(&event.body, now() + 310);
    let mut other = event.clone();
    other.body = [&event.body[..], b" "].concat().into();
    let parsed: Value = serde_json::from_slice(&event.body).unwrap();
    let mut rewritten = event.clone();
    rewritten.body = serde_json::to_vec_pretty(&parsed).unwrap().into();
    for (forged, why) in [
        (signed(String::new()), "missing"),
        (signed("t=1".to_owned()), "missing"),
        (
            signed(format!("t={},v1={}", now(), "0".repeat(64))),
            "none of the webhook's secrets",
        ),
        (signed(old), "five minutes"),
        (signed(early), "future"),
        (other, "none of the webhook's secrets"),
        (rewritten, "none of the webhook's secrets"),
    ] {
        let answer = take(&gateway, &forged);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer.text().contains(why),
            "{} is not {why}",
            answer.text()
        );
    }
    // Two headers could be read as either.
    let twice = gateway.client().request("POST", "/abc/billing/stripe");
    let twice = twice.header("stripe-signature", &event.signature);
    let twice = twice
        .header("stripe-signature", "t=1,v1=00")
        .body(event.body.to_vec())
        .send();
    assert_eq!(twice.status, 400);
    assert_state(&gateway, &key, FREE, "google_logged_in");

    assert_eq!(take(&gateway, &event).status, 200);
    assert_state(&gateway, &key, FREE + 3_000, "google_logged_in");
}

#[test]
fn both_secrets_of_a_webhook_are_taken_while_they_change() {
    let (shop, gateway, key, event) = paid();
    let config = shop.tenant().set(
        "auth.stripe.webhook_secrets",
        json!(["whsec_next", "whsec_shop"]),
    );
    let put = gateway.client().request("PUT", "/abc/admin/config");
    let put = put
        .bearer(gateway.admin_token())
        .json(&json!({"config": Value::from(config)}))
        .send();
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(take(&gateway, &event).status, 200);
    assert_state(&gateway, &key, FREE + 3_000, "google_logged_in");
}

#[test]
fn what_is_not_ours_is_taken_and_changes_nothing() {
    let (shop, gateway, key, event) = paid();
    type Alter = fn(&mut Value);
    let cases: [(&str, Alter); 11] = [
        ("another tenant's", |e| {
            e["data"]["object"]["metadata"]["tenant"] = json!("other");
        }),
        ("nobody's", |e| e["data"]["object"]["metadata"] = json!({})),
        ("without metadata", |e| {
            e["data"]["object"]["metadata"] = Value::Null;
        }),
        ("an account that there is not", |e| {
            e["data"]["object"]["metadata"]["account"] = json!("p_aaaaaaaaaaaaaaaaaaaaaaaaaa");
        }),
        ("of an earlier account", |e| {
            e["data"]["object"]["metadata"]["purchases"] = json!("old");
        }),
        ("of another name", |e| {
            e["data"]["object"]["metadata"]["account"] = json!("../x");
        }),
        ("live", |e| e["livemode"] = json!(true)),
        ("of a connected account", |e| e["account"] = json!("acct_1")),
        ("of API v2", |e| e["object"] = json!("v2.core.event")),
        ("of an unknown type", |e| {
            e["type"] = json!("checkout.session.admired");
        }),
        ("without an object", |e| e["data"] = Value::Null),
    ];
    for (what, alter) in cases {
        let answer = take(&gateway, &shop.altered(&event, alter));
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        assert!(
            answer.json()["ignored"].is_string(),
            "{what}: {}",
            answer.text()
        );
        assert_state(&gateway, &key, FREE, "google_logged_in");
    }
    let request = gateway.client().request("GET", "/abc/admin/payments");
    let listed = request.bearer(gateway.admin_token()).send().json();
    let listed = listed["events"].as_array().unwrap();
    assert_eq!(listed.len(), cases.len());
    assert!(listed.iter().all(|row| row["ignored"].is_string()));
}

#[test]
fn a_client_reference_alone_names_nobody() {
    let (shop, gateway, key, event) = paid();
    // A Payment Link lets its buyer set the reference.
    let linked = shop.altered(&event, |event| {
        let object = &mut event["data"]["object"];
        assert!(object["client_reference_id"].is_string());
        object["metadata"] = json!({});
    });
    assert!(take(&gateway, &linked).json()["ignored"].is_string());
    assert_state(&gateway, &key, FREE, "google_logged_in");
}

#[test]
fn a_session_that_is_not_paid_or_grants_no_number_changes_nothing() {
    let (shop, gateway, key, event) = paid();
    type Alter = fn(&mut Value);
    let cases: [Alter; 5] = [
        |e| e["data"]["object"]["payment_status"] = json!("unpaid"),
        |e| e["data"]["object"]["payment_status"] = json!("no_payment_required"),
        |e| e["data"]["object"]["metadata"]["grant"] = json!("-5"),
        |e| e["data"]["object"]["metadata"]["grant"] = json!("stripe_basic"),
        |e| e["data"]["object"]["mode"] = json!("setup"),
    ];
    for alter in cases {
        let answer = take(&gateway, &shop.altered(&event, alter));
        assert!(answer.json()["ignored"].is_string(), "{}", answer.text());
    }
    assert_state(&gateway, &key, FREE, "google_logged_in");
}

#[test]
fn a_body_that_is_no_event_is_refused_and_one_that_says_things_twice_too() {
    let (shop, gateway, _, event) = paid();
    let text = String::from_utf8(event.body.to_vec()).unwrap();
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        text.replacen('{', r#"{"livemode":true,"#, 1),
        text.replacen('{', r#"{"type":"x","#, 1),
        format!("{text}{text}"),
    ] {
        let event = SignedEvent {
            signature: shop.sign(body.as_bytes()),
            body: body.clone().into(),
            ..event.clone()
        };
        let answer = take(&gateway, &event);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
}

#[test]
fn a_tenant_on_the_same_stripe_account_takes_nothing_of_its_neighbour() {
    let shop = Shop::open();
    let setup = shop
        .setup()
        .tenant("abc", shop.tenant())
        .tenant("other", shop.tenant());
    let gateway = Gateway::start(setup);
    let key = shop.sign_in(&gateway, "ann");
    let token = shop.issuer.token("ann");
    let other = gateway.client().request("POST", "/other/auth/google");
    let other = other.json(&json!({"idToken": token})).send().json()["apiKey"]
        .as_str()
        .unwrap()
        .to_owned();
    shop.buy(&gateway, &key, &small());
    shop.buy(&gateway, &key, &basic());

    for event in shop.events() {
        let answer = send(&gateway.client(), "/other/billing/stripe", &event);
        assert!(
            answer.json()["ignored"].is_string(),
            "{}: {}",
            event.kind,
            answer.text()
        );
    }
    assert_state(&gateway, &key, FREE, "google_logged_in");
    let me = gateway
        .client()
        .request("GET", "/other/auth/me")
        .bearer(&other)
        .send();
    assert_eq!(me.json()["tokensLeft"], FREE);
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 8_000, "stripe_basic");
}

#[test]
fn an_event_about_an_object_that_stripe_does_not_know_changes_nothing() {
    let (shop, gateway, key, event) = paid();
    let metadata = object(&event)["metadata"].clone();
    let forged = [
        (
            "customer.subscription.updated",
            json!({"id": "sub_none", "object": "subscription", "status": "active", "customer": "cus_1", "metadata": metadata}),
        ),
        (
            "invoice.paid",
            json!({"id": "in_none", "object": "invoice", "status": "paid", "created": 1, "parent": {"subscription_details": {"subscription": "sub_none", "metadata": metadata}}}),
        ),
        (
            "charge.refunded",
            json!({"id": "ch_none", "object": "charge", "payment_intent": "pi_none", "amount_refunded": 500}),
        ),
        (
            "charge.dispute.funds_withdrawn",
            json!({"id": "dp_none", "object": "dispute", "payment_intent": "pi_none", "amount": 500}),
        ),
        (
            "charge.refunded",
            json!({"id": "ch_none", "object": "charge", "payment_intent": null}),
        ),
    ];
    for (kind, object) in forged {
        let mut event = shop.stripe.forge(kind, object);
        event.signature = shop.sign(&event.body);
        let answer = take(&gateway, &event);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert!(
            answer.json()["ignored"].is_string(),
            "{kind}: {}",
            answer.text()
        );
    }
    assert_state(&gateway, &key, FREE, "google_logged_in");
}

#[test]
fn an_event_comes_again_while_stripe_cannot_be_asked() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &basic());
    let paid = shop.event("invoice.paid");
    for status in [500, 429, 401] {
        shop.stripe.fail_next(1, status);
        let answer = take(&gateway, &paid);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_state(&gateway, &key, FREE, "google_logged_in");
    }
    assert_eq!(take(&gateway, &paid).status, 200);
    assert_state(&gateway, &key, FREE + 5_000, "stripe_basic");
}

#[test]
fn a_larger_refund_than_what_is_left_takes_what_is_left() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    spend(&gateway, &key, FREE + 2_900);

    let refund = shop.stripe.refund(&shop.intents()[0], 500).unwrap();
    shop.tell(&gateway);
    assert_eq!(state(&gateway, &key).0, 0);
    // What it gives back when it fails is no more than what it took.
    shop.stripe.fail_refund(&refund).unwrap();
    shop.tell(&gateway);
    assert_eq!(state(&gateway, &key).0, 100);
}
