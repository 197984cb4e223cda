//! Durations of the packets of a codec, in whatever container they come. Must never trust a packet to hold
//! what an encoder would put there.

use super::bytes::{be, le};
use super::time::Time;

/// Returns the longest duration of an Opus packet, 120 ms: every decoder rejects more (RFC 6716, section
/// 3.2).
pub(crate) fn longest_opus() -> Time {
    Time::scaled(120, 1, 1_000)
}

/// Samples of an AAC frame.
const AAC_SAMPLES: u64 = 1_024;

/// Lowest byte rate of AAC, 8 kbit/s: speech is not encoded at less, only silence is.
const MIN_AAC_BYTES_PER_SECOND: u64 = 1_000;

/// Bounds AAC access units of `bytes` in all, whose headers declare the duration `lasts`. Decoders decode the
/// rest of a unit after its frame as another frame (ffmpeg made 5,572 s of 160 KB), and only a complete AAC
/// parser could tell. Units made to hide frames are a stated exception of this bound.
pub(crate) fn aac_units(bytes: u64, lasts: Time) -> Time {
    lasts.max(Time::of_seconds(bytes.div_ceil(MIN_AAC_BYTES_PER_SECOND)))
}

/// Highest byte rate of ordinary AAC, 512 kbit/s.
const MAX_AAC_BYTES_PER_SECOND: u64 = 64_000;

/// Estimates AAC access units of `bytes` in all, whose headers declare the duration `lasts`.
pub(crate) fn likely_aac(bytes: u64, lasts: Time) -> Time {
    lasts.max(Time::scaled(bytes, 1, MAX_AAC_BYTES_PER_SECOND))
}

/// Returns the duration of an ordinary AAC access unit at `rate` Hz.
pub(crate) fn aac_unit(rate: u64) -> Time {
    Time::of(AAC_SAMPLES, rate)
}

/// Returns the core's sample rate from an `AudioSpecificConfig` (ISO 14496-3, 1.6.2.1). `None`: the frames of
/// its object type do not begin with an element, and can be shorter.
pub(crate) fn aac_rate(config: &[u8]) -> Option<u64> {
    const RATES: [u64; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    const WITH_ELEMENTS: [u64; 6] = [1, 2, 3, 4, 5, 29];
    const WITH_SBR: [u64; 2] = [5, 29];
    const EXPLICIT: u64 = 15;
    let bits = be(config, 0, 8).or_else(|| {
        let mut padded = [0; 8];
        padded.get_mut(..config.len())?.copy_from_slice(config);
        Some(u64::from_be_bytes(padded))
    })?;
    let (object, index) = (bits >> 59, bits >> 55 & 15);
    if config.len() < 2 || index == EXPLICIT || !WITH_ELEMENTS.contains(&object) {
        return None;
    }
    if WITH_SBR.contains(&object) {
        let (extended, core) = (bits >> 47 & 15, bits >> 42 & 31);
        if extended == EXPLICIT || !WITH_ELEMENTS.contains(&core) {
            return None;
        }
    }
    RATES.get(usize::try_from(index).ok()?).copied()
}

/// Returns the duration of an Opus packet from its first two bytes (RFC 6716, section 3.1).
pub fn opus(packet: &[u8]) -> Time {
    const UNITS_PER_SECOND: u64 = 400;
    const SILK_UNITS: [u64; 4] = [4, 8, 16, 24];
    const CELT_UNITS: [u64; 4] = [1, 2, 4, 8];
    let longest = longest_opus();
    let Some(head) = packet.first() else {
        return longest;
    };
    let config = head >> 3;
    let quarter = usize::from(config & 3);
    let units = match config {
        0..12 => SILK_UNITS[quarter],
        12..16 => [4, 8][usize::from(config & 1)],
        _ => CELT_UNITS[quarter],
    };
    let frames = match (head & 3, packet.get(1)) {
        (0, _) => 1,
        (1 | 2, _) => 2,
        (_, Some(count)) => u64::from(count & 63).max(1),
        (_, None) => return longest,
    };
    Time::of(units * frames, UNITS_PER_SECOND).min(longest)
}

/// Returns the most that a Vorbis packet can add, half a long block, from the identification header `head`.
pub(crate) fn vorbis(head: &[u8]) -> Option<Time> {
    let head = head.strip_prefix(b"\x01vorbis")?;
    let rate = le(head, 5, 4)?;
    let exponent = head.get(21)? >> 4;
    ((6..=13).contains(&exponent) && rate > 0).then(|| Time::of(1 << (exponent - 1), rate))
}

/// Returns the duration of a Speex packet from the stream header `head`. A decoder takes the frame size from
/// the mode or from the header, so the larger one counts.
pub(crate) fn speex(head: &[u8]) -> Option<Time> {
    const LONGEST_FRAME_SAMPLES: u64 = 640;
    let word = |at| le(head, at, 4);
    let (rate, samples, frames) = (word(36)?, word(56)?, word(64)?);
    let samples = samples.max(LONGEST_FRAME_SAMPLES);
    (rate > 0).then(|| Time::of(samples, rate).times(frames.max(1)))
}
