//! FLAC (RFC 9639): finds each frame by its own header. A block of silence takes a dozen bytes, however many
//! samples it has, so this must never count by bytes, nor stop at the declared number of samples.

use super::bytes::{be, find};
use super::reading::Measured;
use super::time::Time;

/// Stream marker at the start of a FLAC file.
pub const MARK: &[u8; 4] = b"fLaC";

const STREAMINFO_BYTES: u64 = 34;

/// Fields of the `STREAMINFO` block: the sample rate in Hz, and the declared number of samples.
#[derive(Clone, Copy)]
pub struct Info {
    pub rate: u64,
    pub samples: u64,
}

/// Reads a file with one `fLaC` mark and frames after it. A second mark leaves it unbounded.
pub fn read(body: &[u8]) -> Measured {
    const FRAMES: usize = 42;
    let Some(info) = info(body) else {
        return Measured::UNBOUNDED;
    };
    let frames = body.get(FRAMES..).unwrap_or_default();
    let mut reading = frames_of(frames, info.rate).declared(Time::of(info.samples, info.rate));
    reading.bounded &= find(frames, 0, MARK).is_none();
    reading
}

/// Parses the mark and the `STREAMINFO` that must follow it. `None`: some decoder would reject them.
pub fn info(bytes: &[u8]) -> Option<Info> {
    if !bytes.starts_with(MARK) || be(bytes, 4, 4)? & 0x7fff_ffff != STREAMINFO_BYTES {
        return None;
    }
    const LEAST_BLOCK_SAMPLES: u64 = 16;
    const MOST_HERTZ: u64 = 655_350;
    let (least, most, packed) = (be(bytes, 8, 2)?, be(bytes, 10, 2)?, be(bytes, 18, 8)?);
    let info = Info {
        rate: packed >> 44,
        samples: packed & 0xf_ffff_ffff,
    };
    let sane =
        least >= LEAST_BLOCK_SAMPLES && most >= least && (1..=MOST_HERTZ).contains(&info.rate);
    sane.then_some(info)
}

/// Sums all frames in `bytes`. Every header with a correct checksum is a frame, even inside another one: no
/// decoder finds more. Some decoders keep the rate of `STREAMINFO` whatever the frames say, so the longer
/// total counts.
pub(crate) fn frames_of(bytes: &[u8], rate: u64) -> Measured {
    let (mut time, mut samples, mut bounded, mut at) = (Time::ZERO, 0u64, true, 0);
    while let Some(found) =
        (bytes.get(at..)).and_then(|rest| rest.iter().position(|byte| *byte == 0xff))
    {
        at += found;
        if let Some(frame) = frame(&bytes[at..]) {
            let rate = frame.rate.unwrap_or(rate);
            samples = samples.saturating_add(frame.samples);
            bounded &= rate > 0;
            time = time.plus(Time::of(frame.samples, rate));
        }
        at += 1;
    }
    Measured {
        bounded,
        ..Measured::exact(time.max(Time::of(samples, rate)))
    }
}

/// Parsed header of a frame. A `rate` of `None` is that of `STREAMINFO`.
pub struct Frame {
    pub samples: u64,
    pub rate: Option<u64>,
}

/// Parses the frame header at the start of `bytes`. `None`: there is none, or its checksum is wrong.
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    const RATES: [u64; 12] = [
        0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
    ];
    if bytes.first() != Some(&0xff) || bytes.get(1)? & 0xfe != 0xf8 {
        return None;
    }
    let (sizes, number) = (*bytes.get(2)?, *bytes.get(4)?);
    let (block, rate) = (sizes >> 4, sizes & 15);
    // Every decoder rejects these reserved values.
    let layout = *bytes.get(3)?;
    if layout >> 4 > 10 || layout & 0x0e == 0x06 || layout & 1 == 1 {
        return None;
    }
    let number_bytes = match number.leading_ones() {
        0 => 1,
        1 | 8 => return None,
        ones => ones as usize,
    };
    let mut at = 4 + number_bytes;
    let mut next = |size: usize| {
        at += size;
        be(bytes, at - size, size)
    };
    let samples = match block {
        0 => return None,
        1 => 192,
        2..6 => 144 << block,
        6 => next(1)? + 1,
        7 => next(2)? + 1,
        _ => 1 << block,
    };
    let rate = match rate {
        0 => None,
        12 => Some(next(1)? * 1_000),
        13 => Some(next(2)?),
        14 => Some(next(2)? * 10),
        15 => return None,
        code => Some(RATES[usize::from(code)]),
    };
    (crc(bytes.get(..at)?) == *bytes.get(at)?).then_some(Frame { samples, rate })
}

/// Table of the CRC-8 of each byte, with the polynomial x^8 + x^2 + x + 1.
const CRC: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u8, 0);
        while bit < 8 {
            crc = crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |crc, byte| CRC[usize::from(crc ^ byte)])
}
