//! Property tests of payments: random lives of a customer, whose events come in any order, more than once or never.

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

    /// Returns what all payments are worth: each payment's grant, and what of it went back.
    fn worth(&self) -> (u64, u64) {
        let mut grants: Vec<(u64, u64, Option<String>)> = Vec::new();
        let (mut sum, mut most) = (0i64, 0i64);
        for invoice in &self.invoices {
            for line in &invoice.lines {
                let price = line.price.unwrap();
                let worth = price.tokens.count() as f64 * line.amount as f64 / price.amount as f64;
                sum += worth.floor() as i64;
            }
            let more = (sum - most).max(0);
            most = most.max(sum);
            let intent = invoice.intents.first().cloned();
            grants.push((more.unsigned_abs(), invoice.total, intent));
        }
        for session in &self.sessions {
            grants.push((
                session.tokens.count(),
                session.amount,
                session.intent.clone(),
            ));
        }
        let granted = grants.iter().map(|(tokens, ..)| tokens).sum();
        let back = grants.iter().map(|(tokens, amount, intent)| {
            let of = |known: &BTreeMap<String, u64>| {
                intent
                    .as_ref()
                    .and_then(|intent| known.get(intent))
                    .copied()
                    .unwrap_or(0)
            };
            let reversed = (of(&self.refunded) + of(&self.disputed)).min(*amount);
            tokens * reversed / (*amount).max(1)
        });
        (granted, back.sum())
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
    short: Tokens,
    group: String,
    spent: u64,
}

impl World {
    fn new() -> World {
        World {
            stripe: Stripe::default(),
            payments: Payments::new("p".into()),
            account: Account {
                left: Tokens::ZERO,
                books: Books::default(),
            },
            short: Tokens::ZERO,
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
                        plan: Some(GroupPlan {
                            group: group.into(),
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
        self.short = self
            .account
            .adjust(NOW, Orphans::Known, change.gain, self.short);
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
                self.account.settle(NOW, Orphans::Known, "r", tokens, false);
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
            prop_assert_eq!(world.short, Tokens::ZERO);
        }
        prop_assert_eq!(world.group.as_str(), world.stripe.group());
        let listed = world.payments.entries();
        let sum = |of: fn(&entry::PaymentEntry) -> Tokens| listed.iter().map(of).sum::<Tokens>().count();
        prop_assert_eq!(sum(|entry| entry.tokens), granted + world.trial());
        prop_assert_eq!(sum(|entry| entry.taken_back), back);
        // Once more changes nothing.
        let before = (world.payments.clone(), world.account.clone());
        for event in &events {
            world.hear(event);
        }
        prop_assert_eq!(before, (world.payments, world.account));
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
            tokens: Tokens::new(tokens),
            trial_tokens: Tokens::ZERO,
        };
        payments.take_subscription(
            &SubscriptionNow {
                id: id.into(),
                customer: CUSTOMER.into(),
                standing,
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
        payments.change(HOME).gain
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
