//! What OpenAI's API, and those who speak it, report as usage.
//!
//! Two spellings are in use: `prompt_tokens`/`completion_tokens` of the older calls, and
//! `input_tokens`/`output_tokens` of the newer ones. Absent is not nought.

use crate::dialect::call::{Reading, Usage};
use crate::rules::amount::Tokens;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Counted {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    total_tokens: Option<u64>,
    input_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// The input includes what came from the cache, the output the reasoning.
pub fn read(text: &str) -> Option<Usage> {
    let counted: Counted = serde_json::from_str(text).ok()?;
    // Some servers write both spellings, one of them with noughts.
    let input = counted.prompt_tokens.max(counted.input_tokens);
    let output = counted.completion_tokens.max(counted.output_tokens);
    if input.is_none() && output.is_none() {
        return None;
    }
    let cached = [counted.prompt_tokens_details, counted.input_tokens_details]
        .into_iter()
        .flatten()
        .filter_map(|details| details.cached_tokens)
        .max();
    let input = Tokens::new(input.unwrap_or(0));
    let total = Tokens::new(counted.total_tokens.unwrap_or(0));
    let cache_read = Tokens::new(cached.unwrap_or(0)).min(input);
    Some(Usage {
        uncached_input: input.minus(cache_read),
        cache_read,
        // What was written into a cache is a part of the uncached input here.
        cache_write: Tokens::ZERO,
        // Some servers leave the reasoning out of the output, and not out of the total.
        output: Tokens::new(output.unwrap_or(0)).max(total.minus(input)),
    })
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// The reading of an answer that holds no text of a model: vectors and images are passed over.
pub fn of_answer(answer: &[u8]) -> Reading {
    let read_answer = serde_json::from_slice::<Answer<'_>>(answer);
    Reading {
        complete: read_answer.is_ok(),
        usage: read_answer
            .ok()
            .and_then(|answer| answer.usage)
            .and_then(|raw| read(raw.get())),
        ..Reading::default()
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
