//! How long a recording is, from its bytes alone, and what its seconds cost.

use super::usage as tokens;
use crate::dialect::call::{Claim, Usage};
use crate::dialect::claim::number;
use crate::json::{self, Value};
use crate::rules::amount::Tokens;

/// 8 kbit/s: nobody speaks at less.
const LEAST_BYTES_PER_SECOND: u64 = 1_000;

/// 32 kbit/s: an ordinary recording of speech.
const USUAL_BYTES_PER_SECOND: u64 = 4_000;

/// 192 kHz, two channels, 32 bits. A head that promises more is not believed: the more it promises,
/// the shorter the recording would seem.
const MOST_BYTES_PER_SECOND: u64 = 1_536_000;

/// Seconds, rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// It is no longer than this.
    pub most: u64,
    /// It is probably about as long as this.
    pub likely: u64,
}

impl Length {
    pub fn of(file: &[u8]) -> Length {
        let bytes = file.len() as u64;
        match plain_wav(file) {
            Some(rate) => Length {
                most: bytes.div_ceil(rate),
                likely: bytes.div_ceil(rate),
            },
            None => Length {
                most: bytes.div_ceil(LEAST_BYTES_PER_SECOND),
                likely: bytes.div_ceil(USUAL_BYTES_PER_SECOND),
            },
        }
    }

    pub fn plus(self, other: Length) -> Length {
        Length {
            most: self.most + other.most,
            likely: self.likely + other.likely,
        }
    }
}

/// The bytes of a second, where a file is a WAV of plain samples whose head does not contradict
/// itself.
fn plain_wav(file: &[u8]) -> Option<u64> {
    const PCM: u64 = 1;
    let word = |at: usize, size: usize| {
        let bytes = file.get(at..at + size)?.iter().rev();
        Some(bytes.fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if file.get(..4)? != b"RIFF" || file.get(8..16)? != b"WAVEfmt " || word(20, 2)? != PCM {
        return None;
    }
    let (channels, samples, rate) = (word(22, 2)?, word(24, 4)?, word(28, 4)?);
    let (block, bits) = (word(32, 2)?, word(34, 2)?);
    let agrees = block * 8 == channels * bits && rate == samples * block;
    (agrees && (1..=MOST_BYTES_PER_SECOND).contains(&rate)).then_some(rate)
}

/// Usage that may be counted in tokens or in seconds of sound.
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

pub fn of_seconds(seconds: u64, sound_second: u64) -> Claim {
    Claim::of(Usage {
        uncached_input: Tokens::new(seconds).times(sound_second),
        ..Usage::default()
    })
}

#[cfg(test)]
#[path = "sound_tests.rs"]
mod tests;
