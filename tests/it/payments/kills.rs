//! kill -9 between any two steps of a payment: nothing is lost, and nothing is granted twice.

use super::shop::{FREE, Shop, assert_state, basic, small, state};
use crate::harness::{Gateway, Redis, TempDir, eventually};
use std::time::Duration;

/// Starts a gateway of the shop on a store, in a directory of its own where that is needed.
fn start(shop: &Shop, store: Option<&str>, dir: &TempDir) -> Gateway {
    let mut setup = shop.setup().dir(dir.path()).tenant("abc", shop.tenant());
    if let Some(store) = store {
        setup = setup.store(store);
    }
    Gateway::start(setup)
}

fn rounds(store: Option<&str>, rounds: u64) {
    let shop = Shop::open();
    let dir = TempDir::new();
    let mut gateway = start(&shop, store, &dir);
    let key = shop.sign_in(&gateway, "ann");
    let (mut bought, mut plan) = (0, false);
    for round in 0..rounds {
        let item = if round == 0 { basic() } else { small() };
        let answer = super::shop::checkout(&gateway, &key, &item);
        if answer.status == 429 {
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        shop.deliver_to(&gateway);
        // Slow answers of Stripe's leave time for the kill in the middle of an event.
        shop.stripe.pause_before_answer(Duration::from_millis(3));
        if shop.stripe.pay(&super::shop::session(&answer)).is_ok() {
            bought += if round == 0 { 5_000 } else { 3_000 };
            plan |= round == 0;
        }
        std::thread::sleep(Duration::from_millis(round * 7 % 90));
        gateway.kill9();
        gateway = start(&shop, store, &dir);
        shop.deliver_to(&gateway);
        shop.stripe.pause_before_answer(Duration::ZERO);
        eventually(
            Duration::from_secs(60),
            "Stripe's events are all taken",
            || (state(&gateway, &key).0 >= FREE + bought).then_some(()),
        );
        let group = if plan {
            "stripe_basic"
        } else {
            "google_logged_in"
        };
        assert_state(&gateway, &key, FREE + bought, group);
    }
    assert!(bought >= 5_000);
    // All of it once more.
    shop.stripe.hold_events(true);
    shop.tell(&gateway);
    assert_state(&gateway, &key, FREE + bought, "stripe_basic");
}

#[test]
fn a_gateway_that_is_killed_grants_each_payment_once() {
    rounds(None, 9);
}

#[test]
fn a_gateway_that_is_killed_grants_each_payment_once_on_redis() {
    let redis = Redis::start();
    rounds(Some(&redis.url()), 9);
}
