//! Property tests of payments: random lives of a customer, whose events come in any order, more than once or never.

use super::book::{Pay, PaymentBook};
use super::facts::*;
use super::*;
use crate::rules::account::{Account, Books, Orphans};
use crate::rules::amount::{Millis, Tokens};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: Millis = Millis(1_000);
const HOME: &str = "google_logged_in";
const CUSTOMER: &str = "cus_1";
/// Plans with the price of a period and its tokens.
const PLANS: [(&str, u64, u64); 2] = [("basic", 999, 5_000), ("premium", 2_999, 20_000)];
/// Parts of a period.
const PERIOD: u64 = 1_000;

fn told() -> ToldBy {
    ToldBy {
        event: "evt_1".into(),
        at: NOW,
    }
}

fn line(plan: usize, amount: i64) -> InvoiceLine {
    let (_, price, tokens) = PLANS[plan];
    InvoiceLine {
        price: Some(PlanPrice {
            amount: price,
            tokens: Tokens::new(tokens),
        }),
        amount,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe {
        plan: usize,
        trial: bool,
    },
    /// The rest of the period is paid at another plan's price.
    Change {
        plan: usize,
        rest: u64,
    },
    Renew,
    /// A payment fails; the subscription waits.
    Fail,
    Cancel,
    TopUp {
        tokens: u64,
        amount: u64,
    },
    Refund {
        at: usize,
        percent: u64,
    },
    FailRefund {
        at: usize,
    },
    Dispute {
        at: usize,
    },
    Reinstate {
        at: usize,
    },
    /// An event arrives: about which object, and how often.
    Hear {
        at: usize,
        times: u8,
    },
    Spend {
        tokens: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..2, any::<bool>()).prop_map(|(plan, trial)| Step::Subscribe { plan, trial }),
        4 => (0usize..2, 0..=PERIOD).prop_map(|(plan, rest)| Step::Change { plan, rest }),
        3 => Just(Step::Renew),
        1 => Just(Step::Fail),
        2 => Just(Step::Cancel),
        3 => (1u64..10_000, 1u64..3_000).prop_map(|(tokens, amount)| Step::TopUp { tokens, amount }),
        2 => (0usize..20, 1u64..=100).prop_map(|(at, percent)| Step::Refund { at, percent }),
        1 => (0usize..20).prop_map(|at| Step::FailRefund { at }),
        1 => (0usize..20).prop_map(|at| Step::Dispute { at }),
        1 => (0usize..20).prop_map(|at| Step::Reinstate { at }),
        12 => (0usize..60, 1u8..3).prop_map(|(at, times)| Step::Hear { at, times }),
        2 => (0u64..8_000).prop_map(|tokens| Step::Spend { tokens }),
    ]
}

/// Object that an event is about.
#[derive(Clone, Debug)]
enum About {
    Subscription(String),
    Session(usize),
    Payment(String),
}

struct Subscription {
    id: String,
    plan: usize,
    status: &'static str,
}

/// What Stripe has: the truth that the gateway asks for.
#[derive(Default)]
struct Stripe {
    subscriptions: Vec<Subscription>,
    invoices: Vec<PaidInvoice>,
    sessions: Vec<PaidTopUp>,
    refunded: BTreeMap<String, u64>,
    disputed: BTreeMap<String, u64>,
    events: Vec<About>,
}

impl Stripe {
    fn live(&mut self) -> Option<&mut Subscription> {
        self.subscriptions
            .iter_mut()
            .find(|of| of.status != "canceled")
    }

    fn bill(&mut self, lines: Vec<InvoiceLine>) {
        let total = lines.iter().map(|line| line.amount).sum::<i64>().max(0);
        let number = self.invoices.len();
        let intents = (total > 0).then(|| format!("pi_in_{number}"));
        self.invoices.push(PaidInvoice {
            id: format!("in_{number}"),
            created_seconds: number as u64 / 2,
            total: total.unsigned_abs(),
            lines,
            intents: intents.into_iter().collect(),
        });
        self.tell_subscription();
    }

    fn tell_subscription(&mut self) {
        if let Some(id) = self.subscriptions.last().map(|of| of.id.clone()) {
            self.events.push(About::Subscription(id));
        }
    }

