//! [`Posting`]: one change of a balance, as an entry of the account's ledger.
//!
//! A posting is made in the very step that changes the balance, so the sum of an account's postings is its balance. A
//! change that another program made is found at the next posting and becomes one of its own. Old postings are folded
//! into [`Sums`], which keep what they amount to.
//! The Redis scripts write the same text; a property test compares them.

use super::amount::{Millis, Tokens};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Postings that are kept whole of an account; older ones are folded into sums of a day.
pub const MAX_WHOLE_POSTINGS: usize = 1_000;
/// Postings that are folded at a time.
pub const POSTINGS_PER_FOLD: usize = 100;
/// Requests of one report that have a posting each; the others share one.
const MAX_REPORT_LINES: usize = 100;
/// Numbers of postings in a millisecond: a number is at least its moment times this, so that an account that begins
/// anew never gives a number again.
const NUMBERS_PER_MILLISECOND: u64 = 1_000;

/// Reason of a [`Posting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The balance that the ledger began with: of a new account, or of one from before it had a ledger.
    Opened,
    /// Another program wrote a balance into the record.
    Outside,
    /// A call was charged.
    Settled,
    /// A hold or a lease expired, and was charged by `accounts.orphans`.
    Expired,
    Refilled,
    /// The balance moved from one account to another.
    Carried,
    Credited,
    Debited,
    /// A payment was worth this.
    Granted,
    /// A refund or a dispute took this back.
    TakenBack,
    /// A refund failed, or a dispute was won.
    GivenBack,
}

/// Change of a balance, `amount` tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Number within the account; later postings have higher ones.
    #[serde(rename = "n")]
    pub number: u64,
    #[serde(rename = "t")]
    pub at: Millis,
    #[serde(rename = "a")]
    pub amount: i64,
    /// Balance after it.
    #[serde(rename = "l")]
    pub left: Tokens,
    #[serde(rename = "r")]
    pub reason: Reason,
    /// Tokens that were used and not covered.
    #[serde(rename = "o", default)]
    pub overrun: Tokens,
    /// ID of what caused it: a request, a credit, a lease, an event.
    #[serde(default)]
    pub id: String,
    /// JSON object with more of the cause; empty: nothing.
    #[serde(rename = "d", default, deserialize_with = "raw")]
    pub note: String,
}

fn raw<'de, D: serde::Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    let value = Box::<RawValue>::deserialize(source)?;
    Ok(value.get().to_owned())
}

impl Posting {
    /// Returns the text in which it is stored, one line of JSON.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{{\"n\":{},\"t\":{},\"a\":{},\"l\":{},\"r\":\"{}\"",
            self.number,
            self.at.0,
            self.amount,
            self.left,
            self.reason.word()
        );
        // Writing to a `String` cannot fail.
        if !self.overrun.is_zero() {
            let _ = write!(text, ",\"o\":{}", self.overrun);
        }
        if !self.id.is_empty() {
            let _ = write!(text, ",\"id\":\"{}\"", escaped(&self.id));
        }
        if !self.note.is_empty() {
            let _ = write!(text, ",\"d\":{}", self.note);
        }
        text.push('}');
        text
    }

    pub fn parse(text: &str) -> Option<Posting> {
        serde_json::from_str(text).ok()
    }
}

/// Escapes what JSON needs escaped, byte by byte as the scripts do.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' | '\0'..='\x1f' | '\x7f' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Reason::Opened => "opened",
            Reason::Outside => "outside",
            Reason::Settled => "settled",
            Reason::Expired => "expired",
            Reason::Refilled => "refilled",
            Reason::Carried => "carried",
            Reason::Credited => "credited",
            Reason::Debited => "debited",
            Reason::Granted => "granted",
            Reason::TakenBack => "takenBack",
            Reason::GivenBack => "givenBack",
        }
    }

    /// Parses [`Reason::word`].
    pub fn parse(word: &str) -> Option<Reason> {
        serde_json::from_value(word.into()).ok()
    }
}

/// Cause of a change: its reason, the ID of what caused it, and a JSON object with more (empty: nothing).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'a> {
    pub reason: Reason,
    pub id: &'a str,
    pub note: &'a str,
}

impl<'a> Cause<'a> {
    pub(crate) fn of(reason: Reason, id: &'a str) -> Cause<'a> {
        Cause {
            reason,
            id,
            note: "",
        }
    }
}

/// Latest posting of an account, kept in its books: its number, and the balance after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub number: u64,
    pub balance: Tokens,
}

/// Returns what `after` is more than `before`.
pub(crate) fn difference(after: Tokens, before: Tokens) -> i64 {
    // Both are below 2^53.
    let signed = |tokens: Tokens| i64::try_from(tokens.count()).unwrap_or(i64::MAX);
    signed(after) - signed(before)
}

