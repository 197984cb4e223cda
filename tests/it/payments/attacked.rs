//! Ways in which payments were got around, each mended.

use super::shop::{
    FREE, Shop, assert_state, basic, checkout, object, payments, premium, send, session, small,
    spend, state,
};
use crate::harness::{Gateway, Provider, Redis, Script, chat_request};
use resullm::demo::stripe::{Proration, SignedEvent};
use serde_json::json;
use std::thread;

fn leave(gateway: &Gateway, key: &str) -> u16 {
    let request = gateway.client().request("DELETE", "/abc/auth/me");
    request.bearer(key).send().status
}

/// Status of the latest subscription, and whether it ends with its period.
fn subscription(shop: &Shop) -> (String, bool) {
    let events = shop.events();
    let mut of = events
        .iter()
        .filter(|event| event.kind.starts_with("customer.subscription."));
    let latest = object(of.next_back().unwrap());
    let status = latest["status"].as_str().unwrap().to_owned();
    (status, latest["cancel_at_period_end"].as_bool().unwrap())
}

#[test]
fn who_leaves_before_the_webhook_came_does_not_go_on_paying() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &basic());

    assert_eq!(leave(&gateway, &key), 200);
    assert_eq!(subscription(&shop), ("active".to_owned(), true));
}

#[test]
fn who_pays_after_leaving_does_not_go_on_paying() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let open = shop.check_out(&gateway, &key, &basic());
    assert_eq!(leave(&gateway, &key), 200);
    assert!(shop.stripe.pay(&open).is_err(), "its checkout is closed");
}

#[test]
fn an_account_stays_while_stripe_cannot_end_what_it_pays_for() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &basic());
    shop.tell(&gateway);
    for status in [500, 403] {
        shop.stripe.fail_next(1, status);
        assert_eq!(leave(&gateway, &key), 503);
    }
    assert_eq!(state(&gateway, &key).1, "stripe_basic");
    assert_eq!(leave(&gateway, &key), 200);
    assert_eq!(subscription(&shop), ("active".to_owned(), true));
}

#[test]
fn a_dispute_during_an_absence_blocks_who_comes_back() {
    let redis = Redis::start();
    for store in [None, Some(redis.url().as_str())] {
        let shop = Shop::open();
        let gateway = shop.gateway_on(store, shop.tenant());
        let key = shop.sign_in(&gateway, "ann");
        shop.buy(&gateway, &key, &small());
        shop.tell(&gateway);
        assert_eq!(leave(&gateway, &key), 200);
        shop.stripe.dispute(&shop.intents()[0]).unwrap();
        shop.tell(&gateway);

        let key = shop.sign_in(&gateway, "ann");
        assert_eq!(checkout(&gateway, &key, &small()).status, 403);
        assert_eq!(payments(&gateway, &key)["isBlocked"], true);
    }
}

#[test]
fn a_purchase_after_a_refund_of_spent_tokens_is_granted_in_full() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    spend(&gateway, &key, FREE + 2_900);
    shop.stripe.refund(&shop.intents()[0], 500).unwrap();
    shop.tell(&gateway);
    assert_eq!(state(&gateway, &key).0, 0);

    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    assert_state(&gateway, &key, 3_000, "google_logged_in");
}

#[test]
fn a_dispute_during_a_call_that_is_won_gives_back_nothing_that_the_call_has_used() {
    let redis = Redis::start();
    for store in [None, Some(redis.url().as_str())] {
        let shop = Shop::open();
        let gate = crate::harness::Gate::new();
        let held = gate.clone();
        let provider = Provider::start(move |call| {
            let most = call.json()["max_tokens"].as_u64().unwrap();
            Script::chat("spent", 10, most)
                .first(crate::harness::Step::WaitUntilReleased(held.clone()))
        });
        let config = shop.tenant().set(
            "providers.text.endpoints.openai.url",
            json!(provider.url("/v1/chat/completions")),
        );
        let gateway = shop.gateway_on(store, config);
        let key = shop.sign_in(&gateway, "ann");
        shop.buy(&gateway, &key, &small());
        shop.tell(&gateway);
        let call = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 3_900});
        let asked = thread::scope(|scope| {
            let asking = scope.spawn(|| chat_request(&gateway, "abc", &key, &call).send());
            provider.wait_requests(1);
            let dispute = shop.stripe.dispute(&shop.intents()[0]).unwrap();
            shop.tell(&gateway);
            gate.open();
            let asked = asking.join().unwrap();
            crate::harness::spent(&gateway, &key, FREE);
            shop.stripe.win_dispute(&dispute).unwrap();
            shop.tell(&gateway);
            asked
        });
        assert_eq!(asked.status, 200, "{}", asked.text());
        let (left, _) = state(&gateway, &key);
        assert!(left <= FREE + 3_000 - 3_910, "{left}");
    }
}

