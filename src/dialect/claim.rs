//! Reads what a provider reports as usage, member by member.
//!
//! Servers write counts as floats, as strings, twice, or beside members of the wrong kind; one odd
//! member must never hide the others. Of a member that is written twice the greater counts.

use super::call::Usage;
use crate::json::Value;
use crate::rules::amount::Tokens;
use crate::rules::charge::{Claim, MOST_CREDIBLE_TOKENS};

/// Counts as they were written, before anyone knows how they belong together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count(pub Option<u64>);

impl Count {
    /// Takes one more spelling of the same count. The greater counts, unless no call can have so many.
    pub fn take(&mut self, written: Option<u64>) {
        let is_absurd = |count: u64| count > MOST_CREDIBLE_TOKENS;
        self.0 = match (self.0, written) {
            (Some(one), Some(other)) if is_absurd(one) != is_absurd(other) => Some(one.min(other)),
            (one, other) => one.max(other),
        };
    }

    /// The count as a help to understand another: none where no call can have so many.
    pub fn credible(self) -> Count {
        Count(self.0.filter(|count| *count <= MOST_CREDIBLE_TOKENS))
    }

    pub fn tokens(self) -> Tokens {
        Tokens::new(self.0.unwrap_or(0))
    }
}

/// A count in any form that JSON has for it, rounded up; nothing where it is none. One beyond what can
/// be counted is the greatest.
pub fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole);
    }
    let text = text.trim_matches('"').trim();
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole);
    }
    let written: f64 = text.parse().ok()?;
    // The cast ends at nought and at the largest number.
    (written.is_finite() && written >= 0.0).then(|| written.ceil() as u64)
}

/// The numbers of an object below some of its names.
pub fn numbers(value: &Value<'_>, mut each: impl FnMut(&str, u64)) {
    value.members(|name, value| {
        if let Some(number) = number(value.bytes()) {
            each(name, number);
        }
    });
}

/// More models than have a part in any call: what others are said to have is counted at the call's own rate.
const MOST_MODELS: usize = 16;

/// What a usage report of one call adds beside its own totals: the same call asked of another model.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// At the call's own model.
    pub own: Usage,
    /// At a model of their own.
    pub others: Vec<(String, Usage)>,
}

impl Parts {
    pub fn add(&mut self, model: Option<String>, usage: Usage) {
        match model {
            None => self.own = self.own.plus(usage),
            Some(model) => {
                let known = self.others.iter().position(|(name, _)| *name == model);
                match known {
                    Some(at) => self.others[at].1 = self.others[at].1.plus(usage),
                    None if self.others.len() == MOST_MODELS => self.own = self.own.plus(usage),
                    None => self.others.push((model, usage)),
                }
            }
        }
    }

    /// The claim whose totals have these parts in them: what others had is theirs, and not the call's own.
    fn within(self, mut claim: Claim) -> Claim {
        for (_, usage) in &self.others {
            if let Some(input) = &mut claim.input {
                input.uncached_input = input.uncached_input.minus(usage.uncached_input);
                input.cache_read = input.cache_read.minus(usage.cache_read);
                input.cache_write = input.cache_write.minus(usage.cache_write);
            }
            claim.output = claim.output.map(|output| output.minus(usage.output));
        }
        claim.others = self.others;
        claim
    }

    /// The claim with these parts instead of totals that leave some of them out.
    pub fn over(self, claim: Claim) -> Claim {
        let others = self.others.iter().map(|(_, usage)| usage.total());
        let all = self.own.total().plus(others.sum());
        if all <= claim.total() {
            return self.within(claim);
        }
        Claim {
            input: Some(self.own.without_output()),
            output: Some(self.own.output),
            others: self.others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_in_every_form() {
        for (written, read) in [
            ("900", Some(900)),
            ("900.0", Some(900)),
            ("9e2", Some(900)),
            ("\"910\"", Some(910)),
            ("0.2", Some(1)),
            ("-4", None),
            ("184467440737095516160", Some(u64::MAX)),
            ("null", None),
            ("[]", None),
            ("\"many\"", None),
            ("true", None),
            ("NaN", None),
        ] {
            assert_eq!(number(written.as_bytes()), read, "{written}");
        }
    }
}