/// Adds the posting of a change from `before` to `after`, and before it that of what the ledger does not know of:
/// the balance that an account began with, or what another program wrote. Nothing is added where nothing changed.
pub(crate) fn post(
    tally: &mut Option<Tally>,
    postings: &mut Vec<Posting>,
    now: Millis,
    (before, after, overrun): (Tokens, Tokens, Tokens),
    cause: Cause<'_>,
) {
    if before == after && overrun.is_zero() {
        return;
    }
    let mut add = |tally: &mut Option<Tally>,
                   amount: i64,
                   left: Tokens,
                   overrun: Tokens,
                   cause: Cause<'_>| {
        let next = tally.map_or(0, |tally| tally.number + 1);
        let number = next.max(now.0.saturating_mul(NUMBERS_PER_MILLISECOND));
        postings.push(Posting {
            number,
            at: now,
            amount,
            left,
            reason: cause.reason,
            overrun,
            id: cause.id.to_owned(),
            note: cause.note.to_owned(),
        });
        *tally = Some(Tally {
            number,
            balance: left,
        });
    };
    match *tally {
        None => {
            let amount = difference(before, Tokens::ZERO);
            add(
                tally,
                amount,
                before,
                Tokens::ZERO,
                Cause::of(Reason::Opened, ""),
            );
        }
        Some(Tally { balance, .. }) if balance != before => {
            let amount = difference(before, balance);
            add(
                tally,
                amount,
                before,
                Tokens::ZERO,
                Cause::of(Reason::Outside, ""),
            );
        }
        Some(_) => {}
    }
    add(tally, difference(after, before), after, overrun, cause);
}

/// Part of a report: what one request, or several, have spent of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// ID of the request; empty: several.
    pub id: String,
    pub cost: Tokens,
    pub note: String,
}

/// Requests settled against a lease budget since its last report, in bounded number.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportLines {
    lines: Vec<ReportLine>,
    /// Number and cost of the requests beyond [`MAX_REPORT_LINES`].
    more: (u64, Tokens),
}

impl ReportLines {
    pub(crate) fn add(&mut self, id: &str, cost: Tokens, note: &str) {
        if cost.is_zero() {
            return;
        }
        if self.lines.len() < MAX_REPORT_LINES {
            self.lines.push(ReportLine {
                id: id.to_owned(),
                cost,
                note: note.to_owned(),
            });
        } else {
            self.more = (self.more.0 + 1, self.more.1.plus(cost));
        }
    }

    /// Returns the lines of a report, and begins with none again.
    pub(crate) fn take(&mut self) -> Vec<ReportLine> {
        let ReportLines { mut lines, more } = std::mem::take(self);
        let (requests, cost) = more;
        if requests > 0 {
            lines.push(ReportLine {
                id: String::new(),
                cost,
                note: format!("{{\"requests\":{requests}}}"),
            });
        }
        lines
    }
}

/// Sum of the postings of a day with one [`Reason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub count: u64,
    pub amount: i64,
}

/// What was folded of an account's postings: by day since 1970 and reason. Day 0 has what is older than its retention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(pub BTreeMap<(u64, Reason), Sum>);

impl Sums {
    /// Adds a posting that is no longer kept whole. One that opens a ledger begins the sums anew: what is older belongs
    /// to an account that is no more.
    pub fn fold(&mut self, posting: &Posting) {
        if posting.reason == Reason::Opened {
            self.0.clear();
        }
        let day = posting.at.0 / Millis::DAY.0;
        self.add(day, posting.reason, 1, posting.amount);
    }

    fn add(&mut self, day: u64, reason: Reason, count: u64, amount: i64) {
        let sum = self.0.entry((day, reason)).or_default();
        sum.count += count;
        sum.amount = sum.amount.saturating_add(amount);
    }

    /// Folds the sums of days before `oldest` into day 0.
    pub fn forget_days_before(&mut self, oldest: u64) {
        let days: Vec<(u64, Reason)> = self.0.keys().copied().collect();
        for (day, reason) in days
            .into_iter()
            .filter(|(day, _)| (1..oldest).contains(day))
        {
            if let Some(sum) = self.0.remove(&(day, reason)) {
                self.add(0, reason, sum.count, sum.amount);
            }
        }
    }

    pub fn amount(&self) -> i64 {
        self.0.values().map(|sum| sum.amount).sum()
    }
}

/// Statement of an account's ledger: its balance, its latest postings, newest first, and what was folded of older ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    pub left: Tokens,
    pub postings: Vec<Posting>,
    pub sums: Sums,
}

