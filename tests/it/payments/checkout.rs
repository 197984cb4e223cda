//! Who may begin a payment, of what, and where it may lead back to.

use super::shop::{
    BASIC, FREE, KEY, PAGE, PREMIUM, Shop, assert_state, basic, checkout, premium, session, small,
};
use crate::harness::{Response, mint};
use serde_json::{Value, json};

fn assert_says(answer: &Response, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_session_names_its_account_and_what_it_grants() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.check_out(&gateway, &key, &small());
    shop.check_out(&gateway, &key, &basic());

    let calls = shop.stripe.calls();
    let made: Vec<_> = calls
        .iter()
        .filter(|call| call.path == "/v1/checkout/sessions")
        .collect();
    let field = |at: usize, name: &str| {
        let form = &made[at].form;
        form.iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let account = crate::harness::me(&gateway, &key)["userId"]
        .as_str()
        .unwrap()
        .to_owned();
    for (at, mode, data, grant) in [
        (0, "payment", "payment_intent_data", "3000"),
        (1, "subscription", "subscription_data", "stripe_basic"),
    ] {
        assert_eq!(field(at, "mode").as_deref(), Some(mode));
        assert_eq!(field(at, "client_reference_id").as_ref(), Some(&account));
        for prefix in [String::new(), data.to_owned()] {
            let name = |of: &str| match prefix.is_empty() {
                true => format!("metadata[{of}]"),
                false => format!("{prefix}[metadata][{of}]"),
            };
            assert_eq!(field(at, &name("tenant")).as_deref(), Some("abc"));
            assert_eq!(field(at, &name("account")).as_ref(), Some(&account));
            assert_eq!(field(at, &name("grant")).as_deref(), Some(grant));
        }
        assert!(
            made[at]
                .idempotency_key
                .as_deref()
                .is_some_and(|key| key.starts_with("resullm-"))
        );
        assert!(
            made[at]
                .version
                .as_deref()
                .is_some_and(|version| version.starts_with("2025-03-31"))
        );
    }
    assert_eq!(field(0, "customer_creation").as_deref(), Some("always"));
    assert_eq!(field(1, "customer_creation"), None);
}

#[test]
fn a_customer_of_the_first_payment_pays_the_next_one_too() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    shop.buy(&gateway, &key, &basic());
    shop.tell(&gateway);

    let created = shop.stripe.events();
    let customers = created
        .iter()
        .filter(|event| event.kind == "customer.created")
        .count();
    assert_eq!(customers, 1);
    assert_state(&gateway, &key, FREE + 8_000, "stripe_basic");
}

#[test]
fn only_a_key_that_manages_its_account_pays() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let session = gateway.client().request("POST", "/abc/auth/sessions");
    let session = session
        .bearer(gateway.admin_token())
        .json(&json!({"userId": "u1"}))
        .send();
    let session = session.json()["apiKey"].as_str().unwrap().to_owned();
    let minted = mint(&gateway, "abc");
    for key in [session, minted] {
        assert_says(
            &checkout(&gateway, &key, &small()),
            403,
            "This key may not do that",
        );
        let portal = gateway.client().request("POST", "/abc/billing/portal");
        assert_eq!(portal.bearer(&key).send().status, 403);
    }
    assert_eq!(checkout(&gateway, "user_nobody", &small()).status, 401);
    assert!(shop.stripe.calls().is_empty());
}

#[test]
fn what_is_not_for_sale_is_refused_by_name() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    for (item, words) in [
        (json!({}), "either a group"),
        (
            json!({"group": "stripe_basic", "topUp": "small"}),
            "either a group",
        ),
        (json!({"topUp": "small", "price": BASIC}), "either a group"),
        (json!({"group": "members"}), "not for sale"),
        (json!({"group": "nobody"}), "not for sale"),
        (
            json!({"group": "stripe_basic", "price": PREMIUM}),
            "not one of the group's",
        ),
        (json!({"topUp": "large"}), "no such top-up"),
        (
            json!({"group": "stripe_basic", "tokens": 5}),
            "unknown field",
        ),
    ] {
        assert_says(&checkout(&gateway, &key, &item), 400, words);
    }
    assert!(shop.stripe.calls().is_empty());
}

#[test]
fn a_payment_leads_back_to_pages_of_the_tenant_alone() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let with = |page: &str| {
        let mut item = small();
        item["successUrl"] = json!(page);
        checkout(&gateway, &key, &item)
    };
    for page in [
        "https://evil.example/",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "https://app.example:444/",
        "http://app.example/",
        "https://app.example\\@evil.example/",
        "javascript:alert(1)",
        "//app.example/",
        "/done",
        "",
    ] {
        assert_says(&with(page), 400, "successUrl must be a page");
    }
    for page in [PAGE, "https://APP.example/x?y", "https://app.example/done"] {
        assert_eq!(with(page).status, 200, "{page}");
    }
    let mut item = small();
    item["cancelUrl"] = json!("https://evil.example/");
    assert_says(
        &checkout(&gateway, &key, &item),
        400,
        "cancelUrl must be a page",
    );

    // A tenant that any page may call has named none.
    let config = shop.tenant().set("cors.origins", json!(["*"]));
    let gateway = shop.gateway_on(None, config);
    let key = shop.sign_in(&gateway, "ann");
    assert_says(
        &checkout(&gateway, &key, &small()),
        400,
        "successUrl must be a page",
    );
}

