//! Matroska and WebM (RFC 9559): counts the frames in the blocks of the tracks. Must never let the timestamp
//! in a block's header stand for its frames, nor miss a cluster that a decoder finds by searching.

use super::bytes::{be, find, place};
use super::reading::Measured;
use super::time::Time;
use super::{flac, packets, sync};

const CLUSTER: &[u8; 4] = &[0x1f, 0x43, 0xb6, 0x75];

const MAX_TRACKS: usize = 8;

/// Element IDs.
mod id {
    pub(crate) const EBML: u64 = 0x1a45_dfa3;
    pub(crate) const SEGMENT: u64 = 0x1853_8067;
    pub const INFO: u64 = 0x1549_a966;
    pub(crate) const SCALE: u64 = 0x2a_d7b1;
    pub(crate) const DURATION: u64 = 0x4489;
    pub(crate) const TRACKS: u64 = 0x1654_ae6b;
    pub(crate) const TRACK: u64 = 0xae;
    pub const NUMBER: u64 = 0xd7;
    pub(crate) const KIND: u64 = 0x83;
    pub(crate) const CODEC: u64 = 0x86;
    pub(crate) const PRIVATE: u64 = 0x63a2;
    pub(crate) const AUDIO: u64 = 0xe1;
    pub(crate) const RATE: u64 = 0xb5;
    pub(crate) const OUTPUT_RATE: u64 = 0x78b5;
    pub(crate) const BITS: u64 = 0x6264;
    pub(crate) const CHANNELS: u64 = 0x9f;
    pub(crate) const ENCODINGS: u64 = 0x6d80;
    pub const CLUSTER: u64 = 0x1f43_b675;
    pub(crate) const TIME: u64 = 0xe7;
    pub(crate) const GROUP: u64 = 0xa0;
    pub(crate) const SIMPLE_BLOCK: u64 = 0xa3;
    pub(crate) const BLOCK: u64 = 0xa1;
    pub(crate) const BLOCK_DURATION: u64 = 0x9b;
    pub(crate) const ENCRYPTED_BLOCK: u64 = 0xaf;
}

/// Fields and sums of a track, as far as its `TrackEntry` and its blocks have been read.
#[derive(Clone, Copy, Default)]
struct Track<'a> {
    number: u64,
    sound: bool,
    codec: &'a [u8],
    private: &'a [u8],
    rate: u64,
    bits: u64,
    channels: u64,
    frames: u64,
    bytes: u64,
    /// Total duration of the packets, if they are Opus.
    packets: Time,
}

#[derive(Default)]
struct ElementReader<'a> {
    tracks: [Track<'a>; MAX_TRACKS],
    count: usize,
    scale: u64,
    duration: f64,
    cluster: u64,
    clusters: usize,
    /// Latest timestamp of a block of sound, or of its cluster plus a `BlockDuration`, in units of `scale`.
    last: u64,
    unknown: bool,
}

pub fn read(body: &[u8]) -> Measured {
    const USUAL_SCALE_NANOSECONDS: u64 = 1_000_000;
    let mut walk = ElementReader {
        scale: USUAL_SCALE_NANOSECONDS,
        ..ElementReader::default()
    };
    let mut at = 0;
    while at < body.len() {
        let Some((id, content, size)) = element(body, at) else {
            walk.unknown = true;
            break;
        };
        at = if enters(id) {
            walk.entered(id);
            content
        } else {
            let end = size.map_or(usize::MAX, |size| place(content, size));
            let bytes = &body[content..end.min(body.len())];
            // The last `SimpleBlock` of a live recording may be truncated.
            walk.unknown |= end > body.len() && id != id::SIMPLE_BLOCK;
            walk.element(id, bytes);
            end
        };
    }
    walk.finish(body)
}

/// Whether an element contains other elements that are read.
fn enters(id: u64) -> bool {
    use id::*;
    [SEGMENT, INFO, TRACKS, TRACK, AUDIO, CLUSTER, GROUP].contains(&id)
}