    /// Returns the amount of each payment by its intent.
    fn payments(&self) -> Vec<(String, u64)> {
        let invoices = self.invoices.iter();
        let invoices = invoices.flat_map(|of| of.intents.iter().map(|pi| (pi.clone(), of.total)));
        let sessions = self.sessions.iter();
        let sessions = sessions.filter_map(|of| Some((of.intent.clone()?, of.amount)));
        invoices.chain(sessions).collect()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Subscribe { plan, trial } if self.live().is_none() => {
                let id = format!("sub_{}", self.subscriptions.len());
                let status = if trial { "trialing" } else { "active" };
                self.subscriptions.push(Subscription { id, plan, status });
                let amount = if trial { 0 } else { PLANS[plan].1 as i64 };
                self.bill(vec![line(plan, amount)]);
            }
            Step::Change { plan, rest } => {
                let Some(live) = self.live() else { return };
                let before = std::mem::replace(&mut live.plan, plan);
                let share = |plan: usize| (PLANS[plan].1 * rest / PERIOD) as i64;
                self.bill(vec![line(before, -share(before)), line(plan, share(plan))]);
            }
            Step::Renew => {
                let Some(live) = self.live() else { return };
                live.status = "active";
                let plan = live.plan;
                self.bill(vec![line(plan, PLANS[plan].1 as i64)]);
            }
            Step::Fail => {
                if let Some(live) = self.live() {
                    live.status = "past_due";
                    self.tell_subscription();
                }
            }
            Step::Cancel => {
                if let Some(live) = self.live() {
                    live.status = "canceled";
                    self.tell_subscription();
                }
            }
            Step::TopUp { tokens, amount } => {
                let number = self.sessions.len();
                self.sessions.push(PaidTopUp {
                    session: format!("cs_{number}"),
                    item: "small".into(),
                    tokens: Tokens::new(tokens),
                    amount,
                    intent: Some(format!("pi_cs_{number}")),
                    told: told(),
                });
                self.events.push(About::Session(number));
            }
            Step::Refund { at, percent } => self.reverse(at, |stripe, intent, amount| {
                let before = stripe.refunded.entry(intent).or_default();
                *before = (*before).max(amount * percent / 100);
            }),
            Step::FailRefund { at } => self.reverse(at, |stripe, intent, _| {
                stripe.refunded.insert(intent, 0);
            }),
            Step::Dispute { at } => self.reverse(at, |stripe, intent, amount| {
                stripe.disputed.insert(intent, amount);
            }),
            Step::Reinstate { at } => self.reverse(at, |stripe, intent, _| {
                stripe.disputed.insert(intent, 0);
            }),
            _ => {}
        }
    }

    fn reverse(&mut self, at: usize, change: impl FnOnce(&mut Stripe, String, u64)) {
        let payments = self.payments();
        if let Some((intent, amount)) = payments.get(at % payments.len().max(1)).cloned() {
            change(self, intent.clone(), amount);
            self.events.push(About::Payment(intent));
        }
    }

    /// Returns what all payments grant, and what of it went back.
    fn worth(&self) -> (u64, u64) {
        let (mut granted, mut back) = (0, 0);
        let (mut sum, mut most, mut net, mut most_net) = (0i64, 0i64, 0i64, 0i64);
        for invoice in &self.invoices {
            let mut worth = 0i64;
            for line in &invoice.lines {
                let price = line.price.unwrap();
                let share = price.tokens.count() as f64 * line.amount as f64 / price.amount as f64;
                worth += share.floor() as i64;
            }
            let intent = invoice.intents.first();
            let reversed = self.share(worth.max(0) as u64, invoice.total, intent);
            sum += worth;
            net += worth - reversed as i64;
            most = most.max(sum);
            most_net = most_net.max(net);
        }
        granted += most as u64;
        back += (most - most_net) as u64;
        for session in &self.sessions {
            granted += session.tokens.count();
            back += self.share(
                session.tokens.count(),
                session.amount,
                session.intent.as_ref(),
            );
        }
        (granted, back)
    }

    /// The share of tokens whose payment went back.
    fn share(&self, tokens: u64, amount: u64, intent: Option<&String>) -> u64 {
        let of = |known: &BTreeMap<String, u64>| {
            intent
                .and_then(|intent| known.get(intent))
                .copied()
                .unwrap_or(0)
        };
        let reversed = (of(&self.refunded) + of(&self.disputed)).min(amount);
        tokens * reversed / amount.max(1)
    }

    fn group(&self) -> &'static str {
        let live = self
            .subscriptions
            .iter()
            .filter(|of| of.status != "canceled");
        live.map(|of| PLANS[of.plan].0).next_back().unwrap_or(HOME)
    }
}

/// The gateway's side: an account with its payments.
struct World {
    stripe: Stripe,
    payments: Payments,
    account: Account,
    book: PaymentBook,
    group: String,
    spent: u64,
}