#[test]
fn a_second_plan_is_the_portals_matter() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let portal = || {
        gateway
            .client()
            .request("POST", "/abc/billing/portal")
            .bearer(&key)
            .send()
    };
    assert_says(&portal(), 409, "begin with billing/checkout");

    shop.buy(&gateway, &key, &basic());
    // Paid, and not heard of yet.
    assert_says(
        &checkout(&gateway, &key, &premium()),
        409,
        "being completed",
    );
    shop.tell(&gateway);
    assert_says(&checkout(&gateway, &key, &premium()), 409, "portal");
    assert_eq!(checkout(&gateway, &key, &small()).status, 200);
    let opened = portal();
    assert_eq!(opened.status, 200, "{}", opened.text());
    assert!(opened.json()["url"].as_str().unwrap().contains("/portal/"));
}

#[test]
fn an_open_checkout_of_a_plan_ends_when_another_begins() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let first = shop.check_out(&gateway, &key, &basic());
    let second = shop.check_out(&gateway, &key, &premium());
    assert_ne!(first, second);
    assert!(
        shop.stripe.pay(&first).is_err(),
        "the first page still takes money"
    );
    shop.stripe.pay(&second).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 20_000, "stripe_premium");
}

#[test]
fn the_same_purchase_of_a_minute_is_one_session_and_ten_an_hour_are_enough() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let mut sessions: Vec<String> = (0..10)
        .map(|_| shop.check_out(&gateway, &key, &small()))
        .collect();
    sessions.dedup();
    // The ten may meet the turn of a minute.
    assert!(sessions.len() <= 2, "{sessions:?}");

    let refused = checkout(&gateway, &key, &small());
    assert_says(&refused, 429, "too often");
    assert!(refused.header("retry-after").is_some());
    let other = shop.sign_in(&gateway, "bob");
    assert_eq!(checkout(&gateway, &other, &small()).status, 200);
}

#[test]
fn what_stripe_says_against_it_is_passed_on_without_the_key() {
    let shop = Shop::open();
    let config = shop.tenant().set(
        "auth.stripe.top_ups.odd",
        json!({"price": "price_unknown", "tokens": 5}),
    );
    let gateway = shop.gateway_on(None, config);
    let key = shop.sign_in(&gateway, "ann");
    assert_says(
        &checkout(&gateway, &key, &json!({"topUp": "odd"})),
        502,
        "No such price",
    );

    shop.stripe.fail_next(1, 500);
    assert_says(&checkout(&gateway, &key, &small()), 503, "at the moment");
    shop.stripe.fail_next(1, 401);
    let refused = checkout(&gateway, &key, &small());
    assert_says(&refused, 503, "at the moment");
    assert!(!gateway.logs().concat().contains(KEY));
}

#[test]
fn a_tenant_without_a_webhook_secret_takes_no_money() {
    let shop = Shop::open();
    let config = shop.tenant().set("auth.stripe.webhook_secrets", json!([]));
    let gateway = shop.gateway_on(None, config);
    let key = shop.sign_in(&gateway, "ann");
    assert_says(
        &checkout(&gateway, &key, &small()),
        403,
        "webhook_secrets is missing",
    );
    assert!(shop.stripe.calls().is_empty());
}

#[test]
fn a_tenant_without_stripe_has_no_payments() {
    let shop = Shop::open();
    let config = shop.tenant().set("auth.stripe", Value::Null);
    let gateway = shop.gateway_on(None, config);
    let key = shop.sign_in(&gateway, "ann");
    assert_eq!(checkout(&gateway, &key, &small()).status, 404);
    assert_eq!(gateway.client().get("/abc/billing/plans").status, 404);
    let webhook = gateway
        .client()
        .request("POST", "/abc/billing/stripe")
        .body("{}")
        .send();
    assert_eq!(webhook.status, 404);
}

#[test]
fn a_customer_that_was_deleted_at_stripe_pays_as_a_new_one() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);

    // Another Stripe account behind the same tenant knows none of its customers.
    let other = shop.account("sk_test_other");
    let config = shop
        .tenant()
        .set("auth.stripe.api_key", json!("sk_test_other"));
    let put = gateway.client().request("PUT", "/abc/admin/config");
    let put = put
        .bearer(gateway.admin_token())
        .json(&json!({"config": Value::from(config)}))
        .send();
    assert_eq!(put.status, 200, "{}", put.text());
    let answer = checkout(&gateway, &key, &small());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(other.pay(&session(&answer)).is_ok());
}
