//! Parses the usage that a provider reports into a [`Claim`], member by member.
//!
//! Servers write counts as floats, as strings, twice, or beside members of the wrong type. One malformed
//! member must never hide the others. Of a duplicated member the larger count wins.

use super::call::Usage;
use crate::json::Value;
use crate::rules::amount::Tokens;
use crate::rules::charge::{Claim, MAX_CREDIBLE_TOKENS};

/// Token count as written in a usage report, before related members are combined. `None`: absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count(pub Option<u64>);

impl Count {
    /// Merges another spelling of the same count. The larger one wins, unless it exceeds
    /// [`MAX_CREDIBLE_TOKENS`].
    pub fn take(&mut self, written: Option<u64>) {
        let is_absurd = |count: u64| count > MAX_CREDIBLE_TOKENS;
        self.0 = match (self.0, written) {
            (Some(one), Some(other)) if is_absurd(one) != is_absurd(other) => Some(one.min(other)),
            (one, other) => one.max(other),
        };
    }

    /// Drops a count above [`MAX_CREDIBLE_TOKENS`], so that no other count is derived from it.
    pub fn credible(self) -> Count {
        Count(self.0.filter(|count| *count <= MAX_CREDIBLE_TOKENS))
    }

    pub fn tokens(self) -> Tokens {
        Tokens::new(self.0.unwrap_or(0))
    }
}

/// Parses a count in any JSON form (integer, float or string), rounded up. `None`: it is no count. Larger
/// values saturate at `u64::MAX`.
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
    // The cast saturates at 0 and at `u64::MAX`.
    (written.is_finite() && written >= 0.0).then(|| written.ceil() as u64)
}

/// Calls `each` with the name and value of every member of an object that [`number`] can parse.
pub fn numbers(value: &Value<'_>, mut each: impl FnMut(&str, u64)) {
    value.members(|name, value| {
        if let Some(number) = number(value.bytes()) {
            each(name, number);
        }
    });
}

/// Maximum number of other models per call, more than any call has. Usage of further models counts at the
/// call's own rate.
const MAX_OTHER_MODELS: usize = 16;

/// Usage of one call that is reported in parts beside the totals, because other models had a turn in it.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Sum of the parts without a `model` of their own: the call's own model.
    pub own: Usage,
    /// Usage of other models by name, each charged at its own rate.
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
                    None if self.others.len() == MAX_OTHER_MODELS => {
                        self.own = self.own.plus(usage);
                    }
                    None => self.others.push((model, usage)),
                }
            }
        }
    }

    /// Returns the claim whose totals include these parts: usage of `others` is subtracted from the call's
    /// own.
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

    /// Returns the claim corrected by these parts. If they sum to more than its totals, the totals left some
    /// out and the parts replace them.
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