impl World {
    fn new() -> World {
        World {
            stripe: Stripe::default(),
            payments: Payments::new("p".into()),
            account: Account::new(Tokens::ZERO, Books::default()),
            book: PaymentBook::default(),
            group: HOME.into(),
            spent: 0,
        }
    }

    /// Takes an event: asks how its object stands now, and writes what follows.
    fn hear(&mut self, about: &About) {
        // What is written is read back.
        let mut payments = Payments::read(&self.payments.text()).unwrap();
        assert_eq!(payments, self.payments);
        match about {
            About::Subscription(id) => {
                let of = self
                    .stripe
                    .subscriptions
                    .iter()
                    .find(|of| of.id == *id)
                    .unwrap();
                let (group, _, tokens) = PLANS[of.plan];
                payments.take_subscription(
                    &SubscriptionNow {
                        id: id.clone(),
                        customer: CUSTOMER.into(),
                        standing: SubscriptionStanding::of(of.status),
                        prices: vec![group.into()],
                        plan: Some(GroupPlan {
                            group: group.into(),
                            price: group.into(),
                            tokens: Tokens::new(tokens),
                            trial_tokens: Tokens::new(77),
                        }),
                    },
                    &told(),
                );
                payments.take_invoices(CUSTOMER, &self.stripe.invoices, &told());
            }
            About::Session(number) => {
                let paid = self.stripe.sessions[*number].clone();
                let intent = paid.intent.clone().unwrap();
                payments.take_refunds(&intent, self.refunded(&intent));
                payments.top_up(paid);
            }
            About::Payment(intent) => {
                payments.take_refunds(intent, self.refunded(intent));
                let disputed = self.stripe.disputed.get(intent).copied();
                if let Some(disputed) = disputed {
                    payments.take_dispute(intent, &format!("dp_{intent}"), disputed);
                }
            }
        }
        let change = payments.change(&self.group);
        self.payments = payments;
        let pay = Pay {
            tenant: "abc".into(),
            expected: self.book.version,
            group_before: self.group.clone(),
            text: self.payments.text(),
            cause: String::new(),
            asked: NOW,
            gain: change.gain,
            back: change.back,
            group: change.group.clone(),
        };
        let adjusted = self.account.adjust(NOW, Orphans::Known, &self.book, &pay);
        self.book.note(&pay, adjusted.0, adjusted.1);
        self.group = change.group.unwrap_or(std::mem::take(&mut self.group));
    }

    fn refunded(&self, intent: &str) -> u64 {
        self.stripe.refunded.get(intent).copied().unwrap_or(0)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Hear { at, times } => {
                let events = &self.stripe.events;
                let about = events.get(at % events.len().max(1)).cloned();
                for _ in 0..times {
                    about.iter().for_each(|about| self.hear(about));
                }
            }
            Step::Spend { tokens } => {
                let tokens = Tokens::new(tokens).min(self.account.left);
                self.account
                    .settle(NOW, Orphans::Known, "r", tokens, false, "");
                self.spent += tokens.count();
            }
            _ => self.stripe.step(step),
        }
    }

    fn trial(&self) -> u64 {
        if self.payments.has_had_trial() { 77 } else { 0 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_balance_is_what_the_payments_say_whatever_is_heard_of_them(
        steps in proptest::collection::vec(step(), 1..80),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            let (granted, _) = world.stripe.worth();
            let had = world.account.left.count() + world.spent;
            prop_assert!(had <= granted + world.trial(), "{step:?}: {had} of {granted}");
        }
        // In the end each object is heard of once more, in any order.
        let mut events = world.stripe.events.clone();
        for at in &order {
            if !events.is_empty() {
                let at = at.index(events.len());
                let event = events.remove(at);
                events.push(event);
            }
        }
        for event in &events {
            world.hear(event);
        }
        let (granted, back) = world.stripe.worth();
        let owed = granted + world.trial() - back;
        let expected = owed.saturating_sub(world.spent);
        prop_assert!(world.account.left.count() >= expected);
        if world.spent == 0 {
            prop_assert_eq!(world.account.left.count(), owed);
            prop_assert_eq!(world.book.short, Tokens::ZERO);
        }
        prop_assert_eq!(world.group.as_str(), world.stripe.group());
        let listed = world.payments.entries();
        let sum = |of: fn(&entry::PaymentEntry) -> Tokens| listed.iter().map(of).sum::<Tokens>().count();
        prop_assert_eq!(sum(|entry| entry.tokens), granted + world.trial());
        prop_assert_eq!(sum(|entry| entry.taken_back), back);
        // Once more changes nothing.
        let before = (world.payments.clone(), world.account.clone(), world.book.clone());
        for event in &events {
            world.hear(event);
        }
        prop_assert_eq!(before, (world.payments, world.account, world.book));
    }

    /// Changing plans at any moments of a period never gives more than the larger plan.
    #[test]
    fn a_period_is_worth_no_more_than_its_largest_plan(
        first in 0usize..2, changes in proptest::collection::vec((0usize..2, 0..=PERIOD), 0..30),
    ) {
        let mut stripe = Stripe::default();
        stripe.step(&Step::Subscribe { plan: first, trial: false });
        let mut rests: Vec<u64> = changes.iter().map(|(_, rest)| *rest).collect();
        rests.sort_unstable_by_key(|rest| std::cmp::Reverse(*rest));
        for ((plan, _), rest) in changes.iter().zip(rests) {
            stripe.step(&Step::Change { plan: *plan, rest });
        }
        let largest = changes.iter().map(|(plan, _)| *plan).chain([first]).max().unwrap();
        let (granted, _) = stripe.worth();
        // A cent more or less in Stripe's own rounding of a share.
        prop_assert!(granted <= PLANS[largest].2 + 7 * changes.len() as u64, "{granted}");
        prop_assert!(granted >= PLANS[first].2);
    }
}

