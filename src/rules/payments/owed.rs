//! [`Payments`]: the paid objects of an account, and what follows from them.

use super::entry::{PaymentEntry, PaymentKind};
use super::facts::{PaidInvoice, PaidTopUp, SubscriptionNow, SubscriptionStanding, ToldBy};
use super::invoices;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::record::Damage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most objects that are kept for an account. With more of them it buys nothing further, and nothing more is noted.
const MAX_OBJECTS: usize = 2_000;

/// Payments of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payments {
    /// Drawn at random with the account's first purchase, and part of everything that is bought for it. Objects of an
    /// account that was deleted since have another one.
    pub id: String,
    /// Stripe's customers of this account, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    customers: Vec<String>,
    /// Group before the first subscription that lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Subscriptions that give a group, by their IDs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    subscriptions: BTreeMap<String, LiveSubscription>,
    /// Top-ups by their sessions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    top_ups: BTreeMap<String, TopUp>,
    /// Paid invoices by customer, in order of creation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    invoices: BTreeMap<String, CustomerInvoices>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trial: Option<Trial>,
    /// What went back of each payment intent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reversals: BTreeMap<String, Reversal>,
    /// Tokens of all this that the balance has had.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    granted: Tokens,
    /// Tokens of these that were taken back.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    taken_back: Tokens,
    /// The latest checkout of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkout: Option<Checkout>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LiveSubscription {
    group: String,
    tokens: Tokens,
    customer: String,
    price: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TopUp {
    item: String,
    tokens: Tokens,
    amount: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intent: Option<String>,
    event: String,
    at: Millis,
}

/// Paid invoices of one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CustomerInvoices {
    rows: Vec<InvoiceRow>,
    /// Highest sum that they ever had. An invoice that is paid late, or whose price is known late, never lowers it.
    highest: Tokens,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct InvoiceRow {
    id: String,
    created: u64,
    /// Worth when the invoice was first seen with prices that are all known: later changes of the config do not alter
    /// it.
    worth: i64,
    /// Whether a line has a price that is in no group, so that it is looked at again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_open: bool,
    total: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    intents: Vec<String>,
    event: String,
    at: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Trial {
    subscription: String,
    tokens: Tokens,
    event: String,
    at: Millis,
}

/// Money that went back, in the currency's smallest unit. Disputes have 0 once their funds are reinstated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reversal {
    #[serde(default)]
    refunded: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    disputes: BTreeMap<String, u64>,
}

/// Checkout session of a plan that may still be open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    pub session: String,
    /// Idempotency key that it was made with: the same purchase within the same minute is the same session.
    pub key: String,
}

/// Effect of new facts on the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentChange {
    /// Tokens that the balance gains.
    pub gain: Tokens,
    /// Tokens that are taken back in all: before, and after it.
    pub back: (Tokens, Tokens),
    /// Group that the account moves to.
    pub group: Option<String>,
}

impl Payments {
    /// Begins the payments of an account.
    pub fn new(id: String) -> Payments {
        Payments {
            id,
            ..Payments::default()
        }
    }

    pub fn read(text: &str) -> Result<Payments, Damage> {
        serde_json::from_str(text).map_err(|_| Damage::NotAnObject)
    }

