//! The frames of MPEG audio (layers I to III) and of AAC in ADTS, which any decoder may seek among
//! any bytes. It must never skip a frame because another one seems to hold it.

use super::bytes::be;
use super::flac;
use super::reading::Reading;
use super::time::Time;

/// More than the longest frame: 8,191 bytes of ADTS.
const RING: usize = 8_192;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Mpeg,
    Adts,
}

/// A frame, from its head.
#[derive(Clone, Copy)]
struct Frame {
    bytes: usize,
    samples: u64,
    rate: u64,
    /// What an honest frame lasts.
    lasts: Time,
    /// What a decoder can get out of it.
    most: Time,
    /// What the frames of one stream agree on.
    kind: u32,
    /// Whether its size is not in its head.
    free: bool,
}

/// What the frames of a file last.
#[derive(Default)]
pub struct Scan {
    /// The most that frames without an overlap can last.
    pub most: Time,
    /// What the frames last, one after the other.
    pub walked: Time,
}

/// A file that has no container.
pub fn read(body: &[u8]) -> Reading {
    let families = [Family::Mpeg, Family::Adts];
    let Some((family, first)) =
        (families.into_iter()).find_map(|family| Some((family, frame(body, 0, family)?)))
    else {
        return Reading::UNKNOWN;
    };
    let scan = scan(body, family);
    let declared = first.lasts.times(xing(body).unwrap_or(0));
    let declared = declared.max(estimated(body, family));
    let likely = (scan.walked > Time::ZERO).then_some(scan.walked);
    // Frames of FLAC without their head begin like AAC of MPEG-2.
    let most = match body.get(1) {
        Some(0xf8 | 0xf9) => scan.most.max(flac::frames_of(body, 0).most),
        _ => scan.most,
    };
    Reading::at_most(most, likely).declared(declared)
}

/// What libsndfile and ffprobe say where no head does: they take the first frame for all.
pub fn estimated(body: &[u8], family: Family) -> Time {
    frame(body, 0, family).map_or(Time::ZERO, |first| {
        first.lasts.times((body.len() / first.bytes) as u64 + 1)
    })
}

/// Whether frames of one stream follow each other somewhere.
pub fn chained(body: &[u8], family: Family) -> bool {
    const FRAMES: usize = 4;
    heads(body, family).any(|(at, first)| {
        let alike = |frame: &Frame| frame.kind == first.kind;
        in_row(body, at, family, alike) >= FRAMES
    })
}

/// Whether frames follow each other as ffmpeg wants them before it takes the samples of a WAV for
/// them; it does not compare their heads. What is no frame can look so.
pub fn probed(body: &[u8], family: Family) -> bool {
    let frames = match family {
        Family::Mpeg => 4,
        Family::Adts => 3,
    };
    heads(body, family).any(|(at, _)| in_row(body, at, family, |_| true) >= frames)
}

/// How many frames follow each other, as far as that matters.
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

/// The lowest rate that a decoder can find first. Some keep to it whatever the frames say after.
pub fn base_rate(body: &[u8], family: Family) -> u64 {
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

/// The most that any choice of frames can last: at each place the best up to there is known, and
/// what a frame adds is kept for the place where it ends.
pub fn scan(body: &[u8], family: Family) -> Scan {
    let base = base_rate(body, family);
    let mut ends = vec![Time::ZERO; RING];
    let (mut best, mut reached) = (Time::ZERO, 0);
    let (mut walked, mut next) = (Time::ZERO, 0);
    for (at, frame) in heads(body, family) {
        for place in (reached + 1..=at).take(RING) {
            best = best.max(std::mem::take(&mut ends[place % RING]));
        }
        reached = at;
        let end = &mut ends[(at + frame.bytes) % RING];
        *end = (*end).max(best.plus(frame.most.max(Time::of(frame.samples, base))));
        if at >= next && !frame.free {
            walked = walked.plus(frame.lasts);
            next = at + frame.bytes;
        }
    }
    let most = ends.into_iter().fold(best, Time::max);
    Scan { most, walked }
}

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

/// ISO 11172-3 and 13818-3, and the unofficial 2.5 with its sync of eleven bits.
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
    /// The next head may follow at once where the head holds no size.
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

/// ISO 13818-7: seven bytes, the highest first. Its one to four blocks are of 1,024 samples; SBR
/// doubles samples and rate alike.
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

/// The frames that the head of a Xing, Info or VBRI frame declares.
fn xing(body: &[u8]) -> Option<u64> {
    let head = &body[..body.len().min(200)];
    let at = |mark: &[u8]| head.windows(4).position(|bytes| bytes == mark);
    if let Some(at) = at(b"Xing").or_else(|| at(b"Info")) {
        return (be(head, at + 4, 4)? & 1 == 1).then(|| be(head, at + 8, 4))?;
    }
    be(head, at(b"VBRI")? + 14, 4)
}
