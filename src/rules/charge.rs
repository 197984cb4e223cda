//! The charge of a call ([`charge`]): from the provider's usage claim, from what was delivered, or from the
//! hold.
//!
//! A [`Claim`] is believed unless what was delivered shows that it is too low. Without one, what was
//! delivered counts by its upper bound; if more may have been generated than was delivered, the whole hold is
//! charged.
//! Pure: no clock, no I/O, no tokenizer. [`Bound`] is called only if it is needed, because counting takes
//! time.

use super::amount::Tokens;
use super::price::{Rate, Usage};

/// Tokens of output that has no text to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Upper bound of one generated image; `bounds.image_answer`.
    pub image_answer: u64,
    /// Upper bound of one second of audio; `bounds.sound_second`.
    pub sound_second: u64,
}

/// Largest believable count: a hundred times the longest context. No call of any model reads or generates
/// more.
pub const MAX_CREDIBLE_TOKENS: u64 = 100_000_000;

/// Usage that a provider reports. `None` means absent, which is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Input tokens; their `output` is zero.
    pub input: Option<Usage>,
    pub output: Option<Tokens>,
    /// Tokens of other models that took part in the call, by model name.
    pub others: Vec<(String, Usage)>,
}

impl Claim {
    pub fn of(usage: Usage) -> Claim {
        Claim {
            input: Some(usage.without_output()),
            output: Some(usage.output),
            others: Vec::new(),
        }
    }

    /// Returns the claim without counts above [`MAX_CREDIBLE_TOKENS`], and whether there were any.
    pub fn credible(mut self) -> (Claim, bool) {
        let is_credible = |tokens: &Tokens| tokens.count() <= MAX_CREDIBLE_TOKENS;
        let before = (
            self.input.is_some(),
            self.output.is_some(),
            self.others.len(),
        );
        self.input = self.input.filter(|input| is_credible(&input.total()));
        self.output = self.output.filter(is_credible);
        self.others.retain(|(_, usage)| is_credible(&usage.total()));
        let after = (
            self.input.is_some(),
            self.output.is_some(),
            self.others.len(),
        );
        (self, before != after)
    }

    pub fn is_empty(&self) -> bool {
        self.input.is_none() && self.output.is_none() && self.others.is_empty()
    }

    pub fn usage(&self) -> Usage {
        Usage {
            output: self.output.unwrap_or_default(),
            ..self.input.unwrap_or_default()
        }
    }

    /// Returns the sum of all claimed tokens, whatever their rates.
    pub fn total(&self) -> Tokens {
        let others = self.others.iter().map(|(_, usage)| usage.total());
        self.usage().total().plus(others.sum())
    }

    /// Replaces each member by a later claim's. Zero replaces no earlier count: it comes from a server that
    /// does not count there.
    pub fn update(&mut self, later: Claim) {
        let is_said = |usage: &Usage| !usage.total().is_zero();
        self.input = later.input.filter(is_said).or(self.input).or(later.input);
        let is_said = |tokens: &Tokens| !tokens.is_zero();
        self.output = later
            .output
            .filter(is_said)
            .or(self.output)
            .or(later.output);
        if !later.others.is_empty() {
            self.others = later.others;
        }
    }
}

/// End of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The answer said that it is complete, or its last claim covers all of it.
    Whole,
    /// The provider reported a failure.
    Failed,
    /// The answer was cut off: what else was generated, or would have been, is unknown.
    #[default]
    Cut,
}

/// Facts about a call's answer that the charge is computed from.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    pub claim: Option<&'a Claim>,
    pub end: End,
    /// Lower bound of the tokens delivered.
    pub least: Tokens,
    /// Some content was delivered.
    pub has_content: bool,
    /// The call had a prompt, so a claim of zero input tokens is not believed.
    pub has_prompt: bool,
    /// The stream shows all that is generated, so an answer that was cut has no hidden tokens.
    pub shows_all: bool,
    /// The provider reports the usage of one answer out of several.
    pub reports_one: bool,
    /// The claim had counts above [`MAX_CREDIBLE_TOKENS`], which were left out.
    pub is_absurd: bool,
    /// Usage of a call whose size is known beforehand, such as images and audio; charged if the provider
    /// reports none.
    pub unreported: Option<Usage>,
}

