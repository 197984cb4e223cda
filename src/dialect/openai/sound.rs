//! Bounds how long a recording is from its bytes alone ([`Length`]), and prices its seconds in tokens.

mod length;

use super::usage as tokens;
use crate::dialect::call::{Claim, Usage};
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
