//! Bounds how long a recording is from its bytes alone ([`Length`]), and prices its seconds in tokens.

mod length;

use super::usage as tokens;
use crate::dialect::call::{Claim, Reading, Usage};
use crate::dialect::claim::number;
use crate::json::{self, Value};
use crate::rules::amount::Tokens;
pub use length::Length;

/// Parses a `usage` in tokens, or in `seconds` of sound of `sound_second` tokens each.
pub fn usage(usage: &[u8], sound_second: u64) -> Option<Claim> {
    tokens::read(&Value::of(usage)).or_else(|| {
        let mut seconds = None;
        json::each_member(usage, |name, value| {
            if name == "seconds" {
                seconds = seconds.max(number(value));
            }
        });
        Some(of_seconds(seconds?, sound_second))
    })
}

/// Upper bound of the tokens of speech in a second.
pub(crate) const MAX_SPOKEN_TOKENS_PER_SECOND: u64 = 10;

/// Raises the claim of a transcript to what its text proves: output in tokens, or else the seconds that speaking it takes.
pub(crate) fn raise(reading: &mut Reading, sound_second: u64) {
    let text = reading.delivered.least();
    let claim = &mut reading.claim;
    if claim.is_empty() {
        return;
    }
    match claim.output {
        Some(output) if !output.is_zero() => claim.output = Some(output.max(text)),
        _ => {
            let seconds = text.count() / MAX_SPOKEN_TOKENS_PER_SECOND;
            let least = Tokens::new(seconds).times(sound_second);
            let input = claim.input.get_or_insert_default();
            let missing = least.minus(input.total());
            input.uncached_input = input.uncached_input.plus(missing);
        }
    }
}

/// Returns the claim for `seconds` of sound, which are all input.
pub(crate) fn of_seconds(seconds: u64, sound_second: u64) -> Claim {
    Claim::of(Usage {
        uncached_input: Tokens::new(seconds).times(sound_second),
        ..Usage::default()
    })
}

#[cfg(test)]
#[path = "sound_tests.rs"]
mod tests;
