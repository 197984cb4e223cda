//! The life of a paying person, with the events in the order in which Stripe makes them.

use super::shop::{BASIC, FREE, PREMIUM, Shop, assert_state, basic, payments, small, state};
use resullm::demo::stripe::{ApiShape, GiveUp, Proration};
use serde_json::json;

#[test]
fn a_top_up_is_granted_once_in_either_shape_of_payload() {
    for shape in [ApiShape::Before, ApiShape::Basil] {
        let shop = Shop::open();
        shop.set_shape(shape);
        let gateway = shop.gateway();
        let key = shop.sign_in(&gateway, "ann");

        shop.buy(&gateway, &key, &small());
        assert_state(&gateway, &key, FREE, "google_logged_in");
        shop.tell(&gateway);
        shop.tell(&gateway);

        assert_state(&gateway, &key, FREE + 3_000, "google_logged_in");
        let listed = payments(&gateway, &key);
        assert_eq!(listed["payments"].as_array().unwrap().len(), 1);
        let payment = &listed["payments"][0];
        assert_eq!(
            (&payment["kind"], &payment["tokens"]),
            (&json!("topUp"), &json!(3_000))
        );
    }
}

#[test]
fn a_subscription_grants_each_period_and_its_group_in_either_shape_of_payload() {
    for shape in [ApiShape::Before, ApiShape::Basil] {
        let shop = Shop::open();
        shop.set_shape(shape);
        let gateway = shop.gateway();
        let key = shop.sign_in(&gateway, "ann");

        let session = shop.check_out(&gateway, &key, &basic());
        let receipt = shop.stripe.pay(&session).unwrap();
        shop.tell(&gateway);
        assert_state(&gateway, &key, FREE + 5_000, "stripe_basic");

        shop.wait_days(31);
        shop.stripe
            .renew(receipt.subscription.as_deref().unwrap())
            .unwrap();
        shop.tell(&gateway);
        assert_state(&gateway, &key, FREE + 10_000, "stripe_basic");

        shop.stripe
            .cancel(receipt.subscription.as_deref().unwrap(), false)
            .unwrap();
        shop.tell(&gateway);
        assert_state(&gateway, &key, FREE + 10_000, "google_logged_in");
        let listed = payments(&gateway, &key);
        assert_eq!(listed["payments"].as_array().unwrap().len(), 2);
        assert_eq!(listed["subscriptions"], json!([]));
        assert!(listed["customer"].as_str().unwrap().starts_with("cus_"));
    }
}

#[test]
fn an_upgrade_grants_the_difference_and_flipping_plans_nothing() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let subscription = shop.subscribe(&gateway, &key, &basic());

    shop.stripe
        .change_plan(&subscription, PREMIUM, Proration::AlwaysInvoice)
        .unwrap();
    shop.tell(&gateway);
    let (upgraded, group) = state(&gateway, &key);
    assert_eq!(group, "stripe_premium");
    // The change comes within seconds of the period's begin: all of the larger plan, less a cent's rounding.
    assert!(
        (FREE + 19_900..=FREE + 20_000).contains(&upgraded),
        "{upgraded}"
    );

    for _ in 0..5 {
        for price in [BASIC, PREMIUM] {
            shop.stripe
                .change_plan(&subscription, price, Proration::AlwaysInvoice)
                .unwrap();
        }
    }
    shop.tell(&gateway);
    let (flipped, group) = state(&gateway, &key);
    assert_eq!(group, "stripe_premium");
    assert!(flipped <= FREE + 20_000 + 20, "{flipped}");
}

#[test]
fn a_trial_grants_nothing_until_it_is_paid_unless_the_group_says_so() {
    for (tokens, expected) in [(None, 0), (Some(70), 70)] {
        let shop = Shop::open();
        let mut config = shop
            .tenant()
            .set("user_groups.stripe_basic.trial_days", json!(14));
        if let Some(tokens) = tokens {
            config = config.set("user_groups.stripe_basic.trial_tokens", json!(tokens));
        }
        let gateway = shop.gateway_on(None, config);
        let key = shop.sign_in(&gateway, "ann");

        let subscription = shop.subscribe(&gateway, &key, &basic());
        assert_state(&gateway, &key, FREE + expected, "stripe_basic");

        shop.wait_days(15);
        shop.stripe.trial_ends(&subscription).unwrap();
        shop.tell(&gateway);
        assert_state(&gateway, &key, FREE + expected + 5_000, "stripe_basic");

        // Who comes back pays at once: a trial is once an account.
        shop.stripe.cancel(&subscription, false).unwrap();
        shop.tell(&gateway);
        let session = shop.check_out(&gateway, &key, &basic());
        shop.stripe.pay(&session).unwrap();
        shop.tell(&gateway);
        assert_state(&gateway, &key, FREE + expected + 10_000, "stripe_basic");
    }
}

#[test]
fn who_does_not_pay_keeps_the_group_until_stripe_gives_up() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let subscription = shop.subscribe(&gateway, &key, &basic());

    shop.wait_days(31);
    shop.stripe.renew_unpaid(&subscription).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 5_000, "stripe_basic");

    shop.stripe.give_up(&subscription, GiveUp::Unpaid).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 5_000, "google_logged_in");

    shop.stripe.retry_payment(&subscription).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 10_000, "stripe_basic");
}

