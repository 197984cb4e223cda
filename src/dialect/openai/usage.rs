//! Parses `usage` as OpenAI's API reports it, and the servers that imitate it.
//!
//! Two spellings are in use: `prompt_tokens` and `completion_tokens` in the older calls, `input_tokens` and
//! `output_tokens` in the newer ones. An absent count must never become zero.

use crate::dialect::call::{Claim, Reading, Usage};
use crate::dialect::claim::{Count, number, numbers};
use crate::json::Value;
use crate::rules::amount::Tokens;

/// Counts of a `usage` object as they were written, in either spelling.
#[derive(Default)]
struct Counts {
    input: Count,
    output: Count,
    total: Count,
    cached: Count,
    reasoning: Count,
}

/// Parses a `usage` object into a [`Claim`]. Its input includes cached tokens and its output includes
/// reasoning. `None`: no member is a count.
pub fn read(usage: &Value<'_>) -> Option<Claim> {
    let mut counts = Counts::default();
    usage.members(|name, value| match name {
        // Some servers write both spellings, one of them with zeros.
        "prompt_tokens" | "input_tokens" => counts.input.take(number(value.bytes())),
        "completion_tokens" | "output_tokens" => counts.output.take(number(value.bytes())),
        "total_tokens" => counts.total.take(number(value.bytes())),
        "prompt_cache_hit_tokens" | "cached_tokens" => counts.cached.take(number(value.bytes())),
        "prompt_tokens_details" | "input_tokens_details" => numbers(value, |name, count| {
            if name == "cached_tokens" {
                counts.cached.take(Some(count));
            }
        }),
        "completion_tokens_details" | "output_tokens_details" => numbers(value, |name, count| {
            if name == "reasoning_tokens" {
                counts.reasoning.take(Some(count));
            }
        }),
        _ => {}
    });
    counts.claim()
}

impl Counts {
    fn claim(&self) -> Option<Claim> {
        let (input, output) = (self.input.tokens(), self.output.tokens());
        let total = self.total.credible();
        let rest = |of: Tokens| total.0.map(|total| Tokens::new(total).minus(of));
        let said = match (self.input.0, self.output.0, total.0) {
            (None, None, None) => return None,
            (Some(_), None, _) => (Some(input), rest(input)),
            (None, Some(_), _) => (rest(output), Some(output)),
            (None, None, Some(_)) => (None, rest(Tokens::ZERO)),
            // Some servers leave the reasoning out of the output, but include it in the total.
            (Some(_), Some(_), _) => (
                Some(input),
                Some(output.max(rest(input).unwrap_or_default())),
            ),
        };
        let reasoning = self.reasoning.credible().tokens();
        let output = said.1.map(|output| match output < reasoning {
            true => output.plus(reasoning),
            false => output,
        });
        let input = said.0.map(|input| {
            let cache_read = self.cached.credible().tokens().min(input);
            Usage {
                // Tokens written to a cache are part of the uncached input in this API.
                uncached_input: input.minus(cache_read),
                cache_read,
                ..Usage::default()
            }
        });
        Some(Claim {
            input,
            output,
            others: Vec::new(),
        })
    }
}

/// Reads `usage` and `model` of a response without generated text; vectors and images are skipped.
pub(crate) fn of_answer(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let answer = Value::of(answer);
    let whole = answer.members(|name, value| match name {
        "usage" => reading.claim.update(read(value).unwrap_or_default()),
        "model" => reading.served.take(value.bytes()),
        _ => {}
    });
    reading.complete = whole && answer.is_all();
    reading
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
