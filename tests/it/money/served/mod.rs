//! Served equals charged, for every server and every client.
//!
//! Stand-ins that behave like real servers, times clients that read or disconnect anywhere, times the stores:
//! the charge is never below the generated tokens and never above the hold.

mod answers;
mod attacked;
mod choices;
mod content;
mod exceptions;
mod flow;
mod ground;
mod known;
mod loose;
mod members;
mod obeys;
mod once;
mod pairs;
mod servers;
mod translated;
mod turns;
mod typed;

use crate::harness::{Redis, Setup};
use exceptions::{EXCEPTIONS, is_allowed, is_kept};
use ground::Outcome;
use pairs::Pair;
use std::collections::BTreeSet;
use std::fmt::Write;

fn judge(outcomes: &[(Pair, Outcome)]) {
    let mut breaches = String::new();
    let broken = outcomes
        .iter()
        .filter(|(pair, outcome)| !is_allowed(pair, outcome));
    for (pair, outcome) in broken {
        let _ = writeln!(
            breaches,
            "{} in {} | {} | {:?} | streams {} | {} | {outcome:?}",
            pair.server.name,
            pair.asks.path(),
            pair.turn.name,
            pair.client,
            pair.streams,
            pair.odd
        );
    }
    assert!(breaches.is_empty(), "{} pairs:\n{breaches}", outcomes.len());
}

/// Asserts that every exception is needed by all the servers, APIs of clients and turns it names.
fn need(outcomes: &[(Pair, Outcome)]) {
    for exception in EXCEPTIONS {
        let covered = outcomes.iter().filter(|(pair, _)| exception.covers(pair));
        let (mut all, mut needy) = (BTreeSet::new(), BTreeSet::new());
        for (pair, outcome) in covered {
            let of = (pair.server.name, pair.asks.path(), pair.turn.name);
            all.insert(of);
            if !is_kept(outcome) {
                needy.insert(of);
            }
        }
        let idle: Vec<_> = all.difference(&needy).collect();
        assert!(
            !all.is_empty() && idle.is_empty(),
            "{}: {idle:?}",
            exception.why
        );
    }
}

fn all() -> Vec<Pair> {
    [
        pairs::product(),
        pairs::members(),
        pairs::inside(),
        pairs::spellings(),
        pairs::spellings_of_content(),
        translated::product(),
        translated::members(),
        translated::spellings(),
        translated::refused(),
        translated::inside(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn served_equals_charged_on_disk() {
    let outcomes = ground::play(Setup::new(), false, all());
    judge(&outcomes);
    need(&outcomes);
}

/// With answers kept: a kept answer must not change what the first costs, nor whether the provider is read to its end.
#[test]
fn served_equals_charged_in_redis_with_answers_kept() {
    let redis = Redis::start();
    let outcomes = ground::play(Setup::new().store(&redis.url()), true, all());
    judge(&outcomes);
    need(&outcomes);
}
