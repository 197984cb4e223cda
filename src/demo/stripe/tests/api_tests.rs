//! Tests of the API: refusals in Stripe's shape, idempotency, both shapes, lists.

use super::*;
use crate::demo::stripe::Interval;
use serde_json::json;

const SESSIONS: &str = "POST /v1/checkout/sessions";
const TOP_UP: &str = "mode=payment&line_items[0][price]=price_pack_500&line_items[0][quantity]=2&\
                      success_url=https://app.example/";

#[test]
fn sessions_have_an_address_and_what_was_sent() {
    let world = world();
    let more =
        "client_reference_id=u1&metadata[tenant]=t&customer_creation=always&cancel_url=http://a/";

    let (status, session) = world.call(SESSIONS, &format!("{TOP_UP}&{more}"), "", "");

    assert_eq!(status, 200);
    let id = text(&session["id"]);
    assert!(id.starts_with("cs_test_"));
    assert_eq!(session["url"], format!("http://127.0.0.1:1/pay/{id}"));
    assert_eq!(session["amount_total"], 1_000);
    assert_eq!(session["metadata"], json!({ "tenant": "t" }));
    assert_eq!(session["client_reference_id"], "u1");
    assert_eq!(
        (&session["customer"], &session["payment_intent"]),
        (&Value::Null, &Value::Null)
    );
    let receipt = world.account.pay(&id).unwrap();
    let paid = world.get(&format!("/v1/checkout/sessions/{id}"), "");
    assert_eq!(
        (&paid["url"], &paid["status"]),
        (&Value::Null, &json!("complete"))
    );
    assert_eq!(paid["customer"].as_str(), receipt.customer.as_deref());
    let kinds = [
        "customer.created",
        "checkout.session.completed",
        "payment_intent.succeeded",
        "charge.succeeded",
    ];
    assert_eq!(world.kinds(0), kinds);
}

#[test]
fn refusals_name_the_parameter() {
    let world = world();
    let subscription = TOP_UP.replace("mode=payment", "mode=subscription");
    let cases = [
        (format!("{TOP_UP}&foo=1"), "parameter_unknown", "foo"),
        (
            format!("{TOP_UP}&customer=cus_x"),
            "resource_missing",
            "customer",
        ),
        (
            format!("{TOP_UP}&customer=cus_x&customer_creation=always"),
            "",
            "customer_creation",
        ),
        (
            format!("{TOP_UP}&subscription_data[trial_period_days]=1"),
            "",
            "subscription_data",
        ),
        (
            format!("{TOP_UP}&line_items[1][price]=price_x&line_items[1][quantity]=1"),
            "resource_missing",
            "line_items[1][price]",
        ),
        (
            format!("{TOP_UP}&line_items[1][price]=price_a_1_month&line_items[1][quantity]=1"),
            "",
            "line_items",
        ),
        (
            TOP_UP.replace("https:", "javascript:"),
            "url_invalid",
            "success_url",
        ),
        (
            TOP_UP.replace("quantity]=2", "quantity]=0"),
            "",
            "line_items[0][quantity]",
        ),
        (subscription, "", "line_items"),
        (
            format!("{TOP_UP}&metadata[k]={}", "x".repeat(501)),
            "",
            "metadata",
        ),
        (String::new(), "parameter_missing", "mode"),
    ];
    for (form, code, param) in cases {
        let (status, body) = world.call(SESSIONS, &form, "", "");

        let error = &body["error"];
        assert_eq!(
            (status, &error["type"]),
            (400, &json!("invalid_request_error")),
            "{form}"
        );
        assert_eq!(error["code"].as_str().unwrap_or_default(), code, "{form}");
        assert_eq!(error["param"], param, "{form}");
    }
    let (status, body) = world.call("GET /v1/subscriptions/sub_x", "", "", "");
    assert_eq!(status, 404);
    assert_eq!(body["error"]["message"], "No such subscription: 'sub_x'");
    let (status, _) = world.call("GET /v1/nothing/here", "", "", "");
    assert_eq!(status, 404);
}

