//! WAV: bounds the length by the rate at which a decoder uses up the bytes of its samples. Must never believe
//! a header that two decoders read differently.

use super::bytes::{be, le, place};
use super::reading::Measured;
use super::sync::Family;
use super::time::Time;
use super::{hidden, sync};

/// Highest byte rate that is believed: 192 kHz, 8 channels, 32 bits. The higher a header's byte rate, the
/// shorter the recording seems.
const MAX_BYTES_PER_SECOND: u64 = 6_144_000;

/// Format tag of uncompressed integer samples.
const PCM: u64 = 1;

/// Bits of the samples that ffmpeg probes for compressed frames (`sync::probed`).
const PROBED_BITS: u64 = 16;

const CHUNK_HEAD_BYTES: usize = 8;

/// Parsed `fmt ` chunk.
struct Format {
    tag: u64,
    channels: u64,
    rate: u64,
    bytes_per_second: u64,
    block_bytes: u64,
    bits: u64,
    /// Bits of a sample that are in use, in a chunk with the `EXTENSIBLE` tag; else 0.
    valid_bits: u64,
}

pub fn read(body: &[u8]) -> Measured {
    let Some((format, data)) = chunks(body) else {
        return Measured::UNBOUNDED;
    };
    let samples = body.get(data.0..).unwrap_or_default();
    const MPEG: [u64; 2] = [0x50, 0x55];
    if MPEG.contains(&format.tag) {
        let scan = sync::scan(body, Family::Mpeg);
        let mut reading = Measured::at_most(scan.most, Some(scan.walked.credible(scan.most)));
        reading.bounded = format.rate >= sync::base_rate(body, Family::Mpeg);
        return reading.declared(sync::estimated(samples, Family::Mpeg));
    }
    let Some((samples_per_byte, likely)) = density(&format) else {
        return Measured::UNBOUNDED;
    };
    let (count, bytes) = samples_per_byte;
    let most = (samples.len() as u64).saturating_mul(count);
    let most = Time::of(most, format.rate.saturating_mul(bytes));
    let lasts = Time::of(data.1, likely);
    let mut reading = Measured::at_most(most, (likely > 0).then_some(lasts.credible(most)));
    if is_act(body) || format.tag == PCM && hidden::is_in(samples) {
        reading.bounded = false;
    }
    if format.tag == PCM && format.bits == PROBED_BITS {
        for family in [Family::Mpeg, Family::Adts] {
            if sync::probed(samples, family) {
                reading.most = reading.most.max(sync::scan(samples, family).most);
            }
        }
    }
    reading
}

/// Whether a file is an ACT: G.729 behind a WAV header, which ffmpeg detects by a range of zero bytes.
fn is_act(body: &[u8]) -> bool {
    const ZERO: std::ops::Range<usize> = 44..256;
    const MARK: u8 = 0x84;
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    body.get(ZERO.end) == Some(&MARK) && body.get(ZERO).is_some_and(zero)
}

/// Returns the `fmt ` chunk, and the offset of the data with the bytes that are present. `None`: not exactly
/// one `fmt ` precedes `data`.
fn chunks(body: &[u8]) -> Option<(Format, (usize, u64))> {
    let big = body.starts_with(b"RIFX");
    if body.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut format) = (12, None);
    loop {
        let size = if big {
            be(body, at + 4, 4)?
        } else {
            le(body, at + 4, 4)?
        };
        let content = at + CHUNK_HEAD_BYTES;
        match body.get(at..at + 4)? {
            b"data" => {
                let there = body.len().saturating_sub(content) as u64;
                let size = if size == 0 { there } else { size.min(there) };
                return Some((format?, (content, size)));
            }
            b"fmt " if format.is_some() => return None,
            b"fmt " => format = Some(format_of(body.get(content..place(content, size))?, big)?),
            _ => {}
        }
        at = place(content, size + (size & 1));
        body.get(at..)?;
    }
}

fn format_of(chunk: &[u8], big: bool) -> Option<Format> {
    const EXTENSIBLE: u64 = 0xfffe;
    let word = |at, size| {
        if big {
            be(chunk, at, size)
        } else {
            le(chunk, at, size)
        }
    };
    let tag = word(0, 2)?;
    let extended = tag == EXTENSIBLE;
    Some(Format {
        tag: if extended { word(24, 2)? } else { tag },
        channels: word(2, 2)?,
        rate: word(4, 4)?,
        bytes_per_second: word(8, 4)?,
        block_bytes: word(12, 2)?,
        bits: word(14, 2).unwrap_or_default(),
        valid_bits: if extended { word(18, 2)? } else { 0 },
    })
}

/// Returns the most samples of a channel in a number of bytes, as (samples, bytes), and the bytes of one
/// second as a valid header gives them; 0: unknown.
fn density(format: &Format) -> Option<((u64, u64), u64)> {
    const FLOAT: u64 = 3;
    const LAW: [u64; 2] = [6, 7];
    const ADPCM: [u64; 2] = [2, 0x11];
    const GSM: u64 = 0x31;
    let channels = format.channels;
    let believed =
        channels > 0 && format.rate > 0 && format.bytes_per_second <= MAX_BYTES_PER_SECOND;
    if !believed {
        return None;
    }
    let density = match format.tag {
        PCM | FLOAT => {
            let wide = |bits: u64| channels.saturating_mul(bits.div_ceil(8));
            let frame = wide(format.bits).min(format.block_bytes);
            let frame = if format.valid_bits > 0 {
                frame.min(wide(format.valid_bits))
            } else {
                frame
            };
            (1, frame)
        }
        tag if LAW.contains(&tag) => (1, 1),
        // At least 2 bits a sample, of one channel.
        tag if ADPCM.contains(&tag) => (4, 1),
        // 320 samples in 65 bytes, rounded up.
        GSM => (5, 1),
        _ => return None,
    };
    let agrees = format.tag != PCM
        || format.bytes_per_second == format.rate.saturating_mul(format.block_bytes);
    let within = format.rate.saturating_mul(density.1) <= MAX_BYTES_PER_SECOND * density.0;
    let likely = if agrees { format.bytes_per_second } else { 0 };
    (density.1 > 0 && within).then_some((density, likely))
}