/// Upper bounds of the tokens read and generated. Computed on demand only.
pub trait Bound {
    fn prompt(&self) -> Tokens;
    fn output(&self) -> Tokens;
}

/// Reason for not believing a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Zero tokens, although there was an answer or a prompt.
    Zero,
    /// Fewer tokens than the delivered text has in any vocabulary.
    BelowDelivered,
    /// More than [`MAX_CREDIBLE_TOKENS`].
    Absurd,
}

/// Source of a charge; the usage record's `basis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The provider's claim.
    Reported,
    /// The upper bound of what was delivered: the provider's claim is absent or was not believed.
    Counted,
    /// The whole hold: more may have been generated than was delivered.
    Held,
    /// The fee of an answer that was in the cache.
    Cached,
    /// No tokens were used.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub cost: Tokens,
    pub basis: Basis,
    pub doubt: Option<Doubt>,
    /// Tokens that the cost was computed from, where the provider's claim was not believed.
    pub counted: Option<Usage>,
}

impl Charge {
    pub const NOTHING: Charge = Charge {
        cost: Tokens::ZERO,
        basis: Basis::Nothing,
        doubt: None,
        counted: None,
    };
}

/// Computes the charge of a call whose request has been sent to the provider.
pub fn charge(
    seen: &Evidence<'_>,
    held: Tokens,
    rate: Rate,
    rate_of: impl Fn(&str) -> Rate,
    bound: &impl Bound,
) -> Charge {
    let nothing = Claim::default();
    let claim = seen.claim.unwrap_or(&nothing);
    if seen.end == End::Failed && claim.total().is_zero() && !seen.has_content {
        return Charge::NOTHING;
    }
    let reports_nothing = claim.total().is_zero() && seen.end != End::Cut;
    if let (Some(unreported), true) = (seen.unreported, reports_nothing) {
        return Charge {
            cost: rate.cost(&unreported).min(held),
            basis: Basis::Counted,
            doubt: None,
            counted: Some(unreported),
        };
    }
    let others = claim
        .others
        .iter()
        .map(|(model, usage)| rate_of(model).cost(usage));
    let others: Tokens = others.sum();
    let output = believed_output(claim, seen.least);
    let input = claim
        .input
        .filter(|input| !seen.has_prompt || !input.total().is_zero());
    let doubt = match seen.is_absurd {
        true => Some(Doubt::Absurd),
        false => doubt(claim, output.is_some(), input.is_some(), seen.has_prompt),
    };
    // The running count of a stream that was cut does not cover the rest.
    let final_output = output.filter(|_| seen.end != End::Cut && !seen.reports_one);
    let is_unseen = seen.end == End::Cut && !seen.shows_all;
    if is_unseen && final_output.is_none() {
        return Charge {
            cost: held.max(rate.cost(&claim.usage()).plus(others)),
            basis: Basis::Held,
            doubt,
            counted: None,
        };
    }
    let reported = rate.cost(&claim.usage()).plus(others);
    if let (Some(_), Some(_)) = (final_output, input) {
        return Charge {
            cost: reported,
            basis: Basis::Reported,
            doubt,
            counted: None,
        };
    }
    let input = input.unwrap_or_else(|| Usage {
        uncached_input: bound.prompt(),
        ..Usage::default()
    });
    let output = final_output.unwrap_or_else(|| bound.output().max(claim.usage().output));
    let usage = Usage { output, ..input };
    let counted = rate.cost(&usage).plus(others);
    Charge {
        // An estimate never costs more than was held; a claim may.
        cost: counted.min(held).max(reported),
        basis: Basis::Counted,
        doubt,
        counted: Some(usage),
    }
}

fn believed_output(claim: &Claim, least: Tokens) -> Option<Tokens> {
    claim.output.filter(|output| *output >= least)
}

fn doubt(claim: &Claim, output: bool, input: bool, has_prompt: bool) -> Option<Doubt> {
    let is_nought = |tokens: Option<Tokens>| tokens.is_some_and(|tokens| tokens.is_zero());
    if !output && claim.output.is_some() {
        return Some(if is_nought(claim.output) {
            Doubt::Zero
        } else {
            Doubt::BelowDelivered
        });
    }
    let no_input = is_nought(claim.input.map(|input| input.total()));
    (!input && no_input && has_prompt).then_some(Doubt::Zero)
}

#[cfg(test)]
#[path = "charge_tests.rs"]
mod tests;
