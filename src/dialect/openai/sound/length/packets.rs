//! What a packet of a codec lasts, whatever carries it. It must never trust a packet to hold what
//! an encoder would put there.

use super::bytes::{be, le};
use super::time::Time;

/// RFC 6716, section 3.2: a packet lasts no longer, and every decoder rejects one that would.
pub fn longest_opus() -> Time {
    Time::scaled(120, 1, 1_000)
}

/// The samples of an AAC frame.
const AAC_SAMPLES: u64 = 1_024;

/// 8 kbit/s: nobody encodes speech in AAC at less, but silence.
const LEAST_AAC_BYTES_PER_SECOND: u64 = 1_000;

/// Units of AAC of so many bytes in all, whose heads say that they last so long. Decoders take what a frame
/// leaves of its unit for another frame (ffmpeg made 5,572 s of 160 KB), which only a whole parser of AAC could tell:
/// units made to hide frames are a stated exception of this bound.
pub fn aac_units(bytes: u64, lasts: Time) -> Time {
    lasts.max(Time::of_seconds(bytes.div_ceil(LEAST_AAC_BYTES_PER_SECOND)))
}

/// What an honest unit of AAC lasts.
pub fn aac_unit(rate: u64) -> Time {
    Time::of(AAC_SAMPLES, rate)
}

/// The core's rate from an AudioSpecificConfig (ISO 14496-3, 1.6.2.1), where its frames begin with
/// an element; those of the other object types can be shorter.
pub fn aac_rate(config: &[u8]) -> Option<u64> {
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

/// What a packet of Opus lasts, from its first two bytes (RFC 6716, section 3.1).
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

/// What a packet of Vorbis can add at most, from the identification header: half a long block.
pub fn vorbis(head: &[u8]) -> Option<Time> {
    let head = head.strip_prefix(b"\x01vorbis")?;
    let rate = le(head, 5, 4)?;
    let exponent = head.get(21)? >> 4;
    ((6..=13).contains(&exponent) && rate > 0).then(|| Time::of(1 << (exponent - 1), rate))
}

/// What a packet of Speex holds, from the head of its stream. A decoder takes the size of a frame
/// from the mode or from the head.
pub fn speex(head: &[u8]) -> Option<Time> {
    const LONGEST_FRAME_SAMPLES: u64 = 640;
    let word = |at| le(head, at, 4);
    let (rate, samples, frames) = (word(36)?, word(56)?, word(64)?);
    let samples = samples.max(LONGEST_FRAME_SAMPLES);
    (rate > 0).then(|| Time::of(samples, rate).times(frames.max(1)))
}