/// Parses an element header into its ID, the offset of its content, and its size. A size of `None` is
/// unknown.
fn element(body: &[u8], at: usize) -> Option<(u64, usize, Option<u64>)> {
    let id_bytes = body.get(at)?.leading_zeros() as usize + 1;
    if id_bytes > 4 {
        return None;
    }
    let id = be(body, at, id_bytes)?;
    let (size, size_bytes) = number(body, at + id_bytes)?;
    let content = at + id_bytes + size_bytes;
    (content <= body.len()).then_some(())?;
    let open = size == (1 << (7 * size_bytes)) - 1;
    Some((id, content, (!open).then_some(size)))
}

/// Parses an integer of 1 to 8 bytes (variable length). Returns it and its length in bytes.
fn number(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let size = bytes.get(at)?.leading_zeros() as usize + 1;
    let value = be(bytes, at, size.min(8))?;
    (size <= 8).then_some((value & ((1 << (7 * size)) - 1), size))
}

impl<'a> ElementReader<'a> {
    fn entered(&mut self, id: u64) {
        match id {
            id::TRACK if self.count == MAX_TRACKS || self.clusters > 0 => self.unknown = true,
            id::TRACK => self.count += 1,
            id::CLUSTER => self.clusters += 1,
            _ => {}
        }
    }

    fn element(&mut self, id: u64, bytes: &'a [u8]) {
        let value = be(bytes, 0, bytes.len().min(8)).unwrap_or_default();
        let real = match bytes.len() {
            4 => f64::from(f32::from_bits(value as u32)),
            _ => f64::from_bits(value),
        };
        match id {
            id::SCALE => self.scale = self.scale.max(value),
            id::DURATION => self.duration = self.duration.max(real),
            id::TIME => self.cluster = value,
            id::SIMPLE_BLOCK | id::BLOCK => self.block(bytes),
            id::BLOCK_DURATION => self.last = self.last.max(self.cluster.saturating_add(value)),
            id::ENCODINGS | id::ENCRYPTED_BLOCK => self.unknown = true,
            id::EBML => {}
            _ => self.of_track(id, bytes, value, real),
        }
    }

    /// Reads an element of the last `TrackEntry`.
    fn of_track(&mut self, id: u64, bytes: &'a [u8], value: u64, real: f64) {
        const SOUND: u64 = 2;
        let Some(track) = self
            .count
            .checked_sub(1)
            .and_then(|at| self.tracks.get_mut(at))
        else {
            return;
        };
        match id {
            id::NUMBER => track.number = value,
            id::KIND => track.sound |= value == SOUND,
            id::CODEC => {
                track.codec = bytes;
                track.sound |= bytes.starts_with(b"A_");
            }
            id::PRIVATE => track.private = bytes,
            // Decoders play at `OutputSamplingFrequency` where the file has one; the lower of both rates
            // counts.
            id::RATE | id::OUTPUT_RATE if track.rate > 0 => {
                track.rate = track.rate.min(real as u64);
            }
            id::RATE | id::OUTPUT_RATE => track.rate = real as u64,
            id::BITS => track.bits = value,
            id::CHANNELS => track.channels = value,
            _ => {}
        }
    }

    /// Counts the frames of a block: track number, timestamp of 2 bytes, flags, then one frame or several
    /// (lacing).
    fn block(&mut self, block: &[u8]) {
        const LACING: u8 = 0x06;
        let Some((number, size)) = number(block, 0) else {
            self.unknown = true;
            return;
        };
        let track = self.tracks[..self.count]
            .iter_mut()
            .find(|track| track.number == number);
        let (Some(track), Some(time), Some(flags)) =
            (track, be(block, size, 2), block.get(size + 2))
        else {
            self.unknown = true;
            return;
        };
        let frames = block.get(size + 3..).unwrap_or_default();
        let laced = flags & LACING != 0;
        let count = if laced {
            frames.first().map_or(0, |count| u64::from(*count)) + 1
        } else {
            1
        };
        track.frames += count;
        track.bytes += frames.len() as u64;
        let lasts = if laced {
            packets::longest_opus().times(count)
        } else {
            packets::opus(frames)
        };
        track.packets = track.packets.plus(lasts);
        if track.sound {
            let time = i64::from(time as u16 as i16);
            self.last = self.last.max(self.cluster.saturating_add_signed(time));
        }
    }