    /// Returns the text that is stored.
    pub fn text(&self) -> String {
        // No map of it has keys that are no texts.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the customer of a subscription that lives, or else the latest one.
    pub fn customer(&self) -> Option<&str> {
        let live = self.subscriptions.values().next_back();
        let of_live = live.map(|live| live.customer.as_str());
        of_live.or(self.customers.last().map(String::as_str))
    }

    /// Returns all customers.
    pub fn customers(&self) -> &[String] {
        &self.customers
    }

    pub fn checkout(&self) -> Option<&Checkout> {
        self.checkout.as_ref()
    }

    /// Returns the subscriptions that live.
    pub fn live_subscriptions(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.keys().map(String::as_str)
    }

    /// Whether the account has had its trial.
    pub fn has_had_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether the funds of a payment were withdrawn in a dispute: the account buys nothing more.
    pub fn is_blocked(&self) -> bool {
        let disputes = self
            .reversals
            .values()
            .flat_map(|back| back.disputes.values());
        disputes.into_iter().any(|withdrawn| *withdrawn > 0)
    }

    /// Whether the account has as many objects as are kept.
    pub fn is_full(&self) -> bool {
        let invoices: usize = self.invoices.values().map(|all| all.rows.len()).sum();
        self.top_ups.len() + invoices + self.reversals.len() >= MAX_OBJECTS
    }

    pub fn open_checkout(&mut self, checkout: Checkout) {
        self.checkout = Some(checkout);
    }

    /// Notes a customer of the account.
    pub fn link(&mut self, customer: &str) {
        if !self.customers.iter().any(|known| known == customer) {
            self.customers.push(customer.to_owned());
        }
    }

    /// Notes a top-up, once a session.
    pub fn top_up(&mut self, paid: PaidTopUp) {
        if self.is_full() {
            return;
        }
        self.top_ups.entry(paid.session).or_insert(TopUp {
            item: paid.item,
            tokens: paid.tokens,
            amount: paid.amount,
            intent: paid.intent,
            event: paid.told.event,
            at: paid.told.at,
        });
    }

    /// Notes all paid invoices of a customer, from the oldest to the newest.
    pub fn take_invoices(&mut self, customer: &str, listed: &[PaidInvoice], told: &ToldBy) {
        self.link(customer);
        let before = self.invoices.remove(customer).unwrap_or_default();
        let mut known = before.rows;
        let mut rows: Vec<InvoiceRow> = Vec::new();
        for paid in listed {
            if rows.iter().any(|row| row.id == paid.id) {
                continue;
            }
            let at = known.iter().position(|row| row.id == paid.id);
            let row = at.map(|at| known.remove(at));
            rows.push(InvoiceRow::seen(row, paid, told));
        }
        // A paid invoice stays paid: one that is not listed was listed when it was noted.
        for row in known {
            let at = rows.partition_point(|other| other.created <= row.created);
            rows.insert(at, row);
        }
        if !rows.is_empty() {
            let highest = invoices::highest(rows.iter().map(|row| row.worth));
            let highest = highest.max(before.highest);
            let all = CustomerInvoices { rows, highest };
            self.invoices.insert(customer.to_owned(), all);
        }
    }

    /// Notes how a subscription stands now.
    pub fn take_subscription(&mut self, now: &SubscriptionNow, told: &ToldBy) {
        self.link(&now.customer);
        let Some(plan) = now.plan.as_ref().filter(|_| now.standing.gives_group()) else {
            let known = self.subscriptions.get(&now.id);
            // A price that has left the config keeps its group; another price that is in none does not.
            let is_same = known.is_some_and(|known| now.prices.contains(&known.price));
            if !now.standing.gives_group() || !is_same {
                self.subscriptions.remove(&now.id);
            }
            return;
        };
        if now.standing == SubscriptionStanding::Trial && self.trial.is_none() {
            self.trial = Some(Trial {
                subscription: now.id.clone(),
                tokens: plan.trial_tokens,
                event: told.event.clone(),
                at: told.at,
            });
        }
        let live = LiveSubscription {
            group: plan.group.clone(),
            tokens: plan.tokens,
            customer: now.customer.clone(),
            price: plan.price.clone(),
        };
        self.subscriptions.insert(now.id.clone(), live);
    }

    /// Returns the payment intents of an invoice that are noted. `None`: it is not noted, or without any.
    pub fn intents_of(&self, invoice: &str) -> Option<&[String]> {
        let rows = self.invoices.values().flat_map(|all| &all.rows);
        let row = rows.into_iter().find(|row| row.id == invoice)?;
        Some(row.intents.as_slice()).filter(|intents| !intents.is_empty())
    }

    /// Notes what was refunded of a payment intent, in all.
    pub fn take_refunds(&mut self, intent: &str, refunded: u64) {
        if refunded > 0 || self.reversals.contains_key(intent) {
            self.reversals
                .entry(intent.to_owned())
                .or_default()
                .refunded = refunded;
        }
    }

    /// Notes what a dispute has withdrawn; 0: nothing, or it was reinstated.
    pub fn take_dispute(&mut self, intent: &str, dispute: &str, withdrawn: u64) {
        if (withdrawn > 0 && !self.is_full()) || self.reversals.contains_key(intent) {
            let reversal = self.reversals.entry(intent.to_owned()).or_default();
            reversal.disputes.insert(dispute.to_owned(), withdrawn);
        }
    }

    /// Returns what the facts that were noted since do to an account of this group, and counts it as done.
    pub fn change(&mut self, group: &str) -> PaymentChange {
        let entries = self.entries();
        let granted: Tokens = entries.iter().map(|entry| entry.tokens).sum();
        let taken_back: Tokens = entries.iter().map(|entry| entry.taken_back).sum();
        let gain = granted.minus(self.granted);
        let back = (self.taken_back, taken_back);
        self.granted = granted.max(self.granted);
        self.taken_back = taken_back;
        PaymentChange {
            gain,
            back,
            group: self.next_group(group),
        }
    }

    /// Returns the group that the account moves to; `None`: it stays.
    fn next_group(&mut self, present: &str) -> Option<String> {
        let live = self.subscriptions.iter();
        let best = live.max_by_key(|(id, live)| (live.tokens, *id));
        let next = match best {
            Some((_, best)) => {
                let best = best.group.clone();
                self.origin.get_or_insert_with(|| present.to_owned());
                best
            }
            None => self.origin.take()?,
        };
        (next != present).then_some(next)
    }

    /// Returns all payments with what each grants and why, from the oldest to the newest.
    pub fn entries(&self) -> Vec<PaymentEntry> {
        let mut entries: Vec<PaymentEntry> = Vec::new();
        for (session, top_up) in &self.top_ups {
            let intents = top_up.intent.as_slice();
            entries.push(PaymentEntry {
                kind: PaymentKind::TopUp,
                object: session.clone(),
                at: top_up.at,
                event: top_up.event.clone(),
                tokens: top_up.tokens,
                taken_back: self.taken_back(top_up.tokens, top_up.amount, intents),
                why: format!("top-up {}, as priced at its checkout", top_up.item),
            });
        }
        for (customer, all) in &self.invoices {
            self.add_invoices(customer, all, &mut entries);
        }
        if let Some(trial) = &self.trial {
            entries.push(PaymentEntry {
                kind: PaymentKind::Trial,
                object: trial.subscription.clone(),
                at: trial.at,
                event: trial.event.clone(),
                tokens: trial.tokens,
                taken_back: Tokens::ZERO,
                why: "trial, once an account".to_owned(),
            });
        }
        entries.sort_by(|one, other| (one.at, &one.object).cmp(&(other.at, &other.object)));
        entries
    }

    fn add_invoices(
        &self,
        customer: &str,
        all: &CustomerInvoices,
        entries: &mut Vec<PaymentEntry>,
    ) {
        let mut added = invoices::contributions(all.rows.iter().map(|row| row.worth));
        let counted: Tokens = added.iter().copied().sum();
        if let Some(last) = added.iter_mut().rfind(|tokens| !tokens.is_zero()) {
            *last = last.plus(all.highest.minus(counted));
        }
        // What went back lowers the sum, from its payment on.
        let reversed = |row: &InvoiceRow| {
            let worth = Tokens::new(row.worth.max(0).unsigned_abs());
            self.taken_back(worth, row.total, &row.intents)
        };
        let net = all.rows.iter().map(|row| {
            let reversed = i64::try_from(reversed(row).count()).unwrap_or(i64::MAX);
            row.worth.saturating_sub(reversed)
        });
        let mut back = counted.minus(invoices::highest(net));
        let mut sum = 0i64;
        for (row, tokens) in all.rows.iter().zip(added) {
            sum = sum.saturating_add(row.worth);
            let taken_back = reversed(row).min(back);
            back = back.minus(taken_back);
            let worth = row.worth;
            let open = match row.is_open {
                true => "; a line has a price that is in no group",
                false => "",
            };
            let why = format!(
                "worth {worth} tokens; the invoices of {customer} sum to {sum} up to this one{open}"
            );
            entries.push(PaymentEntry {
                kind: PaymentKind::Invoice,
                object: row.id.clone(),
                at: row.at,
                event: row.event.clone(),
                tokens,
                taken_back,
                why,
            });
        }
    }

    /// Returns the share of a grant that went back with its payment: `tokens x reversed / amount`, rounded down.
    fn taken_back(&self, tokens: Tokens, amount: u64, intents: &[String]) -> Tokens {
        let reversals = intents
            .iter()
            .filter_map(|intent| self.reversals.get(intent));
        let reversed = reversals.fold(0u64, |sum, reversal| sum.saturating_add(reversal.sum()));
        if reversed == 0 {
            return Tokens::ZERO;
        }
        let amount = u128::from(amount.max(1));
        let share = u128::from(tokens.count()) * u128::from(reversed).min(amount) / amount;
        Tokens::new(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

impl Reversal {
    fn sum(&self) -> u64 {
        let disputes = self.disputes.values();
        disputes.fold(self.refunded, |sum, withdrawn| {
            sum.saturating_add(*withdrawn)
        })
    }
}

impl InvoiceRow {
    /// Returns the row of an invoice that is listed now.
    fn seen(before: Option<InvoiceRow>, paid: &PaidInvoice, told: &ToldBy) -> InvoiceRow {
        let known = before.as_ref().filter(|row| !row.is_open);
        let (worth, is_open) = match known {
            Some(row) => (row.worth, false),
            None => {
                let worth = invoices::worth(paid);
                (worth.tokens, !worth.is_whole)
            }
        };
        let (event, at) = match before {
            Some(row) => (row.event, row.at),
            None => (told.event.clone(), told.at),
        };
        InvoiceRow {
            id: paid.id.clone(),
            created: paid.created_seconds,
            worth,
            is_open,
            total: paid.total,
            intents: paid.intents.clone(),
            event,
            at,
        }
    }
}