#[test]
fn an_account_returns_to_the_group_before_its_first_subscription() {
    let mut payments = Payments::new("p".into());
    let mut now = |id: &str, plan: usize, status: &str, group: &str| {
        let (name, _, tokens) = PLANS[plan];
        let standing = SubscriptionStanding::of(status);
        let plan = GroupPlan {
            group: name.into(),
            price: name.into(),
            tokens: Tokens::new(tokens),
            trial_tokens: Tokens::ZERO,
        };
        payments.take_subscription(
            &SubscriptionNow {
                id: id.into(),
                customer: CUSTOMER.into(),
                standing,
                prices: vec![name.into()],
                plan: Some(plan),
            },
            &told(),
        );
        payments.change(group).group
    };
    assert_eq!(now("sub_1", 0, "incomplete", "vip"), None);
    assert_eq!(now("sub_1", 0, "active", "vip").as_deref(), Some("basic"));
    assert_eq!(
        now("sub_2", 1, "active", "basic").as_deref(),
        Some("premium")
    );
    assert_eq!(now("sub_2", 1, "past_due", "premium"), None);
    assert_eq!(
        now("sub_2", 1, "unpaid", "premium").as_deref(),
        Some("basic")
    );
    assert_eq!(now("sub_1", 0, "paused", "basic").as_deref(), Some("vip"));
    assert_eq!(now("sub_1", 0, "paused", "vip"), None);
    assert_eq!(now("sub_1", 0, "something new", "vip"), None);
}

#[test]
fn a_price_that_becomes_known_counts_from_then_on_and_one_that_changes_does_not() {
    let mut payments = Payments::new("p".into());
    let mut gain = |price: Option<PlanPrice>| {
        let lines = vec![InvoiceLine { price, amount: 999 }];
        let invoice = PaidInvoice {
            id: "in_1".into(),
            created_seconds: 1,
            total: 999,
            lines,
            intents: vec!["pi_1".into()],
        };
        payments.take_invoices(CUSTOMER, &[invoice], &told());
        payments.change(HOME).gain.count()
    };
    let price = |tokens| {
        Some(PlanPrice {
            amount: 999,
            tokens: Tokens::new(tokens),
        })
    };
    assert_eq!(gain(None), 0);
    assert_eq!(gain(price(5_000)), 5_000);
    assert_eq!(gain(price(50_000)), 0);
    assert_eq!(gain(price(1)), 0);
}

#[test]
fn a_dispute_blocks_until_its_funds_are_back() {
    let mut payments = Payments::new("p".into());
    payments.take_dispute("pi_1", "dp_1", 0);
    assert!(!payments.is_blocked());
    payments.take_dispute("pi_1", "dp_1", 999);
    assert!(payments.is_blocked());
    payments.take_dispute("pi_1", "dp_1", 0);
    assert!(!payments.is_blocked());
}

/// A world in which somebody has bought 3,000 tokens for 500 cents.
fn bought() -> (World, About) {
    let mut world = World::new();
    world.step(&Step::TopUp {
        tokens: 3_000,
        amount: 500,
    });
    world.hear(&About::Session(0));
    assert_eq!(world.account.left, Tokens::new(3_000));
    (world, About::Payment("pi_cs_0".into()))
}

