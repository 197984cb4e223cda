//! Tests of subscriptions: first payments, renewals, plan changes, ends.

use super::*;
use crate::demo::stripe::{GiveUp, Proration};
use serde_json::json;

#[test]
fn first_payment_tells_its_events_in_stripes_order() {
    for shape in both_shapes() {
        let world = world();
        world.account.set_shape(shape);

        let metadata = "subscription_data[metadata][tenant]=t";
        let subscription = world.subscription(PLUS, metadata);

        let mut kinds = vec![
            "customer.created",
            "checkout.session.completed",
            "customer.subscription.created",
            "invoice.created",
            "invoice.finalized",
            "invoice.paid",
            "invoice.payment_succeeded",
            "payment_intent.succeeded",
            "charge.succeeded",
        ];
        if shape == ApiShape::Basil {
            kinds.push("invoice_payment.paid");
        }
        assert_eq!(world.kinds(0), kinds);
        let completed = &world.last("checkout.session.completed")["data"]["object"];
        assert_eq!(completed["subscription"], subscription.as_str());
        assert_eq!(completed["payment_status"], "paid");
        let paid = &world.last("invoice.paid")["data"]["object"];
        assert_eq!(
            (&paid["amount_paid"], &paid["billing_reason"]),
            (&json!(1_000), &json!("subscription_create"))
        );
        let created = world.last("customer.subscription.created");
        assert_eq!(
            created["data"]["object"]["metadata"],
            json!({ "tenant": "t" })
        );
        assert_eq!(created["data"]["object"]["status"], "active");
    }
}

#[test]
fn trial_begins_with_a_paid_invoice_of_nothing() {
    let world = world();

    let subscription = world.subscription(PLUS, "subscription_data[trial_period_days]=7");

    let invoice = &world.invoices()[0];
    assert_eq!(
        (&invoice["total"], &invoice["status"]),
        (&json!(0), &json!("paid"))
    );
    assert_eq!(invoice["lines"]["data"][0]["amount"], 0);
    let session = &world.last("checkout.session.completed")["data"]["object"];
    assert_eq!(session["payment_status"], "no_payment_required");
    let path = format!("/v1/subscriptions/{subscription}");
    assert_eq!(world.get(&path, "")["status"], "trialing");

    world.after_days(7);
    world.account.trial_ends(&subscription).unwrap();

    assert_eq!(world.invoices()[0]["amount_paid"], 1_000);
    let updated = world.last("customer.subscription.updated");
    assert_eq!(updated["data"]["previous_attributes"]["status"], "trialing");
    assert_eq!(world.get(&path, "")["status"], "active");
}

/// What was paid, less the credit that is left.
fn paid_less_credit(world: &World) -> i64 {
    let invoices = world.invoices();
    let paid: i64 = invoices
        .iter()
        .map(|one| one["amount_paid"].as_i64().unwrap())
        .sum();
    let customer = text(&invoices[0]["customer"]);
    let balance = world.get(&format!("/v1/customers/{customer}"), "")["balance"].as_i64();
    paid + balance.unwrap()
}

#[test]
fn flips_within_a_second_cost_nothing() {
    let world = world();
    let subscription = world.subscription(PLUS, "");
    world.after_days(11);

    for _ in 0..5 {
        for price in [PRO, PLUS] {
            let change = world
                .account
                .change_plan(&subscription, price, Proration::AlwaysInvoice);
            change.unwrap();
        }
    }

    assert_eq!(paid_less_credit(&world), 1_000);
}

#[test]
fn flips_over_a_month_cost_what_the_plans_cost_by_days() {
    let world = world();
    let subscription = world.subscription(PLUS, "");

    for (day, price) in [(10, PRO), (20, PLUS), (25, PRO)] {
        world.after_days(day);
        let change = world
            .account
            .change_plan(&subscription, price, Proration::AlwaysInvoice);
        change.unwrap();
    }

    // 10 days at 10.00 a month, 10 at 30.00, 5 at 10.00 and 5 at 30.00, less what six lines lose by rounding.
    assert_eq!(paid_less_credit(&world), 333 + 1_000 + 167 + 500 - 1);
    let update = &world.invoices()[2];
    assert_eq!(update["billing_reason"], "subscription_update");
    assert_eq!(update["total"], 2_000 - 667);
    let lines = &update["lines"]["data"];
    assert_eq!(
        (&lines[0]["amount"], &lines[1]["amount"]),
        (&json!(-667), &json!(2_000))
    );
    let downgrade = &world.invoices()[1];
    assert_eq!(
        (&downgrade["total"], &downgrade["amount_paid"]),
        (&json!(-667), &json!(0))
    );
    assert_eq!(downgrade["ending_balance"], -667);
    assert_eq!(downgrade["status"], "paid");
}

