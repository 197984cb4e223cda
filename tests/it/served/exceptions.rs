//! Where the charge may be off, why, and by how much.

use super::ground::Outcome;
use super::pairs::Pair;

/// How far a charge may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Nothing is charged; what was generated is within the hold.
    Free,
    /// So many tokens less than the truth.
    Under(u64),
    /// So many tokens more than the hold.
    Over(u64),
}

#[derive(Debug)]
pub struct Exception {
    pub servers: &'static [&'static str],
    pub turns: &'static [&'static str],
    /// Only of streams, or only of answers that are not.
    pub streams: Option<bool>,
    /// What is odd about the body, where that is what it needs.
    pub odd: Option<&'static str>,
    pub bound: Bound,
    pub why: &'static str,
}

pub const EXCEPTIONS: &[Exception] = &[];

impl Exception {
    pub fn covers(&self, pair: &Pair) -> bool {
        let has = |list: &[&str], word: &str| list.is_empty() || list.contains(&word);
        has(self.servers, pair.server.name)
            && has(self.turns, pair.turn.name)
            && self.streams.is_none_or(|streams| streams == pair.streams)
            && self.odd.is_none_or(|odd| odd == pair.odd)
    }

    fn allows(&self, outcome: &Outcome) -> bool {
        let Outcome { charged, held, .. } = *outcome;
        match self.bound {
            Bound::Free => charged == 0 && outcome.truth() <= held,
            Bound::Under(tokens) => charged + tokens >= outcome.truth() && charged <= held,
            Bound::Over(tokens) => charged >= outcome.truth() && charged <= held + tokens,
        }
    }
}

/// The promise itself.
pub fn is_kept(outcome: &Outcome) -> bool {
    outcome.charged >= outcome.truth() && outcome.charged <= outcome.held
}

pub fn is_allowed(pair: &Pair, outcome: &Outcome) -> bool {
    let mut exceptions = EXCEPTIONS.iter();
    is_kept(outcome) || exceptions.any(|each| each.covers(pair) && each.allows(outcome))
}