#[test]
fn a_purchase_is_granted_in_full_whatever_was_refunded_before() {
    let (mut world, payment) = bought();
    world.step(&Step::Spend { tokens: 2_900 });
    world.step(&Step::Refund {
        at: 0,
        percent: 100,
    });
    world.hear(&payment);
    assert_eq!(
        (world.account.left, world.book.short),
        (Tokens::ZERO, Tokens::new(2_900))
    );

    world.step(&Step::TopUp {
        tokens: 3_000,
        amount: 500,
    });
    world.hear(&About::Session(1));
    assert_eq!(world.account.left, Tokens::new(3_000));
}

#[test]
fn a_refund_that_fails_gives_back_nothing_that_calls_in_flight_have_used() {
    let (mut world, payment) = bought();
    let ask = crate::rules::account::Admit {
        id: "r",
        least: Tokens::new(3_000),
        most: Tokens::new(3_000),
        open: Tokens::ZERO,
        known: Tokens::ZERO,
        limits: Default::default(),
        ttl: Millis(1_000),
        key: None,
        created: Millis(0),
    };
    world.account.admit(NOW, Orphans::Known, &ask);
    world.step(&Step::Refund {
        at: 0,
        percent: 100,
    });
    world.hear(&payment);
    world
        .account
        .settle(NOW, Orphans::Known, "r", Tokens::new(3_000), false, "");
    world.step(&Step::FailRefund { at: 0 });
    world.hear(&payment);
    assert_eq!(world.account.left, Tokens::ZERO);
}

#[test]
fn a_refunded_period_that_has_granted_nothing_fills_no_hole_of_the_sum() {
    let mut world = World::new();
    world.step(&Step::Subscribe {
        plan: 0,
        trial: false,
    });
    for (plan, rest) in [(1, PERIOD), (0, PERIOD)] {
        world.step(&Step::Change { plan, rest });
    }
    let subscription = About::Subscription("sub_0".into());
    for _ in 0..3 {
        world.step(&Step::Renew);
    }
    world.hear(&subscription);
    let before = world.account.left;
    assert!(
        before.count() > 19_900 && before.count() <= 20_000,
        "{before:?}"
    );

    // The last renewal paid, granted nothing, and is refunded.
    world.stripe.refunded.insert("pi_in_5".into(), 999);
    world.step(&Step::Renew);
    world.hear(&subscription);
    world.hear(&About::Payment("pi_in_5".into()));
    assert!(
        world.account.left.minus(before).count() <= 5_000 - 4_990,
        "{:?}",
        world.account.left
    );
}

#[test]
fn who_changes_to_a_price_of_no_group_loses_the_group_and_a_price_that_left_the_config_keeps_it() {
    let mut payments = Payments::new("p".into());
    let mut now = |price: &str, plan: Option<&str>| {
        let plan = plan.map(|group| GroupPlan {
            group: group.into(),
            price: price.into(),
            tokens: Tokens::new(1),
            trial_tokens: Tokens::ZERO,
        });
        payments.take_subscription(
            &SubscriptionNow {
                id: "sub_1".into(),
                customer: CUSTOMER.into(),
                standing: SubscriptionStanding::Live,
                prices: vec![price.into()],
                plan,
            },
            &told(),
        );
        payments.live_subscriptions().count()
    };
    assert_eq!(now("price_big", Some("premium")), 1);
    assert_eq!(now("price_big", None), 1);
    assert_eq!(now("price_cheap", None), 0);
}

#[test]
fn an_answer_that_was_asked_for_before_a_later_one_was_confirmed_changes_nothing() {
    let mut book = PaymentBook::default();
    let pay = |text: &str, asked| Pay {
        tenant: "abc".into(),
        expected: 1,
        group_before: String::new(),
        text: text.into(),
        cause: String::new(),
        asked: Millis(asked),
        gain: Tokens::ZERO,
        back: (Tokens::ZERO, Tokens::ZERO),
        group: None,
    };
    book.note(&pay("one", 10), Tokens::ZERO, Tokens::ZERO);
    book.note(&pay("one", 20), Tokens::ZERO, Tokens::ZERO);
    assert_eq!(book.version, 1);
    assert!(book.is_newer_than(&pay("two", 15)));
    assert!(!book.is_newer_than(&pay("two", 25)));
    assert!(
        !book.is_newer_than(&pay("one", 15)),
        "a repeat stands in nobody's way"
    );
    book.note(&pay("one", 1_000_000), Tokens::ZERO, Tokens::ZERO);
    let later = pay("two", 30);
    assert!(
        !book.is_newer_than(&later),
        "a clock that is wrong stops nobody"
    );
}