#[test]
fn balance_is_used_up_before_the_card() {
    let world = world();
    let subscription = world.subscription(PRO, "");
    let change = |price| {
        world
            .account
            .change_plan(&subscription, price, Proration::AlwaysInvoice)
    };
    change(PLUS).unwrap();

    world.account.renew(&subscription).unwrap();
    world.account.renew(&subscription).unwrap();
    world.account.renew(&subscription).unwrap();

    let paid: Vec<Value> = world
        .invoices()
        .iter()
        .map(|one| one["amount_paid"].clone())
        .collect();
    assert_eq!(
        paid,
        [json!(1_000), json!(0), json!(0), json!(0), json!(3_000)]
    );
    assert_eq!(world.invoices()[2]["starting_balance"], -2_000);
}

#[test]
fn prorations_wait_for_the_cycle_and_ten_lines_stand_in_the_invoice() {
    let world = world();
    let subscription = world.subscription(PLUS, "");
    world.after_days(15);
    for price in [PRO, PLUS, PRO, PLUS, PRO, PLUS] {
        let change = world
            .account
            .change_plan(&subscription, price, Proration::CreateProrations);
        assert_eq!(change.unwrap().invoice, None);
    }
    assert_eq!(world.invoices().len(), 1);

    world.account.renew(&subscription).unwrap();

    let invoice = &world.invoices()[0];
    assert_eq!(invoice["total"], 1_000);
    assert_eq!(invoice["lines"]["data"].as_array().unwrap().len(), 10);
    assert_eq!(invoice["lines"]["has_more"], true);
    let path = format!("/v1/invoices/{}/lines", text(&invoice["id"]));
    let first = world.get(&path, "limit=12");
    assert_eq!(first["has_more"], true);
    let after = format!("starting_after={}", text(&first["data"][11]["id"]));
    let rest = world.get(&path, &after);
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["has_more"]),
        (1, &json!(false))
    );
    assert_eq!(
        rest["data"][0]["parent"]["subscription_item_details"]["proration"],
        false
    );
}

#[test]
fn change_from_months_to_years_starts_a_period_with_a_full_line() {
    let world = world();
    let subscription = world.subscription(PLUS, "");
    world.after_days(15);

    let change = world
        .account
        .change_plan(&subscription, YEARLY, Proration::CreateProrations);
    let receipt = change.unwrap();

    let invoice = &world.invoices()[0];
    assert_eq!(receipt.invoice, Some(text(&invoice["id"])));
    let lines = &invoice["lines"]["data"];
    let parent = |n: usize| &lines[n]["parent"]["subscription_item_details"];
    assert_eq!(
        (&lines[0]["amount"], &parent(0)["proration"]),
        (&json!(-500), &json!(true))
    );
    assert_eq!(
        (&lines[1]["amount"], &parent(1)["proration"]),
        (&json!(12_000), &json!(false))
    );
    let credited = &parent(0)["proration_details"]["credited_items"];
    assert_eq!(credited["invoice"], world.invoices()[1]["id"]);
    let item = &world.get(&format!("/v1/subscriptions/{subscription}"), "")["items"]["data"][0];
    assert_eq!(item["current_period_start"], FIRST_OF_JUNE + 15 * DAY);
    assert_eq!(item["current_period_end"], FIRST_OF_JUNE + (15 + 365) * DAY);
}

#[test]
fn discounts_stand_beside_plans_and_inside_prorations() {
    let world = world();
    let session = world.session("subscription", PLUS, "");
    world.account.discount(&session, 50).unwrap();
    let subscription = world.account.pay(&session).unwrap().subscription.unwrap();
    let first = &world.invoices()[0];
    assert_eq!(
        (&first["subtotal"], &first["total"]),
        (&json!(1_000), &json!(500))
    );
    assert_eq!(
        first["lines"]["data"][0]["discount_amounts"][0]["amount"],
        500
    );

    let change = |price| {
        world
            .account
            .change_plan(&subscription, price, Proration::AlwaysInvoice)
    };
    change(PRO).unwrap();

    let lines = world.invoices()[0]["lines"]["data"].clone();
    assert_eq!(
        (&lines[0]["amount"], &lines[1]["amount"]),
        (&json!(-500), &json!(1_500))
    );
    assert_eq!(lines[0]["discount_amounts"][0]["amount"], 0);

    world.account.set_itemized_prorations(true);
    change(PLUS).unwrap();

    let lines = world.invoices()[0]["lines"]["data"].clone();
    assert_eq!(
        (&lines[0]["amount"], &lines[1]["amount"]),
        (&json!(-3_000), &json!(1_000))
    );
    assert_eq!(lines[0]["discount_amounts"][0]["amount"], -1_500);
    assert_eq!(world.invoices()[0]["total"], -1_000);
}

