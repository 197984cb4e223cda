//! Readings of forwarded bodies by Go, Python, Node, python-multipart, Starlette and busboy.
//!
//! Bodies are random; `READERS_SEED` with the printed number repeats a failure. A refused body is skipped. An
//! accepted one is given to every reader as forwarded, and must not mean more to any of them than is charged.

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

/// Default seed.
const SEED: u64 = 1;

/// Bodies per round of questions to the readers.
const ROUND: u64 = 2_000;

/// Maximum number of breaches that are printed.
const TOLD: usize = 40;

fn seed() -> u64 {
    let given = std::env::var("READERS_SEED").ok();
    given.map_or(SEED, |text| text.parse().expect("a number in READERS_SEED"))
}

/// Content type and body for a seed.
fn drawn(kind: Kind, dice: &mut Dice) -> (String, Vec<u8>) {
    if kind.is_form() {
        forms::form(kind.path, dice)
    } else {
        ("application/json".to_owned(), bodies::body(kind.path, dice))
    }
}

/// A random entry of a list.
fn pick<'l, T: ?Sized>(list: &[&'l T], dice: &mut Dice) -> &'l T {
    list[dice.throw(list.len())]
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    /// Number of readings.
    read: u64,
    /// First breach of each kind.
    breaches: BTreeMap<String, String>,
}

/// Kind of a breach: its text without numbers.
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

/// Runs `count` bodies of a call, starting at the seed.
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

/// Runs every call of a list and returns the figure.
fn play_all(kinds: &[Kind], count: u64) -> String {
    let mut readers = Readers::start();
    let mut figure = String::new();
    let mut breaches: Vec<String> = Vec::new();
    for kind in kinds {
        let tally = play(*kind, count, &mut readers);
        let (accepted, refused, path) = (tally.accepted, tally.refused, kind.path);
        // A generator whose bodies are all refused proves nothing.
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
fn json_bodies_mean_no_more_to_any_reader_than_is_charged() {
    case("bodies in JSON: to Go, Python, pydantic, Node", || {
        play_all(JSON, many(2_000, 200_000))
    });
}

#[test]
fn forms_mean_no_more_to_any_reader_than_is_charged() {
    case(
        "forms: to Go, python-multipart, Starlette, email, busboy, Node",
        || play_all(FORMS, many(3_000, 100_000)),
    );
}

#[test]
fn bodies_judged_in_memory_equal_those_on_the_wire() {
    case("bodies and forms: the same through the gateway", || {
        let kinds = [JSON, FORMS].concat();
        let reached = wire::compare_all(&kinds, many(30, 500));
        format!("{reached} reached the provider, each as it was judged")
    });
}
