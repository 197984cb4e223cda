//! The release before accounts of people came in, beside the present one, on one Redis.
//!
//! Random histories let the old scripts and the present engine take turns on the same accounts. After each step the
//! answer, the record and every field of the books must be what the one rule says, and the balance must have changed by
//! what the answer says.

mod before;
mod meeting;
mod model;
mod step;
mod turn;
mod world;

use crate::harness::Redis;
use crate::store::contract::runtime;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use resullm::rules::account::Orphans;
use resullm::rules::amount::Tokens;
use resullm::rules::carry::Taken;
use resullm::rules::tenant::TenantId;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use step::{PERSON, START, Step, TEMP, Verb, groups, step};
use turn::{by_before, by_engine, signed};
use world::{Account, Two, accounts};

/// One history: both releases, its accounts, and the answers to [`Verb::Take`] that wait to be delivered.
struct History<'a> {
    two: &'a mut Two,
    accounts: Vec<Account>,
    moves: u64,
    taken: Vec<(Tokens, bool)>,
}

impl History<'_> {
    /// Returns the tokens of a balance by its record's text, which no rule has read.
    fn left(&mut self, at: usize) -> i64 {
        let text = self.two.text(self.accounts[at].name.as_str());
        let last = text.rsplit("\"tokensLeft\":").next().unwrap();
        let digits: String = last.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    fn books(&mut self, at: usize) -> BTreeMap<String, String> {
        let name = self.accounts[at].name.books();
        self.two.hash(&name)
    }

    /// Takes for the person, by the rule too. Returns by how much the balance changes.
    async fn take(&mut self) -> Result<i64, TestCaseError> {
        let (now, most) = (self.two.now(), Tokens::new(self.moves));
        let tenant = TenantId::parse("abc").unwrap();
        let (from, to) = (&self.accounts[TEMP].name, &self.accounts[PERSON].name);
        let taken = self.two.store.take(from, &tenant, to, most).await;
        let taken = taken.unwrap().unwrap();
        let (from, to) = (TEMP, to.as_str().to_owned());
        let entry = &mut self.accounts[from].entry;
        let expected = entry.take(now, Orphans::Known, "abc", &to, most).unwrap();
        prop_assert_eq!(taken, expected);
        let Taken::Took { total, is_over } = taken else {
            return Ok(0);
        };
        let before = self.taken.iter().map(|(total, _)| *total).max();
        self.taken.push((total, is_over));
        Ok(signed(before.unwrap_or_default()) - signed(total))
    }

    async fn receive(&mut self, at: usize) -> Result<i64, TestCaseError> {
        let Some(&(total, is_over)) = self.taken.get(at) else {
            return Ok(0);
        };
        let from = self.accounts[TEMP].name.as_str().to_owned();
        let before = self.books(PERSON)["f:"]
            .split(':')
            .next()
            .unwrap()
            .to_owned();
        let (store, account) = (&self.two.store, &mut self.accounts[PERSON]);
        let received = store.receive(&account.name, &from, total, is_over).await;
        let expected = account
            .entry
            .receive(self.two.now(), &from, total, is_over)
            .unwrap();
        let sum = received.unwrap().unwrap().sum;
        prop_assert_eq!(sum, expected);
        Ok(signed(sum) - before.parse::<i64>().unwrap())
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let at = match step.verb {
            Verb::Wait { millis } => {
                self.two.wait(millis);
                return Ok(());
            }
            Verb::Take => TEMP,
            Verb::Receive { .. } => PERSON,
            _ => step.account,
        };
        let now = self.two.now();
        let keys = self.accounts[at].name.keys();
        let (left, books, rows) = (self.left(at), self.books(at), self.two.hash(&keys));
        let change = match step.verb {
            Verb::Take => self.take().await?,
            Verb::Receive { at } => self.receive(at).await?,
            _ => {
                let account = &mut self.accounts[at];
                let key = match step.verb {
                    Verb::Admit { key, .. } => account.key(key).as_str().to_owned(),
                    _ => String::new(),
                };
                let expected = model::step(&mut account.entry, &key, step, now);
                let answer = match step.is_old {
                    true => by_before(&mut self.two.before, account, step),
                    false => by_engine(&*self.two.store, account, step).await,
                };
                prop_assert_eq!(&answer.text, &expected, "{:?} at {}", step, now.0);
                answer.change
            }
        };
        self.compare(at, step)?;
        if step.is_old {
            prop_assert_eq!(self.two.hash(&keys), rows, "{:?}", step);
        }
        self.conserved(at, step, left, &books, change)
    }

    /// Record and books are those of the rule, field by field.
    fn compare(&mut self, at: usize, step: &Step) -> Result<(), TestCaseError> {
        let stored = self.two.text(self.accounts[at].name.as_str());
        let books = self.books(at);
        let entry = &self.accounts[at].entry;
        prop_assert_eq!(&stored, &entry.record, "{:?}", step);
        prop_assert_eq!(books, model::fields(&entry.books), "{:?}", step);
        Ok(())
    }

    /// The balance has changed by what the answer says, by what expired holds are known to have cost, and by a refill;
    /// and what is held anew was free. This reads Redis alone, and no rule.
    fn conserved(
        &mut self,
        at: usize,
        step: &Step,
        left: i64,
        was: &BTreeMap<String, String>,
        change: i64,
    ) -> Result<(), TestCaseError> {
        let (is, left_now) = (self.books(at), self.left(at));
        let part =
            |text: &str, at: usize| -> i64 { text.split(':').nth(at).unwrap().parse().unwrap() };
        let swept = was.iter().filter(|(name, text)| {
            name.starts_with("h:")
                && !is.contains_key(*name)
                && part(text, 2) <= signed(Tokens::new(self.two.now().0))
        });
        let orphans: i64 = swept.map(|(_, text)| part(text, 1)).sum();
        let mut expected = left - orphans.min(left);
        if was.get("r:") != is.get("r:") && !matches!(step.verb, Verb::Regroup { .. }) {
            prop_assert!(!step.is_old, "{:?} has refilled", step);
            expected = expected.max(90);
        }
        prop_assert_eq!(left_now, expected + change, "{:?}", step);
        let claims = is
            .iter()
            .filter(|(name, _)| name.starts_with("h:") || name.starts_with("l:"));
        let (begun, others): (Vec<_>, Vec<_>) =
            claims.partition(|(name, _)| name.starts_with("h:") && !was.contains_key(*name));
        let sum = |claims: Vec<(&String, &String)>| -> i64 {
            claims.into_iter().map(|(_, text)| part(text, 0)).sum()
        };
        let (begun, free) = (sum(begun), (left_now - sum(others)).max(0));
        prop_assert!(begun <= free, "{:?}: {} of {}", step, begun, free);
        Ok(())
    }

    /// Both releases look at an account and see the same, or what the release before knows of it.
    async fn looked_at(&mut self) -> Result<(), TestCaseError> {
        let (now, orphans) = (self.two.now(), Orphans::Known);
        let tenant = TenantId::parse("abc").unwrap();
        for account in &self.accounts {
            for key in &account.keys {
                let standing = account.entry.standing(now, "abc", key.as_str()).unwrap();
                let found = self.two.store.find(key, &tenant, &groups()).await.unwrap();
                prop_assert_eq!(found.is_some(), standing.is_some());
                if let (Some(found), Some(standing)) = (found, standing) {
                    let limits = groups().limits(&standing.group);
                    prop_assert_eq!(
                        found.look,
                        account.entry.look(now, orphans, limits).unwrap()
                    );
                    prop_assert_eq!(found.standing, standing);
                }
                let seen = model::as_before(&account.entry);
                let known = model::groups_before();
                let (record, group, look) =
                    self.two.before.find(key.as_str(), "abc", &known).done();
                prop_assert_eq!(&record, &seen.record);
                let limits = known.limits(&group);
                prop_assert_eq!(look, seen.look(now, orphans, limits).unwrap());
            }
        }
        Ok(())
    }
}

async fn replay(two: &mut Two, left: u64, moves: u64, steps: &[Step]) -> Result<(), TestCaseError> {
    let accounts = accounts(two, left, moves).await;
    let mut history = History {
        two,
        accounts,
        moves,
        taken: Vec::new(),
    };
    for step in steps {
        history.step(step).await?;
    }
    history.looked_at().await
}

#[test]
fn the_release_before_and_this_one_keep_the_same_books() {
    let redis = Redis::start();
    let runtime = runtime();
    let two = std::cell::RefCell::new(runtime.block_on(Two::on(&redis)));
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let steps = proptest::collection::vec(step(), 1..90);
    let history = (0u64..300, prop_oneof![Just(100u64), 0u64..150], steps);
    runner
        .run(&history, |(left, moves, steps)| {
            let mut two = two.borrow_mut();
            two.clock.store(START, Ordering::SeqCst);
            two.wait(0);
            runtime.block_on(replay(&mut two, left, moves, &steps))
        })
        .unwrap();
}