#[test]
fn unpaid_renewals_are_past_due_until_paid_or_given_up() {
    for (end, status) in [(GiveUp::Unpaid, "unpaid"), (GiveUp::Cancel, "canceled")] {
        let world = world();
        let subscription = world.subscription(PLUS, "");
        let path = format!("/v1/subscriptions/{subscription}");
        let seen = world.kinds(0).len();

        world.account.renew_unpaid(&subscription).unwrap();
        assert_eq!(world.get(&path, "")["status"], "past_due");
        assert_eq!(
            world.kinds(seen),
            [
                "invoice.created",
                "customer.subscription.updated",
                "invoice.finalized",
                "payment_intent.payment_failed",
                "invoice.payment_failed",
                "customer.subscription.updated",
            ]
        );
        world.account.retry_payment(&subscription).unwrap();
        assert_eq!(world.get(&path, "")["status"], "active");
        assert_eq!(world.invoices()[0]["status"], "paid");

        world.account.renew_unpaid(&subscription).unwrap();
        world.account.give_up(&subscription, end).unwrap();
        assert_eq!(world.get(&path, "")["status"], status);
        assert_eq!(world.invoices()[0]["status"], "open");
    }
}

#[test]
fn slow_payments_activate_or_expire_the_subscription() {
    for is_paid in [true, false] {
        let world = world();
        let session = world.session("subscription", PLUS, "");

        let subscription = world
            .account
            .pay_later(&session)
            .unwrap()
            .subscription
            .unwrap();

        let path = format!("/v1/subscriptions/{subscription}");
        assert_eq!(world.get(&path, "")["status"], "incomplete");
        let completed = world.last("checkout.session.completed");
        assert_eq!(completed["data"]["object"]["payment_status"], "unpaid");
        let (settled, kind, status) = if is_paid {
            let settled = world.account.pay_later_succeeds(&session);
            (
                settled,
                "checkout.session.async_payment_succeeded",
                "active",
            )
        } else {
            let settled = world.account.pay_later_fails(&session);
            (
                settled,
                "checkout.session.async_payment_failed",
                "incomplete_expired",
            )
        };
        settled.unwrap();
        assert_eq!(world.get(&path, "")["status"], status);
        assert_eq!(world.kinds(0).last().unwrap(), kind);
        assert!(world.account.pay_later_succeeds(&session).is_err());
    }
}

#[test]
fn ends_credit_unused_time_on_demand_alone() {
    let world = world();
    let (first, second) = (world.subscription(PLUS, ""), world.subscription(PLUS, ""));
    world.after_days(15);

    world.account.cancel(&first, false).unwrap();
    world.account.cancel(&second, true).unwrap();

    assert_eq!(world.invoices().len(), 3);
    let credit = &world.invoices()[0];
    assert_eq!(
        (&credit["total"], &credit["ending_balance"]),
        (&json!(-500), &json!(-500))
    );
    assert!(world.account.renew(&first).is_err() && world.account.cancel(&first, false).is_err());
    assert_eq!(world.get("/v1/subscriptions", "")["data"], json!([]));
    assert_eq!(
        world.get("/v1/subscriptions", "status=all")["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn end_of_the_period_is_announced_and_reached() {
    let world = world();
    let subscription = world.subscription(PLUS, "");
    let seen = world.kinds(0).len();

    world.account.cancel_at_period_end(&subscription).unwrap();
    assert!(world.account.renew(&subscription).is_err());
    world.account.reach_period_end(&subscription).unwrap();

    let kinds = [
        "customer.subscription.updated",
        "customer.subscription.deleted",
    ];
    assert_eq!(world.kinds(seen), kinds);
    let updated = world.last("customer.subscription.updated");
    let previous = &updated["data"]["previous_attributes"];
    assert_eq!(previous["cancel_at_period_end"], false);
}

#[test]
fn paused_subscriptions_resume() {
    let world = world();
    let subscription = world.subscription(PLUS, "");

    world.account.pause(&subscription).unwrap();
    assert!(world.account.renew(&subscription).is_err());
    assert_eq!(
        world.last("customer.subscription.paused")["data"]["object"]["status"],
        "paused"
    );
    world.account.resume(&subscription).unwrap();

    assert_eq!(
        world.last("customer.subscription.resumed")["data"]["object"]["status"],
        "active"
    );
    world.account.renew(&subscription).unwrap();
}

#[test]
fn amounts_below_the_minimum_charge_go_to_the_balance() {
    let world = world();
    world.account.set_minimum_charge(50);
    let subscription = world.subscription(PLUS, "");
    world.after_days(29);
    let change = |price| {
        world
            .account
            .change_plan(&subscription, price, Proration::AlwaysInvoice)
    };

    change("price_more_1600_month").unwrap();

    let invoice = &world.invoices()[0];
    assert_eq!(
        (&invoice["total"], &invoice["amount_paid"]),
        (&json!(20), &json!(0))
    );
    assert_eq!(
        (&invoice["status"], &invoice["ending_balance"]),
        (&json!("paid"), &json!(20))
    );
    world.account.renew(&subscription).unwrap();
    assert_eq!(world.invoices()[0]["amount_paid"], 1_620);
}
