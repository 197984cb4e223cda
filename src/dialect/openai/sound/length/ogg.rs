//! Ogg (RFC 3533): counts the packets that begin on its pages, of every stream and of every link of a chain.
//! Must never let the granule position of a page stand for packets, nor skip a page inside another page.

use super::bytes::{be, find, le};
use super::reading::Measured;
use super::time::Time;
use super::{flac, packets};

const MARK: &[u8; 4] = b"OggS";

/// Upper bound of the streams at a time. An ordinary file has one of sound, and few beside it.
const MAX_STREAMS: usize = 8;

/// Codec of the packets of a stream.
#[derive(Clone, Copy)]
enum Codec {
    Opus,
    /// `most` is the longest that a packet can add, `rate` that of the granule positions in Hz.
    Vorbis {
        most: Time,
        rate: u64,
    },
    Speex {
        most: Time,
        rate: u64,
    },
    Flac {
        rate: u64,
        declared: Time,
    },
    /// No sound: `theora`, for example.
    Silent,
}

impl Codec {
    /// Returns the rate of the granule positions in Hz; 0 for `Silent`.
    fn rate(self) -> u64 {
        match self {
            Codec::Opus => 48_000,
            Codec::Vorbis { rate, .. } | Codec::Speex { rate, .. } | Codec::Flac { rate, .. } => {
                rate
            }
            Codec::Silent => 0,
        }
    }
}

/// Sums of a logical stream, as far as its pages have been read.
#[derive(Clone, Copy)]
struct Stream {
    serial: u64,
    codec: Codec,
    packets: u64,
    most: Time,
    /// Whether its last page ended within a packet.
    open: bool,
    first: Option<u64>,
    last: u64,
}

/// Parsed page.
struct Page<'a> {
    continued: bool,
    begins: bool,
    position: Option<u64>,
    serial: u64,
    lacing: &'a [u8],
    content: &'a [u8],
}

#[derive(Default)]
struct PageReader {
    streams: [Option<Stream>; MAX_STREAMS],
    ended: Time,
    declared: Time,
    likely: Time,
    unknown: bool,
    /// Rate of the granule positions of every stream of sound, in Hz.
    rate: Option<u64>,
    /// Sample rate of FLAC in Hz. Its frames are searched for in all bytes at once, by `flac::frames_of`.
    flac: Option<u64>,
}

pub fn read(body: &[u8]) -> Measured {
    let mut walk = PageReader::default();
    let mut at = 0;
    while let Some(found) = find(body, at, MARK) {
        let Some(page) = page(&body[found..]) else {
            walk.unknown = true;
            break;
        };
        // A decoder that rejects a page searches for another one inside it.
        let bytes = 27 + page.lacing.len() + page.content.len();
        let inner = &body[found + 4..found + bytes];
        if find(inner, 0, MARK).is_some() {
            walk.unknown = true;
            break;
        }
        walk.page(&page);
        at = found + bytes;
    }
    walk.finish(body)
}

fn page(bytes: &[u8]) -> Option<Page<'_>> {
    const NOWHERE: u64 = u64::MAX;
    let flags = *bytes.get(5)?;
    let position = le(bytes, 6, 8)?;
    let segments = usize::from(*bytes.get(26)?);
    let lacing = bytes.get(27..27 + segments)?;
    let size: usize = lacing.iter().map(|size| usize::from(*size)).sum();
    let content = bytes.get(27 + segments..)?;
    Some(Page {
        continued: flags & 1 != 0,
        begins: flags & 2 != 0,
        position: (position != NOWHERE).then_some(position),
        serial: be(bytes, 14, 4)?,
        lacing,
        content: content.get(..size).unwrap_or(content),
    })
}

impl PageReader {
    fn page(&mut self, page: &Page) {
        let known =
            |stream: &Option<Stream>| stream.is_some_and(|stream| stream.serial == page.serial);
        let slot = match self.streams.iter().position(known) {
            Some(slot) if !page.begins => slot,
            Some(slot) => {
                self.end(slot);
                slot
            }
            // The codec of a stream without its first page is not known.
            None if !page.begins => {
                self.unknown = true;
                return;
            }
            None => self.vacant(),
        };
        if self.streams[slot].is_none() {
            self.streams[slot] = self.begin(page);
        }
        if let Some(stream) = &mut self.streams[slot] {
            self.unknown |= !stream.packets_of(page);
        }
    }

    /// Returns a free slot for a stream. If a chain has more links than slots, the first stream is ended for
    /// it.
    fn vacant(&mut self) -> usize {
        if let Some(slot) = self.streams.iter().position(Option::is_none) {
            return slot;
        }
        self.end(0);
        self.streams.rotate_left(1);
        MAX_STREAMS - 1
    }

    fn begin(&mut self, page: &Page) -> Option<Stream> {
        let codec = codec_of(page.content);
        if let Some(Codec::Flac { rate, .. }) = codec {
            self.flac = Some(self.flac.map_or(rate, |other| other.min(rate)));
        }
        // Some decoders keep the rate of the first link for all of them.
        if let Some(rate) = codec.map(Codec::rate).filter(|rate| *rate > 0) {
            self.unknown |= *self.rate.get_or_insert(rate) != rate;
        }
        self.unknown |= codec.is_none();
        Some(Stream {
            serial: page.serial,
            codec: codec.unwrap_or(Codec::Silent),
            packets: 0,
            most: Time::ZERO,
            open: false,
            first: None,
            last: 0,
        })
    }