#[test]
fn repeated_keys_get_the_first_answer_and_other_parameters_an_error() {
    let world = world();

    let (_, first) = world.call(SESSIONS, TOP_UP, "k1", "");
    let (_, again) = world.call(SESSIONS, TOP_UP, "k1", "");
    let (_, other) = world.call(SESSIONS, TOP_UP, "k2", "");
    let (status, error) = world.call(SESSIONS, &format!("{TOP_UP}&metadata[a]=b"), "k1", "");

    assert_eq!(first, again);
    assert_ne!(first["id"], other["id"]);
    assert_eq!(
        (status, &error["error"]["type"]),
        (400, &json!("idempotency_error"))
    );
    let (status, _) = world.call(SESSIONS, "mode=x", "k3", "");
    assert_eq!(status, 400);
    let (status, _) = world.call(SESSIONS, TOP_UP, "k3", "");
    assert_eq!(status, 200, "a refused call keeps no answer");
    world.after_days(1);
    assert_ne!(world.call(SESSIONS, TOP_UP, "k1", "").1, first);
}

#[test]
fn failures_come_before_anything_is_done() {
    let world = world();
    world.account.fail_next(2, 503);

    let failed = [0, 1].map(|_| world.call(SESSIONS, TOP_UP, "k1", "2024-06-20").0);
    let (status, _) = world.call(SESSIONS, TOP_UP, "k1", "2024-06-20");

    assert_eq!((failed, status), ([503, 503], 200));
    let calls = world.account.calls();
    assert_eq!(
        calls.iter().map(|call| call.status).collect::<Vec<_>>(),
        [503, 503, 200]
    );
    assert_eq!(calls[2].idempotency_key.as_deref(), Some("k1"));
    assert_eq!(calls[2].version.as_deref(), Some("2024-06-20"));
    assert_eq!(
        calls[2].form[1],
        (
            "line_items[0][price]".to_owned(),
            "price_pack_500".to_owned()
        )
    );
}

#[test]
fn shape_follows_the_calls_version_and_the_accounts_for_events() {
    let world = world();
    world.account.set_shape(ApiShape::Before);
    let subscription = world.subscription(PLUS, "subscription_data[metadata][tenant]=t");
    let id = text(&world.invoices()[0]["id"]);
    let get = |path: &str, version: &str| world.call(&format!("GET {path}"), "", "", version).1;
    let invoice = format!("/v1/invoices/{id}");

    let old = get(&invoice, "2025-02-24.acacia");
    assert_eq!(old["subscription"], subscription.as_str());
    assert_eq!(
        old["subscription_details"]["metadata"],
        json!({ "tenant": "t" })
    );
    assert_eq!(
        (&old["paid"], old["parent"].is_null()),
        (&json!(true), true)
    );
    let line = &old["lines"]["data"][0];
    assert_eq!(
        (&line["price"]["id"], &line["type"]),
        (&json!(PLUS), &json!("subscription"))
    );
    assert_eq!(
        (&line["price"]["unit_amount"], &line["proration"]),
        (&json!(1_000), &json!(false))
    );
    let charge = format!("/v1/charges/{}", text(&old["charge"]));
    assert_eq!(get(&charge, "2024-06-20")["invoice"], id.as_str());
    assert_eq!(get(&charge, "2025-03-31.basil").get("invoice"), None);

    let new = get(&invoice, "2025-03-31.basil");
    for gone in ["subscription", "payment_intent", "charge", "paid"] {
        assert_eq!(new.get(gone), None, "{gone}");
    }
    let details = &new["parent"]["subscription_details"];
    assert_eq!(
        details,
        &json!({ "metadata": { "tenant": "t" }, "subscription": subscription })
    );
    let line = &new["lines"]["data"][0];
    assert_eq!(line["pricing"]["price_details"]["price"], PLUS);
    assert_eq!(line["pricing"]["unit_amount_decimal"], "1000");
    let paid = get("/v1/invoice_payments", "2025-08-27.basil")["data"][0].clone();
    assert_eq!(paid["payment"]["payment_intent"], old["payment_intent"]);
    assert_eq!(
        (&paid["invoice"], &paid["amount_paid"]),
        (&json!(id), &json!(1_000))
    );
    assert_eq!(
        get("/v1/invoice_payments", "2024-06-20")["error"]["code"],
        Value::Null
    );

    let told = world.last("invoice.paid");
    assert_eq!(told["api_version"], "2024-06-20");
    assert_eq!(told["data"]["object"], old);
    let path = format!("/v1/subscriptions/{subscription}");
    assert_eq!(
        get(&path, "2024-06-20")["current_period_start"],
        FIRST_OF_JUNE
    );
    assert_eq!(
        get(&path, "2025-03-31.basil").get("current_period_start"),
        None
    );
}

