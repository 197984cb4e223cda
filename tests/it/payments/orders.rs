//! Events in any order, more than once, at once and of several gateways: the same balance and group in the end.

use super::shop::{
    FREE, PREMIUM, Shop, assert_state, basic, object, payments, send, small, spend, state,
};
use crate::harness::{Cluster, Gateway, Redis, Setup};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use resullm::demo::stripe::{ApiShape, Proration, SignedEvent};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

fn deliver(gateway: &Gateway, event: &SignedEvent) {
    let answer = send(&gateway.client(), "/abc/billing/stripe", event);
    assert_eq!(answer.status, 200, "{}: {}", event.kind, answer.text());
}

/// Every order of these, by Heap's algorithm.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    fn heap(k: usize, items: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
        if k <= 1 {
            all.push(items.clone());
            return;
        }
        for at in 0..k {
            heap(k - 1, items, all);
            items.swap(if k.is_multiple_of(2) { at } else { 0 }, k - 1);
        }
    }
    let mut all = Vec::new();
    heap(count, &mut (0..count).collect(), &mut all);
    all
}

/// Events that change something, of this account.
fn of(shop: &Shop, key_account: &str) -> Vec<SignedEvent> {
    let counts = |kind: &str| {
        kind == "checkout.session.completed"
            || kind == "invoice.paid"
            || kind.starts_with("customer.subscription.")
    };
    let events = shop
        .events()
        .into_iter()
        .filter(|event| counts(&event.kind));
    let is_theirs = |event: &SignedEvent| object(event).to_string().contains(key_account);
    events.filter(is_theirs).collect()
}

