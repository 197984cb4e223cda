//! What others read in the bodies that the gateway forwards: Go, Python, Node, python-multipart, Starlette, busboy.
//!
//! Bodies are drawn from a number, so that a failure can be played again: `READERS_SEED` and what the failure
//! says. A body that the gateway refuses says nothing; one that it accepts is given to every reader as it
//! leaves, and must not mean more to any of them than is charged for.

mod bodies;
mod children;
mod forms;
mod forwarding;
mod judge;
mod wire;

use crate::faults::{case, many};
use crate::fuzz::Dice;
use children::Readers;
use forwarding::{FORMS, Forwarded, JSON, Kind, Way};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The first number where none is given.
const SEED: u64 = 1;

/// Bodies that are drawn before the readers are asked about them.
const ROUND: u64 = 2_000;

/// Breaches that are told in full.
const TOLD: usize = 40;

fn seed() -> u64 {
    let given = std::env::var("READERS_SEED").ok();
    given.map_or(SEED, |text| text.parse().expect("a number in READERS_SEED"))
}

/// The content type and the body of a number.
fn drawn(kind: Kind, dice: &mut Dice) -> (String, Vec<u8>) {
    if kind.is_form() {
        forms::form(kind.path, dice)
    } else {
        ("application/json".to_owned(), bodies::body(kind.path, dice))
    }
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    /// Answers of readers that took the body.
    read: u64,
    /// The first of each sort.
    breaches: BTreeMap<String, String>,
}

/// Breaches that differ in their numbers alone are of one sort.
fn sort(path: &str, by: &Value, why: &str) -> String {
    let words: String = why.chars().filter(|sign| !sign.is_numeric()).collect();
    format!("{path} {by} {words}")
}

impl Tally {
    fn judge(&mut self, numbers: &[u64], forwarded: &[Forwarded], readers: &mut Readers) {
        let sent: Vec<_> = forwarded.iter().map(|each| each.sent.clone()).collect();
        let answers = readers.ask(&sent);
        for ((forwarded, answers), number) in forwarded.iter().zip(answers).zip(numbers) {
            for said in answers {
                self.read += u64::from(said["refused"].is_null());
                if let Some(why) = judge::breach(forwarded, &said) {
                    let path = forwarded.kind.path;
                    let sort = sort(path, &said["by"], &why);
                    let bytes = forwarded.sent.bytes.escape_ascii();
                    let content_type = forwarded.sent.content_type.escape_ascii();
                    let by = &said["by"];
                    self.breaches.entry(sort).or_insert_with(|| {
                        format!("{path}, READERS_SEED={number}: to {by} {why}\n  {content_type}\n  {bytes}")
                    });
                }
            }
        }
    }
}

/// So many bodies of a kind, from the seed on.
fn play(kind: Kind, count: u64, readers: &mut Readers) -> Tally {
    let ways = Way::all(kind);
    let mut tally = Tally::default();
    let first = seed();
    let (mut numbers, mut forwarded) = (Vec::new(), Vec::new());
    for number in first..first + count {
        let mut dice = Dice::new(number);
        let (content_type, bytes) = drawn(kind, &mut dice);
        match Way::any(&ways, &mut dice).forward(&content_type, &bytes) {
            Ok(each) => {
                numbers.push(number);
                forwarded.push(each);
            }
            Err(_) => tally.refused += 1,
        }
        if forwarded.len() as u64 == ROUND {
            tally.accepted += ROUND;
            tally.judge(&numbers, &forwarded, readers);
            (numbers, forwarded) = (Vec::new(), Vec::new());
        }
    }
    tally.accepted += forwarded.len() as u64;
    tally.judge(&numbers, &forwarded, readers);
    tally
}

/// Every kind of a list; the figure says what came of it.
fn play_all(kinds: &[Kind], count: u64) -> String {
    let mut readers = Readers::start();
    let mut figure = String::new();
    let mut breaches: Vec<String> = Vec::new();
    for kind in kinds {
        let tally = play(*kind, count, &mut readers);
        let (accepted, refused, path) = (tally.accepted, tally.refused, kind.path);
        // A generator whose bodies are all refused shows nothing.
        assert!(accepted > count / 10, "{path}: {accepted} of {count}");
        assert!(
            tally.read > accepted,
            "{path}: {} for {accepted}",
            tally.read
        );
        let separator = if figure.is_empty() { "" } else { ", " };
        let _ = write!(
            figure,
            "{separator}{path} {accepted} accepted {refused} refused"
        );
        breaches.extend(tally.breaches.into_values());
    }
    assert!(
        breaches.is_empty(),
        "{} sorts of breaches:\n{}",
        breaches.len(),
        breaches[..breaches.len().min(TOLD)].join("\n")
    );
    figure
}

#[test]
fn no_reader_finds_more_in_a_json_body_than_is_charged_for() {
    case("bodies in JSON: to Go, Python, pydantic, Node", || {
        play_all(JSON, many(2_000, 200_000))
    });
}

#[test]
fn no_reader_finds_more_in_a_form_than_is_charged_for() {
    case(
        "forms: to Go, python-multipart, Starlette, email, busboy, Node",
        || play_all(FORMS, many(3_000, 100_000)),
    );
}

#[test]
fn what_is_judged_without_a_socket_is_what_leaves_through_one() {
    case("bodies and forms: the same through the gateway", || {
        let kinds = [JSON, FORMS].concat();
        let reached = wire::compare_all(&kinds, many(30, 500));
        format!("{reached} reached the provider, each as it was judged")
    });
}