#[test]
fn payments_of_an_account_are_shown_to_its_own_tenant_alone() {
    let shop = Shop::open();
    let setup = shop.setup().tenant("abc", shop.tenant());
    let gateway = Gateway::start(setup.tenant("other", shop.tenant()));
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    let user = crate::harness::me(&gateway, &key)["userId"].clone();
    let ask = |tenant: &str| {
        let path = format!("/{tenant}/admin/users/{}/payments", user.as_str().unwrap());
        let request = gateway.client().request("GET", &path);
        request.bearer(gateway.admin_token()).send().status
    };
    assert_eq!((ask("abc"), ask("other")), (200, 404));
    assert_eq!(leave(&gateway, &key), 200);
    assert_eq!((ask("abc"), ask("other")), (404, 404));
}

#[test]
fn the_portal_is_that_of_the_subscription() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let top_up = shop.check_out(&gateway, &key, &small());
    let plan = shop.check_out(&gateway, &key, &basic());
    let subscribed = shop.stripe.pay(&plan).unwrap().customer;
    shop.stripe.pay(&top_up).unwrap();
    shop.tell(&gateway);

    let portal = gateway
        .client()
        .request("POST", "/abc/billing/portal")
        .bearer(&key)
        .send();
    assert_eq!(portal.status, 200, "{}", portal.text());
    let calls = shop.stripe.calls();
    let asked = calls
        .iter()
        .rfind(|call| call.path == "/v1/billing_portal/sessions")
        .unwrap();
    let customer = asked.form.iter().find(|(name, _)| name == "customer");
    assert_eq!(customer.map(|(_, value)| value.clone()), subscribed);
}

#[test]
fn an_end_that_was_not_heard_of_is_asked_for_before_a_checkout_is_refused() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let subscription = shop.subscribe(&gateway, &key, &premium());
    shop.stripe.cancel(&subscription, false).unwrap();

    let again = shop.check_out(&gateway, &key, &basic());
    assert_eq!(state(&gateway, &key).1, "google_logged_in");
    shop.stripe.pay(&again).unwrap();
    shop.tell(&gateway);
    assert_eq!(state(&gateway, &key).1, "stripe_basic");
}

#[test]
fn of_plans_that_are_asked_for_at_once_one_can_be_paid() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..5)
            .map(|number| {
                let mut item = basic();
                item["successUrl"] = json!(format!("https://app.example/{number}"));
                let (gateway, key) = (&gateway, &key);
                scope.spawn(move || checkout(gateway, key, &item))
            })
            .collect();
        asking
            .into_iter()
            .map(|asking| asking.join().unwrap())
            .collect()
    });
    let sessions: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(session)
        .collect();
    assert!(!sessions.is_empty());
    let paid = sessions
        .iter()
        .filter(|session| shop.stripe.pay(session).is_ok())
        .count();
    assert_eq!(paid, 1, "{} sessions", sessions.len());
}

#[test]
fn changing_ones_mind_and_back_within_a_minute_gives_a_page_that_can_be_paid() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.check_out(&gateway, &key, &basic());
    shop.check_out(&gateway, &key, &premium());
    let last = shop.check_out(&gateway, &key, &basic());
    shop.stripe.pay(&last).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 5_000, "stripe_basic");
}

#[test]
fn what_a_tenants_own_secret_signs_is_bounded() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let long = "x".repeat(300_000);
    let events = [
        json!({"id": long, "object": "event", "type": "a", "data": {"object": {}}}),
        json!({"id": "evt_1", "object": "event", "type": long, "data": {"object": {}}}),
        json!({"id": "evt 1", "object": "event", "type": "a", "data": {"object": {}}}),
    ];
    for event in events {
        let body = event.to_string();
        let event = SignedEvent {
            key: String::new(),
            id: String::new(),
            kind: String::new(),
            signature: shop.sign(body.as_bytes()),
            body: body.into(),
        };
        assert_eq!(
            send(&gateway.client(), "/abc/billing/stripe", &event).status,
            400
        );
    }
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    let event = shop.event("checkout.session.completed");
    let event = shop.altered(&event, |event| {
        event["data"]["object"]["id"] = json!(long);
    });
    let answer = send(&gateway.client(), "/abc/billing/stripe", &event);
    assert!(answer.json()["ignored"].is_string(), "{}", answer.text());
    assert_state(&gateway, &key, FREE, "google_logged_in");
}

#[test]
fn a_downgrade_to_a_price_of_no_group_ends_the_group() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let subscription = shop.subscribe(&gateway, &key, &premium());
    shop.stripe
        .change_plan(
            &subscription,
            "price_other_100_month",
            Proration::AlwaysInvoice,
        )
        .unwrap();
    shop.tell(&gateway);
    assert_eq!(state(&gateway, &key).1, "google_logged_in");
}