#[test]
fn every_order_of_the_events_of_a_subscription_ends_the_same() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    let orders = permutations(5);
    assert_eq!(orders.len(), 120);
    for (number, order) in orders.iter().enumerate() {
        let shape = if number % 2 == 0 {
            ApiShape::Before
        } else {
            ApiShape::Basil
        };
        shop.set_shape(shape);
        let who = format!("person-{number}");
        let key = shop.sign_in(&gateway, &who);
        let account = crate::harness::me(&gateway, &key)["userId"]
            .as_str()
            .unwrap()
            .to_owned();
        let session = shop.check_out(&gateway, &key, &basic());
        let subscription = shop.stripe.pay(&session).unwrap().subscription.unwrap();
        shop.stripe
            .change_plan(&subscription, PREMIUM, Proration::AlwaysInvoice)
            .unwrap();
        let events = of(&shop, &account);
        assert_eq!(
            events.len(),
            5,
            "{:?}",
            events.iter().map(|e| &e.kind).collect::<Vec<_>>()
        );

        for at in order {
            deliver(&gateway, &events[*at]);
            deliver(&gateway, &events[*at]);
        }

        let (tokens, group) = state(&gateway, &key);
        assert!(
            (FREE + 19_900..=FREE + 20_000).contains(&tokens),
            "{order:?}: {tokens}"
        );
        assert_eq!(group, "stripe_premium", "{order:?}");
        assert_eq!(
            payments(&gateway, &key)["payments"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}

/// What happens between two deliveries.
#[derive(Clone, Debug)]
enum Step {
    Change,
    Renew,
    Cancel,
    Return,
    TopUp,
    Refund(prop::sample::Index),
    /// One of the events so far arrives.
    Hear(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Change),
        2 => Just(Step::Renew),
        1 => Just(Step::Cancel),
        1 => Just(Step::Return),
        1 => Just(Step::TopUp),
        1 => any::<prop::sample::Index>().prop_map(Step::Refund),
        6 => any::<prop::sample::Index>().prop_map(Step::Hear),
    ]
}

/// One of two accounts that live the same life at the same time.
struct Life {
    key: String,
    /// Whether it hears of everything at once and in order.
    in_order: bool,
    events: Vec<SignedEvent>,
    subscription: Option<String>,
    price: usize,
}

/// A random life of two accounts. One hears of everything in order; the other hears of some of it meanwhile, and in the
/// end of each event once more, the last one first.
fn live(shop: &Shop, gateway: &Gateway, steps: &[Step], who: &str) {
    let mut lives = [true, false].map(|in_order| Life {
        key: shop.sign_in(gateway, &format!("{who}-{in_order}")),
        in_order,
        events: Vec::new(),
        subscription: None,
        price: 0,
    });
    for step in steps {
        if matches!(step, Step::Renew) {
            shop.wait_days(31);
        }
        for life in &mut lives {
            let before = shop.events().len();
            let must_hear = act(shop, gateway, life, step);
            let fresh = shop.events().split_off(before);
            life.events.extend(fresh.iter().cloned());
            for event in fresh.iter().filter(|_| life.in_order || must_hear) {
                deliver(gateway, event);
            }
            if let Step::Hear(at) = step
                && !life.in_order
                && !life.events.is_empty()
            {
                deliver(gateway, &life.events[at.index(life.events.len())]);
            }
        }
    }
    for life in &lives {
        for event in life.events.iter().rev() {
            deliver(gateway, event);
        }
    }
    let [in_order, shuffled] = lives.map(|life| state(gateway, &life.key));
    assert_eq!(in_order.1, shuffled.1);
    // Proration counts seconds, and the second account acts a moment after the first.
    let apart = in_order.0.abs_diff(shuffled.0);
    assert!(apart <= 20, "{in_order:?} and {shuffled:?}");
}

/// Acts for an account. Returns whether it has to hear of that at once, to be able to go on.
fn act(shop: &Shop, gateway: &Gateway, life: &mut Life, step: &Step) -> bool {
    let stripe = &shop.stripe;
    match (step, life.subscription.clone()) {
        (Step::Return, None) => {
            let answer = super::shop::checkout(gateway, &life.key, &basic());
            // Ten an hour.
            if answer.status == 200 {
                let paid = stripe.pay(&super::shop::session(&answer)).unwrap();
                life.subscription = paid.subscription;
                life.price = 0;
            }
            false
        }
        (Step::Change, Some(id)) => {
            life.price = 1 - life.price;
            let price = [super::shop::BASIC, PREMIUM][life.price];
            stripe
                .change_plan(&id, price, Proration::AlwaysInvoice)
                .unwrap();
            false
        }
        (Step::Renew, Some(id)) => {
            stripe.renew(&id).unwrap();
            false
        }
        (Step::Cancel, Some(id)) => {
            stripe.cancel(&id, false).unwrap();
            life.subscription = None;
            // Who is still thought to be subscribed buys no plan.
            true
        }
        (Step::TopUp, _) => {
            let answer = super::shop::checkout(gateway, &life.key, &small());
            if answer.status != 200 {
                return false;
            }
            // What is bought once more within a minute is the same session until it was heard of.
            let _ = stripe.pay(&super::shop::session(&answer));
            true
        }
        (Step::Refund(at), _) => {
            let paid = |event: &&SignedEvent| event.kind == "payment_intent.succeeded";
            let paid: Vec<_> = life.events.iter().filter(paid).collect();
            if !paid.is_empty() {
                let paid = object(paid[at.index(paid.len())]);
                // What is refunded already is refused.
                let _ = stripe.refund(paid["id"].as_str().unwrap(), 300);
            }
            false
        }
        _ => false,
    }
}

fn random_lives(gateway: &Gateway, shop: &Shop, lives: u32) {
    let number = AtomicUsize::new(0);
    let mut runner = TestRunner::new(Config {
        cases: lives,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..Config::default()
    });
    let steps = proptest::collection::vec(step(), 1..14);
    let run = runner.run(&steps, |mut steps| {
        steps.insert(0, Step::Return);
        let who = format!("life-{}", number.fetch_add(1, Ordering::SeqCst));
        live(shop, gateway, &steps, &who);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn a_random_life_ends_the_same_whatever_was_heard_of_it() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    random_lives(&gateway, &shop, 12);
    drop(gateway);

    let redis = Redis::start();
    let setup = shop.setup().store(&redis.url());
    let gateway = Gateway::start(setup.tenant("abc", shop.tenant()));
    random_lives(&gateway, &shop, 12);
}

/// Three gateways on one store.
fn three(shop: &Shop, store: &str) -> Vec<Gateway> {
    let start = |_| {
        let setup: Setup = shop.setup().store(store).tenant("abc", shop.tenant());
        Gateway::start(setup)
    };
    (0..3).map(start).collect()
}

fn storm(shop: &Shop, gateways: &[Gateway], requests: usize) {
    let key = shop.sign_in(&gateways[0], "ann");
    shop.buy(&gateways[0], &key, &small());
    let event = shop.event("checkout.session.completed");
    let (next, granted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= requests {
                        return;
                    }
                    let client = gateways[number % gateways.len()].client();
                    let answer = send(&client, "/abc/billing/stripe", &event);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let tokens = answer.json()["tokens"].as_i64().unwrap();
                    granted.fetch_add(usize::try_from(tokens).unwrap(), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 3_000);
    for gateway in gateways {
        assert_state(gateway, &key, FREE + 3_000, "google_logged_in");
    }
    assert_eq!(
        payments(&gateways[0], &key)["payments"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_same_webhook_a_thousand_times_at_once_credits_once() {
    let redis = Redis::start();
    let shop = Shop::open();
    let gateways = three(&shop, &redis.url());
    storm(&shop, &gateways, 1_000);
}

#[test]
fn the_same_webhook_at_once_credits_once_on_a_cluster_and_on_disk() {
    let cluster = Cluster::start();
    let shop = Shop::open();
    let gateways = three(&shop, &cluster.url());
    storm(&shop, &gateways, 300);

    let shop = Shop::open();
    storm(&shop, &[shop.gateway()], 300);
}

#[test]
fn different_events_of_one_account_at_once_are_all_taken() {
    let redis = Redis::start();
    let shop = Shop::open();
    let gateways = three(&shop, &redis.url());
    let key = shop.sign_in(&gateways[0], "ann");
    let session = shop.check_out(&gateways[0], &key, &basic());
    let subscription = shop.stripe.pay(&session).unwrap().subscription.unwrap();
    shop.stripe
        .change_plan(&subscription, PREMIUM, Proration::AlwaysInvoice)
        .unwrap();
    shop.buy(&gateways[0], &key, &small());
    let events = shop.events();
    std::thread::scope(|scope| {
        for (number, event) in events.iter().chain(&events).enumerate() {
            let client = gateways[number % 3].client();
            scope.spawn(move || {
                // Those that meet too many others come again, as Stripe sends them.
                for _ in 0..5 {
                    let answer = send(&client, "/abc/billing/stripe", event);
                    if answer.status == 200 {
                        return;
                    }
                    assert_eq!(answer.status, 503, "{}", answer.text());
                }
                panic!("{} was never taken", event.kind);
            });
        }
    });
    let (tokens, group) = state(&gateways[1], &key);
    assert!(
        (FREE + 22_900..=FREE + 23_000).contains(&tokens),
        "{tokens}"
    );
    assert_eq!(group, "stripe_premium");
}

/// Whoever is subscribed has the plan's limits on every gateway within a second or two.
#[test]
fn a_plan_changes_the_limits_of_a_busy_key_everywhere() {
    let redis = Redis::start();
    let shop = Shop::open();
    let config = shop
        .tenant()
        .set("user_groups.stripe_basic.models", json!(["gpt-4o-mini"]));
    let start = || {
        let setup = shop
            .setup()
            .store(&redis.url())
            .tenant("abc", config.clone());
        Gateway::start(setup)
    };
    let (one, two) = (start(), start());
    let key = shop.sign_in(&one, "ann");
    for _ in 0..6 {
        spend(&one, &key, 20);
        spend(&two, &key, 20);
    }
    shop.buy(&one, &key, &basic());
    shop.tell(&one);
    let (_, group) = state(&one, &key);
    assert_eq!(group, "stripe_basic");
    let refused = |gateway: &Gateway| {
        let call = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
        let answer = crate::harness::chat(gateway, "abc", &key, &call);
        assert!([200, 404].contains(&answer.status), "{}", answer.text());
        answer.status == 404
    };
    for gateway in [&one, &two] {
        crate::harness::eventually(
            std::time::Duration::from_secs(5),
            "the plan's models",
            || refused(gateway).then_some(()),
        );
    }
}
