//! What a call is charged: the provider's claim, what was seen pass, and what may have passed unseen.
//!
//! A claim is believed unless what was delivered shows that it is too low. Without one, what was seen
//! counts by its upper bound; where more may have been generated than was seen, the hold is charged.
//! Pure: no clock, no I/O, no tokenizer. `Bound` is asked only where it is needed, because counting
//! takes time.

use super::amount::Tokens;
use super::price::{Rate, Usage};

/// Tokens of what text cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Of one image that is generated, at most.
    pub image_answer: u64,
    /// Of one second of sound, at most.
    pub sound_second: u64,
}

/// Tokens that no call of any model reads or generates: a hundred times the longest context.
pub const MOST_CREDIBLE_TOKENS: u64 = 100_000_000;

/// What a provider reports. Absent is not nought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its output is nought.
    pub input: Option<Usage>,
    pub output: Option<Tokens>,
    /// Tokens of other models that had a part in the call.
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

    /// The same claim without counts that no call can have, and whether there were any.
    pub fn credible(mut self) -> (Claim, bool) {
        let is_credible = |tokens: &Tokens| tokens.count() <= MOST_CREDIBLE_TOKENS;
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

    /// Everything claimed, whatever its rate.
    pub fn total(&self) -> Tokens {
        let others = self.others.iter().map(|(_, usage)| usage.total());
        self.usage().total().plus(others.sum())
    }

    /// A later claim stands in for an earlier one, member by member; nought is a server that does not
    /// count there.
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

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It said itself that it is complete, or its last claim covers all of it.
    Whole,
    /// The provider reported a failure.
    Failed,
    /// Nobody knows what else was generated, or would have been.
    #[default]
    Cut,
}

/// What is known of an answer.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    pub claim: Option<&'a Claim>,
    pub end: End,
    /// Fewer tokens than were delivered.
    pub least: Tokens,
    /// Something was delivered.
    pub has_content: bool,
    /// There was something to read: a claim of no input is none.
    pub has_prompt: bool,
    /// Until an answer is cut, it shows all that is generated.
    pub shows_all: bool,
    /// The claim is of one answer of several.
    pub reports_one: bool,
    /// The claim had counts that no call can have, which were left out.
    pub is_absurd: bool,
    /// What the call costs where nothing is reported: it has a size of its own.
    pub unreported: Option<Usage>,
}

/// More than was read and generated, asked for only where it is needed.
pub trait Bound {
    fn prompt(&self) -> Tokens;
    fn output(&self) -> Tokens;
}

/// Why a claim was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nought beside an answer or a prompt.
    Nought,
    /// Less than what was delivered is in any vocabulary.
    BelowDelivered,
    /// More than any call can have.
    Absurd,
}

/// What a charge rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The provider's claim.
    Reported,
    /// What was seen, where the provider reports nothing that can be believed.
    Counted,
    /// All that was held: more may have been generated than was seen.
    Held,
    /// Nothing was used.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub cost: Tokens,
    pub basis: Basis,
    pub doubt: Option<Doubt>,
}

impl Charge {
    pub const NOTHING: Charge = Charge {
        cost: Tokens::ZERO,
        basis: Basis::Nothing,
        doubt: None,
    };
}

/// The charge for a call whose provider has its request.
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
    // A count that runs along with a stream says nothing of the rest.
    let final_output = output.filter(|_| seen.end != End::Cut && !seen.reports_one);
    let is_unseen = seen.end == End::Cut && !seen.shows_all;
    if is_unseen && final_output.is_none() {
        return Charge {
            cost: held.max(rate.cost(&claim.usage()).plus(others)),
            basis: Basis::Held,
            doubt,
        };
    }
    let reported = rate.cost(&claim.usage()).plus(others);
    if let (Some(_), Some(_)) = (final_output, input) {
        return Charge {
            cost: reported,
            basis: Basis::Reported,
            doubt,
        };
    }
    let input = input.unwrap_or_else(|| Usage {
        uncached_input: bound.prompt(),
        ..Usage::default()
    });
    let output = final_output.unwrap_or_else(|| bound.output().max(claim.usage().output));
    let counted = rate.cost(&Usage { output, ..input }).plus(others);
    Charge {
        // An estimate never costs more than was held; a claim may.
        cost: counted.min(held).max(reported),
        basis: Basis::Counted,
        doubt,
    }
}

fn believed_output(claim: &Claim, least: Tokens) -> Option<Tokens> {
    claim.output.filter(|output| *output >= least)
}

fn doubt(claim: &Claim, output: bool, input: bool, has_prompt: bool) -> Option<Doubt> {
    let is_nought = |tokens: Option<Tokens>| tokens.is_some_and(|tokens| tokens.is_zero());
    if !output && claim.output.is_some() {
        return Some(if is_nought(claim.output) {
            Doubt::Nought
        } else {
            Doubt::BelowDelivered
        });
    }
    let no_input = is_nought(claim.input.map(|input| input.total()));
    (!input && no_input && has_prompt).then_some(Doubt::Nought)
}

#[cfg(test)]
#[path = "charge_tests.rs"]
mod tests;