#[test]
fn lists_go_on_after_a_cursor() {
    let world = world();
    let subscription = world.subscription(PLUS, "");
    for _ in 0..4 {
        world.account.renew(&subscription).unwrap();
    }
    let customer = text(&world.invoices()[0]["customer"]);
    let (mut seen, mut after) = (Vec::new(), String::new());

    loop {
        let query = format!("customer={customer}&status=paid&limit=2{after}");
        let page = world.get("/v1/invoices", &query);
        seen.extend(page["data"].as_array().unwrap().clone());
        if page["has_more"] == false {
            break;
        }
        after = format!("&starting_after={}", text(&seen.last().unwrap()["id"]));
    }

    assert_eq!(seen, world.invoices());
    assert_eq!(seen.len(), 5);
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "starting_after=in_x",
        "customer=cus_x",
    ] {
        assert_eq!(
            world.call("GET /v1/invoices", query, "", "").0,
            400,
            "{query}"
        );
    }
}

#[test]
fn prices_are_added_or_describe_themselves() {
    let world = world();
    world
        .account
        .add_price("price_gold", 4_900, "eur", Interval::Year);

    let gold = world.get("/v1/prices/price_gold", "expand[]=currency_options");
    let plus = world.get(&format!("/v1/prices/{PLUS}"), "");

    assert_eq!(gold["recurring"]["interval"], "year");
    assert_eq!(gold["currency_options"]["eur"]["unit_amount"], 4_900);
    assert_eq!(
        (&plus["unit_amount_decimal"], &plus["currency"]),
        (&json!("1000"), &json!("usd"))
    );
    for unknown in [
        "price_x",
        "price_1",
        "price__5",
        "prod_a_5",
        "price_a_b_month",
        "price_a_99999999999",
    ] {
        let (status, _) = world.call(&format!("GET /v1/prices/{unknown}"), "", "", "");
        assert_eq!(status, 404, "{unknown}");
    }
}

#[test]
fn subscriptions_end_through_the_api() {
    let world = world();
    let subscription = world.subscription(PLUS, "");
    let path = format!("/v1/subscriptions/{subscription}");

    let ending = world.post(&path, "cancel_at_period_end=true");
    assert_eq!(ending["cancel_at_period_end"], true);
    let event = world.last("customer.subscription.updated");
    assert!(text(&event["request"]["id"]).starts_with("req_"));
    let (status, ended) = world.call(&format!("DELETE {path}"), "", "", "");

    assert_eq!((status, &ended["status"]), (200, &json!("canceled")));
    let (status, _) = world.call(
        &format!("POST {path}"),
        "cancel_at_period_end=false",
        "",
        "",
    );
    assert_eq!(status, 400);
}

#[test]
fn forged_events_are_signed_and_not_recorded() {
    let world = world();
    world.account.set_webhook_secrets(&["whsec_a"]);

    let forged = world.account.forge("invoice.paid", json!({ "id": "in_x" }));

    let signature = world.account.sign(&forged.body, FIRST_OF_JUNE);
    assert_eq!(forged.signature, signature);
    assert!(world.account.events().is_empty());
}
