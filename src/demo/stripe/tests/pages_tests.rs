//! Tests of the pages: what they show, what their buttons do, and that texts are escaped.

use super::*;
use crate::demo::stripe::pages::{self, HtmlReply};

/// Status and HTML, or 303 and the address.
fn open(world: &World, line: &str, form: &str) -> (u16, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let accounts = [Arc::clone(&world.account)];
    match pages::answer(&accounts, method, path, form.as_bytes()) {
        HtmlReply::Page(status, html) => (status, html),
        HtmlReply::SeeOther(address) => (303, address),
    }
}

#[test]
fn pay_button_pays_once_and_leads_back() {
    let world = world();
    let session = world.session(
        "payment",
        "price_pack_500",
        "cancel_url=https://app.example/no",
    );

    let (status, html) = open(&world, &format!("GET /pay/{session}"), "");
    assert_eq!(status, 200);
    assert!(html.contains("This is a stand-in. No money moves."));
    assert!(html.contains("5.00 USD") && html.contains("https://app.example/no"));
    let paid = open(&world, &format!("POST /pay/{session}"), "");
    let again = open(&world, &format!("POST /pay/{session}"), "");

    let back = format!("https://app.example/paid?s={session}");
    assert_eq!((paid.0, &paid.1), (303, &back));
    assert_eq!(paid, again);
    assert_eq!(
        world
            .kinds(0)
            .iter()
            .filter(|kind| *kind == "charge.succeeded")
            .count(),
        1
    );
    assert_eq!(open(&world, "GET /pay/cs_test_x", "").0, 404);
}

#[test]
fn expired_sessions_are_not_paid() {
    let world = world();
    let session = world.session("payment", "price_pack_500", "");
    world.account.expire(&session).unwrap();

    assert_eq!(open(&world, &format!("POST /pay/{session}"), "").0, 400);
    assert_eq!(world.kinds(0), ["checkout.session.expired"]);
}

#[test]
fn texts_are_escaped() {
    let world = world();
    let evil = "price_<b>'\"&_500";
    let session = world.session(
        "payment",
        &evil.replace('&', "%26"),
        "cancel_url=http://a/'%22<b>",
    );

    let (_, html) = open(&world, &format!("GET /pay/{session}"), "");

    assert!(html.contains("price_&lt;b&gt;&#39;&quot;&amp;_500"));
    assert!(html.contains("href=\"http://a/&#39;&quot;&lt;b&gt;\""));
    assert!(!html.contains("<b>"));
}

#[test]
fn portal_changes_its_own_customers_plans_only() {
    let world = world();
    let (own, other) = (world.subscription(PLUS, ""), world.subscription(PLUS, ""));
    world.get(&format!("/v1/prices/{PRO}"), "");
    let customer = text(&world.get(&format!("/v1/subscriptions/{own}"), "")["customer"]);
    let form = format!("customer={customer}&return_url=https://app.example/account");
    let portal = text(&world.post("/v1/billing_portal/sessions", &form)["url"]);
    let path = portal.strip_prefix("http://127.0.0.1:1").unwrap();

    let (_, html) = open(&world, &format!("GET {path}"), "");
    assert!(html.contains(&own) && !html.contains(&other));
    assert!(html.contains(PRO) && html.contains("https://app.example/account"));
    let click = |form: &str| open(&world, &format!("POST {path}"), form).0;
    assert_eq!(
        click(&format!("subscription={own}&action=change&price={PRO}")),
        303
    );
    assert_eq!(click(&format!("subscription={own}&action=end")), 303);
    assert_eq!(click(&format!("subscription={own}&action=cancel")), 303);
    assert_eq!(click(&format!("subscription={other}&action=cancel")), 404);

    assert_eq!(world.invoices()[0]["total"], 2_000);
    let state = |id: &str| text(&world.get(&format!("/v1/subscriptions/{id}"), "")["status"]);
    assert_eq!(
        (state(&own).as_str(), state(&other).as_str()),
        ("canceled", "active")
    );
}

#[test]
fn dashboard_renews_refunds_and_disputes() {
    let world = world();
    let session = world.session("payment", "price_pack_501", "");
    let intent = world.account.pay(&session).unwrap().payment_intent.unwrap();
    let subscription = world.subscription(PLUS, "");
    let path = "/dashboard/door";
    assert!(world.account.dashboard_url().ends_with(path));
    let click = |object: &str, action: &str| {
        let form = format!("object={object}&action={action}");
        open(&world, &format!("POST {path}"), &form)
    };

    assert_eq!(click(&subscription, "renew").0, 303);
    assert_eq!(click(&intent, "half").0, 303);
    assert_eq!(click(&intent, "refund").0, 303);
    assert_eq!(click(&intent, "refund").0, 400);
    assert_eq!(click(&intent, "dispute").0, 303);
    let dispute = text(&world.last("charge.dispute.created")["data"]["object"]["id"]);
    let (_, html) = open(&world, &format!("GET {path}"), "");
    assert!(html.contains(&dispute) && html.contains(&subscription));
    assert_eq!(click(&dispute, "win").0, 303);

    assert_eq!(
        world.last("charge.refunded")["data"]["object"]["refunded"],
        true
    );
    assert_eq!(
        world.last("refund.created")["data"]["object"]["amount"],
        250
    );
    assert_eq!(open(&world, "GET /dashboard/other", "").0, 404);
}
