//! Frames of MPEG audio (layers I to III) and of AAC in ADTS, which any decoder may search for among any
//! bytes. Must never skip a frame because another one seems to contain it.

use super::bytes::be;
use super::flac;
use super::reading::Measured;
use super::time::Time;

/// Slots of the ring of frame ends in [`scan`]: more than the bytes of the longest frame, 8,191 of ADTS.
const RING_SLOTS: usize = 8_192;

/// Frame formats with a sync word of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Mpeg,
    Adts,
}

/// Parsed header of a frame.
#[derive(Clone, Copy)]
struct Frame {
    bytes: usize,
    samples: u64,
    rate: u64,
    /// Duration of an ordinary frame.
    lasts: Time,
    /// Longest duration that a decoder can get out of it.
    most: Time,
    /// Header bits on which the frames of one stream agree.
    kind: u32,
    /// Whether the header does not give the size (free format).
    free: bool,
}

/// Total durations of the frames of a file.
#[derive(Default)]
pub(crate) struct Scan {
    /// Longest total of frames that do not overlap.
    pub most: Time,
    /// Total of the frames that follow one after the other.
    pub walked: Time,
}

/// Reads a file without a container. [`Measured::UNKNOWN`]: it does not begin with a frame.
pub fn read(body: &[u8]) -> Measured {
    let families = [Family::Mpeg, Family::Adts];
    let Some((family, first)) =
        (families.into_iter()).find_map(|family| Some((family, frame(body, 0, family)?)))
    else {
        return Measured::UNKNOWN;
    };
    let scan = scan(body, family);
    let declared = first.lasts.times(xing(body).unwrap_or(0));
    let declared = declared.max(estimated(body, family));
    // FLAC frames without the `fLaC` header begin like AAC of MPEG-2.
    let most = match body.get(1) {
        Some(0xf8 | 0xf9) => scan.most.max(flac::frames_of(body, 0).most),
        _ => scan.most,
    };
    Measured::at_most(most, Some(scan.walked.credible(most))).declared(declared)
}

/// Returns the estimate of libsndfile and ffprobe where no header declares it: all frames are like the first.
pub(crate) fn estimated(body: &[u8], family: Family) -> Time {
    frame(body, 0, family).map_or(Time::ZERO, |first| {
        first.lasts.times((body.len() / first.bytes) as u64 + 1)
    })
}

/// Whether 4 frames of one stream follow each other somewhere in `body`.
pub(crate) fn chained(body: &[u8], family: Family) -> bool {
    const FRAMES: usize = 4;
    heads(body, family).any(|(at, first)| {
        let alike = |frame: &Frame| frame.kind == first.kind;
        in_row(body, at, family, alike) >= FRAMES
    })
}

/// Whether so many frames follow each other as ffmpeg requires before it decodes the samples of a WAV as
/// frames. It does not compare their headers, so bytes that are no frames can pass.
pub(crate) fn probed(body: &[u8], family: Family) -> bool {
    let frames = match family {
        Family::Mpeg => 4,
        Family::Adts => 3,
    };
    heads(body, family).any(|(at, _)| in_row(body, at, family, |_| true) >= frames)
}

/// Counts the frames that follow each other from `at` on, up to 4.
fn in_row(body: &[u8], at: usize, family: Family, alike: impl Fn(&Frame) -> bool) -> usize {
    const ENOUGH: usize = 4;
    let mut next = at;
    let row = (0..ENOUGH).take_while(|_| match frame(body, next, family) {
        Some(frame) if !frame.free && alike(&frame) => {
            next += frame.bytes;
            true
        }
        _ => false,
    });
    row.count()
}

/// Returns the lowest sample rate that a decoder can find first. Some keep it for all later frames.
pub(crate) fn base_rate(body: &[u8], family: Family) -> u64 {
    const ALIKE: usize = 4;
    let mut least = u64::MAX;
    for (at, first) in heads(body, family) {
        least = least.min(first.rate);
        if in_row(body, at, family, |frame| frame.kind == first.kind) >= ALIKE {
            break;
        }
    }
    least
}

/// Computes the longest total of any choice of frames that do not overlap. At each offset the best total so
/// far is known, and a frame's sum is kept in `ends` for the offset where it ends.
pub fn scan(body: &[u8], family: Family) -> Scan {
    let base = base_rate(body, family);
    let mut ends = vec![Time::ZERO; RING_SLOTS];
    let (mut best, mut reached) = (Time::ZERO, 0);
    let (mut walked, mut next) = (Time::ZERO, 0);
    for (at, frame) in heads(body, family) {
        for place in (reached + 1..=at).take(RING_SLOTS) {
            best = best.max(std::mem::take(&mut ends[place % RING_SLOTS]));
        }
        reached = at;
        let end = &mut ends[(at + frame.bytes) % RING_SLOTS];
        *end = (*end).max(best.plus(frame.most.max(Time::of(frame.samples, base))));
        if at >= next && !frame.free {
            walked = walked.plus(frame.lasts);
            next = at + frame.bytes;
        }
    }
    let most = ends.into_iter().fold(best, Time::max);
    Scan { most, walked }
}