#[test]
fn refunds_take_their_share_and_give_it_back_when_they_fail() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    let intent = shop.intents().pop().unwrap();

    shop.stripe.refund(&intent, 100).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 2_400, "google_logged_in");

    let refund = shop.stripe.refund(&intent, 400).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE, "google_logged_in");

    shop.stripe.fail_refund(&refund).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 2_400, "google_logged_in");
    assert_eq!(payments(&gateway, &key)["payments"][0]["takenBack"], 600);
}

#[test]
fn a_refund_of_a_subscription_takes_back_its_period() {
    for shape in [ApiShape::Before, ApiShape::Basil] {
        let shop = Shop::open();
        shop.set_shape(shape);
        let gateway = shop.gateway();
        let key = shop.sign_in(&gateway, "ann");
        shop.buy(&gateway, &key, &basic());
        shop.tell(&gateway);

        let intent = shop.intents().pop().unwrap();
        shop.stripe.refund(&intent, 999).unwrap();
        shop.tell(&gateway);
        assert_state(&gateway, &key, FREE, "stripe_basic");
    }
}

#[test]
fn a_dispute_takes_back_and_blocks_until_it_is_won() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    let intent = shop.intents().pop().unwrap();

    // An inquiry moves no money.
    let inquiry = shop.stripe.dispute_inquiry(&intent).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 3_000, "google_logged_in");
    shop.stripe.win_dispute(&inquiry).unwrap();

    let dispute = shop.stripe.dispute(&intent).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE, "google_logged_in");
    let refused = super::shop::checkout(&gateway, &key, &small());
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("dispute"));
    assert_eq!(payments(&gateway, &key)["isBlocked"], true);

    shop.stripe.win_dispute(&dispute).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 3_000, "google_logged_in");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 6_000, "google_logged_in");
}

#[test]
fn a_lost_dispute_blocks_for_good_also_after_the_account_was_deleted() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);
    let dispute = shop.stripe.dispute(&shop.intents()[0]).unwrap();
    shop.stripe.lose_dispute(&dispute).unwrap();
    shop.tell(&gateway);

    let left = gateway
        .client()
        .request("DELETE", "/abc/auth/me")
        .bearer(&key)
        .send();
    assert_eq!(left.status, 200, "{}", left.text());
    let key = shop.sign_in(&gateway, "ann");
    let refused = super::shop::checkout(&gateway, &key, &small());
    assert_eq!(refused.status, 403, "{}", refused.text());
}

#[test]
fn an_async_payment_counts_when_it_has_succeeded() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let paid = shop.check_out(&gateway, &key, &small());
    shop.stripe.pay_later(&paid).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE, "google_logged_in");

    shop.stripe.pay_later_succeeds(&paid).unwrap();
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + 3_000, "google_logged_in");
}

#[test]
fn a_discount_lowers_what_is_granted_and_flips_under_it_add_nothing() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let subscription = shop.subscribe(&gateway, &key, &basic());
    shop.stripe.discount(&subscription, 50).unwrap();

    shop.wait_days(31);
    shop.stripe.renew(&subscription).unwrap();
    shop.tell(&gateway);
    let (renewed, _) = state(&gateway, &key);
    assert!(
        (FREE + 7_400..=FREE + 7_500).contains(&renewed),
        "{renewed}"
    );

    for _ in 0..5 {
        for price in [PREMIUM, BASIC] {
            shop.stripe
                .change_plan(&subscription, price, Proration::AlwaysInvoice)
                .unwrap();
        }
    }
    shop.tell(&gateway);
    let (flipped, _) = state(&gateway, &key);
    // Half of the larger plan at most was paid for.
    assert!(flipped <= FREE + 5_000 + 10_000 + 40, "{flipped}");
}

#[test]
fn deleting_the_account_ends_the_subscription_and_old_events_change_nothing() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    let subscription = shop.subscribe(&gateway, &key, &basic());

    let left = gateway
        .client()
        .request("DELETE", "/abc/auth/me")
        .bearer(&key)
        .send();
    assert_eq!(left.status, 200, "{}", left.text());
    let calls = shop.stripe.calls();
    let ended = calls.iter().find(|call| {
        call.method == "POST" && call.path == format!("/v1/subscriptions/{subscription}")
    });
    assert!(ended.is_some(), "the subscription goes on");

    // The same person comes back: nothing of what was paid before is granted again.
    let key = shop.sign_in(&gateway, "ann");
    let (before, _) = state(&gateway, &key);
    shop.tell(&gateway);
    assert_eq!(state(&gateway, &key).0, before);
}

#[test]
fn the_export_has_the_payments() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);

    let export = gateway
        .client()
        .request("GET", "/abc/auth/export")
        .bearer(&key)
        .send();
    assert_eq!(export.json()["payments"]["payments"][0]["tokens"], 3_000);
}

#[test]
fn the_sample_tenant_of_the_seeds_sells_once_it_has_prices_and_a_webhook_secret() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let plans = gateway.client().get("/abc/billing/plans");
    assert_eq!(plans.status, 200, "{}", plans.text());
    let plans = plans.json();
    assert_eq!(plans["plans"][0]["group"], "stripe_basic");
    let price = &plans["plans"][0]["prices"][0];
    assert_eq!(
        (&price["amount"], &price["currency"]),
        (&json!(999), &json!("usd"))
    );
    assert_eq!(
        (&price["interval"], &price["tokens"]),
        (&json!("month"), &json!(5_000))
    );
    assert_eq!(plans["topUps"][0]["amount"], 500);
    // Nobody without a price is for sale.
    assert_eq!(plans["plans"].as_array().unwrap().len(), 2);
}
