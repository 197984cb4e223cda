//! AIFF, CAF and AMR, which hold one run of samples or frames. Must never take a codec that it does not know
//! for plain samples.

use super::bytes::{be, find, place};
use super::reading::Measured;
use super::time::Time;

/// Header fields of a file of plain samples.
struct Samples {
    /// Sample rate in Hz, rounded down.
    rate: u64,
    /// Least size of a sample over all channels, in half bytes.
    half_bytes: u64,
    /// Number of samples that the header declares; 0: none.
    declared: u64,
}

fn of_samples(body: &[u8], samples: Option<Samples>) -> Measured {
    match samples {
        Some(samples) if samples.rate > 0 && samples.half_bytes > 0 => {
            let most = Time::scaled(
                body.len() as u64,
                2,
                samples.rate.saturating_mul(samples.half_bytes),
            );
            let declared = Time::of(samples.declared, samples.rate);
            let likely = match samples.declared {
                0 => most,
                _ => declared.credible(most),
            };
            Measured::at_most(most, Some(likely))
        }
        _ => Measured::UNBOUNDED,
    }
}

/// Reads an AIFF: chunks with a header of 8 bytes and an even size, one of them the format (`COMM`).
pub(crate) fn aiff(body: &[u8]) -> Measured {
    of_samples(body, aiff_format(body))
}

fn aiff_format(body: &[u8]) -> Option<Samples> {
    let compressed = match body.get(8..12)? {
        b"AIFF" => false,
        b"AIFC" => true,
        _ => return None,
    };
    let (mut at, mut format) = (12, None);
    while let Some(name) = body.get(at..at + 4) {
        let size = be(body, at + 4, 4)?;
        let content = at + 8;
        if name == b"COMM" {
            if format.is_some() {
                return None;
            }
            format = Some(common(
                body.get(content..place(content, size))?,
                compressed,
            )?);
        }
        at = place(content, size + (size & 1));
        if at >= body.len() {
            break;
        }
    }
    format
}

fn common(chunk: &[u8], compressed: bool) -> Option<Samples> {
    let (channels, bits) = (be(chunk, 0, 2)?, be(chunk, 6, 2)?);
    let (exponent, mantissa) = (be(chunk, 8, 2)?, be(chunk, 10, 8)?);
    let rate = mantissa
        .checked_shr(u32::try_from(16_383u64.checked_add(63)?.checked_sub(exponent)?).ok()?)?;
    let half_bytes = match if compressed {
        chunk.get(18..22)?
    } else {
        b"NONE"
    } {
        b"NONE" => 2 * channels * bits.div_ceil(8),
        b"twos" | b"sowt" => 2 * channels * bits.div_ceil(8).min(2),
        b"in24" => 2 * channels * bits.div_ceil(8).min(3),
        b"in32" | b"fl32" | b"FL32" => 2 * channels * bits.div_ceil(8).min(4),
        b"fl64" | b"FL64" => 2 * channels * bits.div_ceil(8).min(8),
        b"ulaw" | b"alaw" | b"ULAW" | b"ALAW" | b"raw " => 2,
        // 64 samples in 34 bytes, of one channel or of several.
        b"ima4" => 1,
        _ => return None,
    };
    Some(Samples {
        rate,
        half_bytes,
        declared: be(chunk, 2, 4)?,
    })
}

/// Reads a CAF: a header of 8 bytes, then chunks, the first of them the description (`desc`).
pub(crate) fn caf(body: &[u8]) -> Measured {
    of_samples(body, caf_format(body))
}

fn caf_format(body: &[u8]) -> Option<Samples> {
    if body.get(8..12)? != b"desc" {
        return None;
    }
    let rate = f64::from_bits(be(body, 20, 8)?);
    let (packet_bytes, channels, bits) = (be(body, 36, 4)?, be(body, 44, 4)?, be(body, 48, 4)?);
    let half_bytes = match body.get(28..32)? {
        b"lpcm" => 2 * packet_bytes.min(channels * bits.div_ceil(8)),
        b"ulaw" | b"alaw" => 2,
        b"ima4" => 1,
        _ => return None,
    };
    let again = find(body, 12, b"desc").is_some();
    (!again && rate.is_finite()).then_some(Samples {
        rate: rate as u64,
        half_bytes,
        declared: 0,
    })
}

/// Reads an AMR (RFC 4867, section 5): frames of 20 ms, each with its size in its first byte.
pub(crate) fn amr(body: &[u8]) -> Measured {
    const NARROW: [usize; 16] = [13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1];
    const WIDE: [usize; 16] = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1];
    /// Frame types that are in use, and the one without data, as a bit set.
    const NARROW_KINDS: u16 = 0x81ff;
    const WIDE_KINDS: u16 = 0xc3ff;
    let (head, sizes, kinds) = if body.starts_with(b"#!AMR\n") {
        (6, NARROW, NARROW_KINDS)
    } else if body.starts_with(b"#!AMR-WB\n") {
        (9, WIDE, WIDE_KINDS)
    } else {
        return Measured::UNBOUNDED;
    };
    let frames = |count| Time::scaled(count, 20, 1_000);
    let (mut at, mut count) = (head, 0);
    while let Some(byte) = body.get(at) {
        let kind = byte >> 3 & 15;
        if byte & 0x80 != 0 || kinds >> kind & 1 == 0 {
            // Decoders differ on the rest; a frame takes at least one byte.
            return Measured::at_most(frames((body.len() - head) as u64), None);
        }
        at += sizes[usize::from(kind)];
        count += 1;
    }
    Measured::exact(frames(count))
}