/// Iterates over every frame header in `body` with its offset.
fn heads(body: &[u8], family: Family) -> impl Iterator<Item = (usize, Frame)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += body.get(at..)?.iter().position(|byte| *byte == 0xff)?;
            let sync = body.get(at + 1).is_some_and(|byte| byte & 0xe0 == 0xe0);
            let found = sync.then(|| frame(body, at, family)).flatten();
            let found = found.map(|frame| (at, frame));
            at += 1;
            if found.is_some() {
                return found;
            }
        }
    })
}

fn frame(body: &[u8], at: usize, family: Family) -> Option<Frame> {
    let head = be(body, at, 4)?;
    match family {
        Family::Mpeg => mpeg(u32::try_from(head).ok()?),
        Family::Adts => adts(head << 24 | be(body, at + 4, 3)?),
    }
}

/// Parses an MPEG frame header: ISO 11172-3 and 13818-3, and the unofficial version 2.5 with a sync word of
/// 11 bits.
fn mpeg(head: u32) -> Option<Frame> {
    const LAYER_1: [u32; 15] = [
        0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
    ];
    const LAYER_2: [u32; 15] = [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
    ];
    const LAYER_3: [u32; 15] = [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ];
    const LOW_LAYER_1: [u32; 15] = [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
    ];
    const LOW: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    /// Least bytes of a frame in free format: the next header may follow at once.
    const LEAST_FREE_BYTES: u32 = 4;
    let (version, layer) = (head >> 19 & 3, 4 - (head >> 17 & 3));
    if head >> 21 != 0x7ff || version == 1 || layer == 4 {
        return None;
    }
    let halved = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let rate = [44_100, 48_000, 32_000].get((head >> 10 & 3) as usize)? >> halved;
    let low = halved > 0;
    let kbits = match (layer, low) {
        (1, false) => LAYER_1,
        (2, false) => LAYER_2,
        (_, false) => LAYER_3,
        (1, true) => LOW_LAYER_1,
        (_, true) => LOW,
    };
    let bits = kbits.get((head >> 12 & 15) as usize)? * 1_000;
    let (samples, slot) = match (layer, low) {
        (1, _) => (384, 4),
        (3, true) => (576, 1),
        _ => (1_152, 1),
    };
    let slots = samples / 8 / slot * bits / rate + (head >> 9 & 1);
    let free = bits == 0;
    let bytes = if free { LEAST_FREE_BYTES } else { slots * slot };
    let lasts = Time::of(samples.into(), rate.into());
    Some(Frame {
        bytes: bytes as usize,
        samples: samples.into(),
        rate: rate.into(),
        lasts,
        most: lasts,
        kind: head & 0xfffe_0c00,
        free,
    })
}

/// Parses an ADTS header (ISO 13818-7), 7 bytes in big-endian order. It has 1 to 4 blocks of 1,024 samples;
/// SBR doubles samples and rate alike.
fn adts(head: u64) -> Option<Frame> {
    const HEAD_BYTES: u64 = 7;
    const RATES: [u64; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let bytes = head >> 13 & 0x1fff;
    if head >> 44 != 0xfff || head >> 41 & 3 != 0 || bytes < HEAD_BYTES {
        return None;
    }
    let rate = *RATES.get((head >> 34 & 15) as usize)?;
    let blocks = (head & 3) + 1;
    Some(Frame {
        bytes: usize::try_from(bytes).ok()?,
        samples: 1_024 * blocks,
        rate,
        lasts: Time::of(1_024 * blocks, rate),
        most: Time::of(1_024 * blocks, rate),
        kind: (head >> 24 & 0xfffe_fdc0) as u32,
        free: false,
    })
}

/// Returns the number of frames that a `Xing`, `Info` or `VBRI` header declares.
fn xing(body: &[u8]) -> Option<u64> {
    let head = &body[..body.len().min(200)];
    let at = |mark: &[u8]| head.windows(4).position(|bytes| bytes == mark);
    if let Some(at) = at(b"Xing").or_else(|| at(b"Info")) {
        return (be(head, at + 4, 4)? & 1 == 1).then(|| be(head, at + 8, 4))?;
    }
    be(head, at(b"VBRI")? + 14, 4)
}