    /// Ends a stream, and adds its durations to the totals.
    fn end(&mut self, slot: usize) {
        let Some(stream) = self.streams[slot].take() else {
            return;
        };
        let first = stream.first.unwrap_or_default();
        let positions = stream.last.saturating_sub(first);
        let (declared, likely) = match stream.codec {
            Codec::Opus => (Time::of(positions, 48_000), stream.most),
            Codec::Vorbis { rate, .. } | Codec::Speex { rate, .. } => {
                let positions = Time::of(positions, rate);
                (positions, positions.credible(stream.most))
            }
            Codec::Flac { rate, declared } => (declared.max(Time::of(positions, rate)), Time::ZERO),
            Codec::Silent => (Time::ZERO, Time::ZERO),
        };
        self.ended = self.ended.plus(stream.most);
        self.declared = self.declared.plus(declared);
        self.likely = self.likely.plus(likely);
    }

    fn finish(mut self, body: &[u8]) -> Measured {
        for slot in 0..MAX_STREAMS {
            self.end(slot);
        }
        if let Some(rate) = self.flac {
            let frames = flac::frames_of(body, rate);
            self.unknown |= !frames.bounded;
            self.ended = self.ended.plus(frames.most);
            self.likely = self.likely.plus(frames.most);
        }
        let mut reading = Measured::at_most(
            self.ended,
            (self.likely > Time::ZERO).then_some(self.likely),
        );
        reading.bounded = !self.unknown && self.ended > Time::ZERO;
        reading.declared(self.declared)
    }
}

impl Stream {
    /// Counts the packets that begin on a page. Returns false if they are not those of the stream's codec.
    fn packets_of(&mut self, page: &Page) -> bool {
        let mut starts = !(page.continued && self.open);
        let (mut rest, mut sound) = (page.content, true);
        for size in page.lacing {
            if starts {
                sound &= self.packet(rest);
            }
            rest = rest.get(usize::from(*size)..).unwrap_or_default();
            starts = *size < 255;
        }
        self.open = if page.lacing.is_empty() {
            self.open
        } else {
            !starts
        };
        if let Some(position) = page.position.filter(|_| self.packets > self.heads()) {
            self.first = self
                .first
                .or(Some(position.saturating_sub(self.most_positions())));
            self.last = self.last.max(position);
        }
        sound
    }

    /// Counts a packet by its first bytes. `bytes` may go on with the next packet.
    fn packet(&mut self, bytes: &[u8]) -> bool {
        let index = self.packets;
        self.packets += 1;
        let lasts = match self.codec {
            Codec::Opus if bytes.starts_with(b"OpusHead") || bytes.starts_with(b"OpusTags") => {
                return true;
            }
            Codec::Opus => packets::opus(bytes),
            // The three header packets of Vorbis are odd; an odd packet after them is that of another stream.
            Codec::Vorbis { .. } if bytes.first().is_some_and(|byte| byte & 1 == 1) => {
                return index < 3;
            }
            Codec::Vorbis { most, .. } | Codec::Speex { most, .. } => most,
            // FLAC frames are searched for in all bytes. A packet that continues on the next page has at
            // least 255 bytes on this one, so no frame header is cut in two.
            Codec::Flac { .. } | Codec::Silent => return true,
        };
        self.most = self.most.plus(lasts);
        true
    }

    /// Returns the number of header packets.
    fn heads(&self) -> u64 {
        match self.codec {
            Codec::Vorbis { .. } => 3,
            _ => 2,
        }
    }

    /// Returns the most granule positions that the counted packets take up.
    fn most_positions(&self) -> u64 {
        self.most.samples(self.codec.rate())
    }
}

/// Detects a stream's codec from its first packet.
fn codec_of(head: &[u8]) -> Option<Codec> {
    const SILENT: [&[u8]; 6] = [
        b"fishead\0",
        b"\x80theora",
        b"\x80kate",
        b"BBCD\0",
        b"OVP80",
        b"CMML",
    ];
    if head.starts_with(b"OpusHead") {
        return Some(Codec::Opus);
    }
    if head.starts_with(b"\x01vorbis") {
        let (most, rate) = (packets::vorbis(head)?, le(head, 12, 4)?);
        return Some(Codec::Vorbis { most, rate });
    }
    if head.starts_with(b"Speex   ") {
        let (most, rate) = (packets::speex(head)?, le(head, 36, 4)?);
        return Some(Codec::Speex { most, rate });
    }
    if head.starts_with(b"\x7fFLAC") {
        let info = flac::info(head.get(9..)?).filter(|info| info.rate > 0)?;
        return Some(Codec::Flac {
            rate: info.rate,
            declared: Time::of(info.samples, info.rate),
        });
    }
    SILENT
        .iter()
        .any(|mark| head.starts_with(mark))
        .then_some(Codec::Silent)
}