impl Statement {
    /// Makes a page of it from what is stored. `whole`: all postings that are kept whole, the oldest first.
    /// What the ledger does not know yet is shown as it will be posted.
    pub fn page(
        (left, tally): (Tokens, Option<Tally>),
        whole: Vec<Posting>,
        mut sums: Sums,
        now: Millis,
        (before, most): (Option<u64>, usize),
    ) -> Statement {
        let newest = tally.map_or(0, |tally| tally.number);
        let mut postings: Vec<Posting> = whole
            .into_iter()
            .filter(|posting| posting.number <= newest)
            .collect();
        if let Some(at) = postings
            .iter()
            .rposition(|one| one.reason == Reason::Opened)
        {
            postings.drain(..at);
            sums = Sums::default();
        }
        let mut unposted = Vec::new();
        let known = tally.map_or(Tokens::ZERO, |tally| tally.balance);
        if tally.is_none() || known != left {
            let reason = match tally {
                None => Reason::Opened,
                Some(_) => Reason::Outside,
            };
            unposted.push(Posting {
                number: (newest + 1).max(now.0.saturating_mul(NUMBERS_PER_MILLISECOND)),
                at: now,
                amount: difference(left, known),
                left,
                reason,
                overrun: Tokens::ZERO,
                id: String::new(),
                note: String::new(),
            });
        }
        postings.extend(unposted);
        let is_asked = |posting: &Posting| before.is_none_or(|before| posting.number < before);
        Statement {
            left,
            postings: postings
                .into_iter()
                .rev()
                .filter(is_asked)
                .take(most)
                .collect(),
            sums,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn posting(day: u64, reason: Reason, amount: i64) -> Posting {
        Posting {
            number: day * 10,
            at: Millis(day * Millis::DAY.0 + 5),
            amount,
            left: Tokens::ZERO,
            reason,
            overrun: Tokens::ZERO,
            id: String::new(),
            note: String::new(),
        }
    }

    #[test]
    fn a_change_of_another_program_is_a_posting_of_its_own() {
        let (mut tally, mut postings) = (None, Vec::new());
        let spent = Cause::of(Reason::Settled, "r1");
        let tokens = Tokens::new;

        let changes = (tokens(100), tokens(90), Tokens::ZERO);
        post(&mut tally, &mut postings, Millis(7), changes, spent);
        let changes = (tokens(500), tokens(490), Tokens::ZERO);
        post(&mut tally, &mut postings, Millis(7), changes, spent);

        let told: Vec<(Reason, i64, u64)> = postings
            .iter()
            .map(|one| (one.reason, one.amount, one.left.count()))
            .collect();
        let (opened, outside, settled) = (Reason::Opened, Reason::Outside, Reason::Settled);
        let expected = [
            (opened, 100, 100),
            (settled, -10, 90),
            (outside, 410, 500),
            (settled, -10, 490),
        ];
        assert_eq!(told, expected);
        let sum: i64 = postings.iter().map(|one| one.amount).sum();
        assert_eq!(sum, 490);
        assert!(postings.is_sorted_by(|one, next| one.number < next.number));
    }

    #[test]
    fn what_is_folded_keeps_its_sum_and_what_opens_a_ledger_begins_it_anew() {
        let mut sums = Sums::default();
        sums.fold(&posting(3, Reason::Credited, 1_000));
        for (day, reason, amount) in [
            (8, Reason::Opened, 100),
            (8, Reason::Settled, -5),
            (8, Reason::Settled, -7),
            (9, Reason::Settled, -1),
        ] {
            sums.fold(&posting(day, reason, amount));
        }
        assert_eq!(sums.amount(), 87);

        sums.forget_days_before(9);

        assert_eq!(sums.amount(), 87);
        let sum = |count, amount| Sum { count, amount };
        let expected = BTreeMap::from([
            ((0, Reason::Opened), sum(1, 100)),
            ((0, Reason::Settled), sum(2, -12)),
            ((9, Reason::Settled), sum(1, -1)),
        ]);
        assert_eq!(sums.0, expected);
    }

    #[test]
    fn a_page_shows_what_is_not_posted_yet_and_nothing_of_an_account_before() {
        let tokens = Tokens::new;
        let mut whole = vec![
            posting(1, Reason::Credited, 50),
            posting(2, Reason::Opened, 100),
            posting(3, Reason::Settled, -40),
            posting(4, Reason::Settled, -40),
        ];
        whole[3].number = 1_000_000;
        let tally = Tally {
            number: 30,
            balance: tokens(60),
        };
        let mut sums = Sums::default();
        sums.fold(&posting(1, Reason::Settled, -9));

        let page = Statement::page(
            (tokens(75), Some(tally)),
            whole,
            sums,
            Millis(1),
            (None, 10),
        );

        let told: Vec<i64> = page.postings.iter().map(|one| one.amount).collect();
        assert_eq!(told, [15, -40, 100]);
        assert_eq!(page.sums.amount() + told.iter().sum::<i64>(), 75);
    }

    proptest! {
        #[test]
        fn a_posting_is_read_as_it_was_written(
            id in any::<String>(), amount in any::<i32>(), overrun in 0u64..9, has_note: bool,
        ) {
            let note = if has_note { r#"{"model":"a b","tokensIn":3}"# } else { "" };
            let posting = Posting {
                amount: amount.into(),
                overrun: Tokens::new(overrun),
                id,
                note: note.to_owned(),
                ..posting(5, Reason::TakenBack, 0)
            };
            prop_assert_eq!(Posting::parse(&posting.text()), Some(posting));
        }
    }
}
