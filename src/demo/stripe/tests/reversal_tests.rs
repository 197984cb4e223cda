//! Tests of refunds and disputes.

use super::*;
use serde_json::json;

/// Payment intent of 10.00 USD.
fn paid(world: &World) -> String {
    let session = world.session(
        "payment",
        "price_pack_1000",
        "payment_intent_data[metadata][a]=b",
    );
    world.account.pay(&session).unwrap().payment_intent.unwrap()
}

fn charge(world: &World, intent: &str) -> Value {
    let payment = world.get(&format!("/v1/payment_intents/{intent}"), "");
    world.get(
        &format!("/v1/charges/{}", text(&payment["latest_charge"])),
        "",
    )
}

#[test]
fn refunds_add_up_and_a_failed_one_gives_back() {
    let world = world();
    let intent = paid(&world);

    let first = world.account.refund(&intent, 400).unwrap();
    world.account.refund(&intent, 600).unwrap();

    assert_eq!(charge(&world, &intent)["amount_refunded"], 1_000);
    assert_eq!(charge(&world, &intent)["refunded"], true);
    assert_eq!(charge(&world, &intent)["metadata"], json!({ "a": "b" }));
    assert!(world.account.refund(&intent, 1).is_err());
    let refunded = world.last("charge.refunded");
    assert_eq!(
        refunded["data"]["previous_attributes"]["amount_refunded"],
        400
    );

    world.account.fail_refund(&first).unwrap();

    assert_eq!(charge(&world, &intent)["amount_refunded"], 600);
    assert_eq!(
        world.last("refund.failed")["data"]["object"]["status"],
        "failed"
    );
    let listed = world.get("/v1/refunds", &format!("payment_intent={intent}&limit=1"));
    assert_eq!(
        (&listed["data"][0]["amount"], &listed["has_more"]),
        (&json!(600), &json!(true))
    );
}

#[test]
fn inquiries_move_no_money_and_disputes_do() {
    let world = world();
    let intent = paid(&world);
    let seen = world.kinds(0).len();

    let inquiry = world.account.dispute_inquiry(&intent).unwrap();
    let path = format!("/v1/disputes/{inquiry}");
    assert_eq!(world.get(&path, "")["balance_transactions"], json!([]));
    assert_eq!(world.get(&path, "")["status"], "warning_needs_response");
    let dispute = world.account.dispute(&intent).unwrap();
    assert_eq!(dispute, inquiry);
    assert_eq!(
        world.get(&path, "")["balance_transactions"][0]["amount"],
        -1_000
    );
    world.account.win_dispute(&dispute).unwrap();

    assert_eq!(
        world.get(&path, "")["balance_transactions"][1]["amount"],
        1_000
    );
    assert_eq!(
        world.kinds(seen),
        [
            "charge.dispute.created",
            "charge.dispute.updated",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.funds_reinstated",
            "charge.dispute.closed",
        ]
    );
    assert!(world.account.lose_dispute(&dispute).is_err());
}

#[test]
fn disputes_about_a_part_withdraw_the_part() {
    let world = world();
    let intent = paid(&world);

    let dispute = world.account.dispute_part(&intent, 250).unwrap();
    world.account.lose_dispute(&dispute).unwrap();

    let dispute = world.get(&format!("/v1/disputes/{dispute}"), "");
    assert_eq!(
        (&dispute["amount"], &dispute["status"]),
        (&json!(250), &json!("lost"))
    );
    assert_eq!(dispute["balance_transactions"].as_array().unwrap().len(), 1);
    assert!(world.account.dispute_part(&intent, 1_001).is_err());
}

#[test]
fn payments_that_never_arrived_cannot_be_refunded() {
    let world = world();
    let session = world.session("payment", "price_pack_1000", "");

    let intent = world
        .account
        .pay_later(&session)
        .unwrap()
        .payment_intent
        .unwrap();
    assert!(world.account.refund(&intent, 1).is_err() && world.account.dispute(&intent).is_err());
    world.account.pay_later_fails(&session).unwrap();

    assert!(world.account.refund(&intent, 1).is_err());
    assert!(world.account.pay_later_succeeds(&session).is_err());
}