    fn finish(self, body: &[u8]) -> Measured {
        let last = Time::scaled(self.last, self.scale, 1_000_000_000);
        let declared = Time::scaled(
            self.duration.max(0.0).ceil() as u64,
            self.scale,
            1_000_000_000,
        );
        let (mut most, mut likely, mut bounded) = (Time::ZERO, Time::ZERO, !self.unknown);
        for track in self.tracks[..self.count].iter().filter(|track| track.sound) {
            let reading = track.read(body);
            bounded &= reading.bounded;
            most = most.plus(reading.most);
            likely = likely.max(reading.likely.unwrap_or(last.credible(reading.most)));
        }
        // A decoder that loses sync searches for the next cluster.
        bounded &= most > Time::ZERO && marks(body, CLUSTER) == self.clusters;
        let mut reading = Measured::at_most(most, (likely > Time::ZERO).then_some(likely));
        reading.bounded = bounded;
        reading.declared(declared.max(last))
    }
}

impl Track<'_> {
    fn read(&self, body: &[u8]) -> Measured {
        let codec = self.codec.trim_ascii_end();
        let codec = codec.strip_suffix(b"\0").unwrap_or(codec);
        match codec {
            b"A_OPUS" => Measured::exact(self.packets),
            b"A_VORBIS" => match private_vorbis(self.private) {
                Some(most) => Measured::at_most(most.times(self.frames), None),
                None => Measured::UNBOUNDED,
            },
            b"A_AAC" => match packets::aac_rate(self.private) {
                Some(rate) => {
                    let lasts = packets::aac_unit(rate).times(self.frames);
                    let likely = packets::likely_aac(self.bytes, lasts);
                    Measured::at_most(packets::aac_units(self.bytes, lasts), Some(likely))
                }
                None => Measured::UNBOUNDED,
            },
            b"A_FLAC" => match flac::info(self.private) {
                Some(info) => flac::frames_of(body, info.rate),
                None => Measured::UNBOUNDED,
            },
            b"A_MPEG/L3" | b"A_MPEG/L2" | b"A_MPEG/L1" => {
                let scan = sync::scan(body, sync::Family::Mpeg);
                Measured::at_most(scan.most, None)
            }
            b"A_PCM/INT/LIT" | b"A_PCM/INT/BIG" | b"A_PCM/FLOAT/IEEE" => {
                let bytes = self.bits.div_ceil(8).saturating_mul(self.channels.max(1));
                // Decoders support these widths in bits, and treat any other as one of them.
                let widths: &[u64] = match codec {
                    b"A_PCM/FLOAT/IEEE" => &[32, 64],
                    _ => &[8, 16, 24, 32],
                };
                let known = self.rate > 0 && widths.contains(&self.bits);
                let time = Time::of(self.bytes, self.rate.saturating_mul(bytes));
                if known {
                    Measured::exact(time)
                } else {
                    Measured::UNBOUNDED
                }
            }
            _ => Measured::UNBOUNDED,
        }
    }
}

/// Parses the Vorbis identification header, the first of three headers in `CodecPrivate` (Xiph lacing).
fn private_vorbis(private: &[u8]) -> Option<Time> {
    let at = private
        .windows(7)
        .take(600)
        .position(|bytes| bytes == b"\x01vorbis")?;
    packets::vorbis(&private[at..])
}

/// Counts the occurrences of `mark`.
fn marks(body: &[u8], mark: &[u8; 4]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Some(found) = find(body, at, mark) {
        count += 1;
        at = found + 4;
    }
    count
}
