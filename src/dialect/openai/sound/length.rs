//! Bounds how long a recording can be from its bytes alone: by the frames that it holds, never only by the
//! duration that its header declares. Must never trust a header that a decoder can ignore, and never panic on
//! a file.

mod bytes;
mod flac;
mod hidden;
mod matroska;
mod mp4;
mod ogg;
mod packets;
mod plain;
mod reading;
mod riff;
mod sync;
mod time;

use bytes::{be, find};
use reading::Measured;
use sync::Family;
use time::Time;

/// Longest recording that is assumed, 24 hours: for a file that nothing in its bytes bounds (an unknown
/// container or codec, a file that contradicts itself), and for a duration that a header only declares.
/// Providers accept less. It does not limit the count: frames that are there count in full.
pub(crate) const LONGEST_SECONDS: u64 = 24 * 60 * 60;

/// Lowest bit rate, 40 bit/s: silence in the tightest codec that was tried, FLAC with its longest blocks.
const MIN_BYTES_PER_SECOND: u64 = 5;

/// Length of a recording in seconds, rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// Upper bound.
    pub most: u64,
    /// Estimate, charged where the provider reports nothing: at most `most`, and `most` itself if the container
    /// is unknown or contradicts itself.
    pub likely: u64,
}

impl Length {
    /// Bounds and estimates the length of a file, in whatever container it is.
    pub fn of(file: &[u8]) -> Length {
        if file.is_empty() {
            return Length::default();
        }
        let reading = read(file);
        let longest = Time::of_seconds(LONGEST_SECONDS);
        let mut most = reading.most.max(reading.declared.min(longest));
        if !reading.bounded {
            let loosest = (file.len() as u64).div_ceil(MIN_BYTES_PER_SECOND);
            let loosest = Time::of_seconds(loosest).min(longest);
            most = most.max(if reading.unknown { loosest } else { longest });
        }
        let likely = reading.likely.filter(|_| reading.bounded);
        Length {
            most: most.seconds(),
            likely: likely.map_or(most, |likely| likely.min(most)).seconds(),
        }
    }

    pub fn plus(self, other: Length) -> Length {
        Length {
            most: self.most.saturating_add(other.most),
            likely: self.likely.saturating_add(other.likely),
        }
    }
}

/// Reads a file by its container, and again as a stream of MPEG or AAC frames if it holds one. Some decoders
/// prefer such a stream to any container: ffmpeg does for a WAV of 16 bits, miniaudio if it cannot read the
/// container.
fn read(file: &[u8]) -> Measured {
    let Some(body) = after_id3(file) else {
        return Measured::UNBOUNDED;
    };
    let mut reading = contained(body);
    for family in [Family::Mpeg, Family::Adts] {
        let alike = family == Family::Adts && holds_flac(body);
        if !alike && sync::chained(body, family) {
            let scan = sync::scan(body, family);
            reading.most = reading.most.max(scan.most);
            reading.likely = reading.likely.map(|likely| likely.max(scan.walked));
        }
    }
    reading
}

/// Whether a file holds FLAC in a container that no decoder mistakes for another. FLAC frame headers look
/// like those of AAC, so `Family::Adts` is not searched there.
fn holds_flac(body: &[u8]) -> bool {
    match kind(body) {
        ContainerKind::Flac => true,
        ContainerKind::Ogg | ContainerKind::Matroska => find(body, 0, flac::MARK).is_some(),
        _ => false,
    }
}

/// Container format of a file, by its first bytes.
enum ContainerKind {
    Riff,
    Ogg,
    Flac,
    Matroska,
    Aiff,
    Caf,
    Amr,
    Mp4,
    Bare,
    Unknown,
}

/// Detects the container, as strictly as ffmpeg does: it decodes bytes that fail its own check as something
/// else.
fn kind(body: &[u8]) -> ContainerKind {
    const WAVE: usize = 8;
    const HEAD_BYTES: usize = 64;
    let at = |at: usize, mark: &[u8]| body.get(at..).is_some_and(|rest| rest.starts_with(mark));
    match body.get(..4).unwrap_or_default() {
        b"RIFF" | b"RIFX" if at(WAVE, b"WAVE") => ContainerKind::Riff,
        b"RF64" | b"BW64" if at(WAVE, b"WAVEds64") => ContainerKind::Riff,
        b"OggS" if at(4, &[0]) && body.get(5).is_some_and(|flags| *flags < 8) => ContainerKind::Ogg,
        b"fLaC" if flac::info(body).is_some() => ContainerKind::Flac,
        b"\x1a\x45\xdf\xa3" => {
            let head = &body[..body.len().min(HEAD_BYTES)];
            let named = find(head, 0, b"webm").or_else(|| find(head, 0, b"matr"));
            if named.is_some() {
                ContainerKind::Matroska
            } else {
                ContainerKind::Unknown
            }
        }
        b"FORM" if at(8, b"AIFF") || at(8, b"AIFC") => ContainerKind::Aiff,
        b"caff" if at(4, &[0, 1]) && at(8, b"desc\0\0\0\0\0\0\0\x20") => ContainerKind::Caf,
        b"#!AM" => ContainerKind::Amr,
        b"RIFF" | b"RIFX" | b"RF64" | b"BW64" | b"OggS" | b"fLaC" | b"FORM" | b"caff" => {
            ContainerKind::Unknown
        }
        _ if mp4::starts(body) => ContainerKind::Mp4,
        _ => ContainerKind::Bare,
    }
}

/// Reads a file by its container alone.
fn contained(body: &[u8]) -> Measured {
    match kind(body) {
        ContainerKind::Riff => riff::read(body),
        ContainerKind::Ogg => ogg::read(body),
        ContainerKind::Flac => flac::read(body),
        ContainerKind::Matroska => matroska::read(body),
        ContainerKind::Aiff => plain::aiff(body),
        ContainerKind::Caf => plain::caf(body),
        ContainerKind::Amr => plain::amr(body),
        ContainerKind::Mp4 => mp4::read(body),
        ContainerKind::Bare => sync::read(body),
        ContainerKind::Unknown => Measured::UNKNOWN,
    }
}

/// Returns the bytes after the ID3v2 tags. `None`: a tag is malformed, and decoders differ on it.
fn after_id3(file: &[u8]) -> Option<&[u8]> {
    const HEAD_BYTES: usize = 10;
    const FOOTER: u8 = 0x10;
    let mut body = file;
    while body.starts_with(b"ID3") {
        let size = be(body, 6, 4)?;
        if size & 0x8080_8080 != 0 {
            return None;
        }
        let size = (0..4).fold(0, |sum, byte| {
            sum | (size >> (8 * byte) & 0x7f) << (7 * byte)
        });
        let footer = if body.get(5)? & FOOTER == 0 {
            0
        } else {
            HEAD_BYTES
        };
        body = body.get(HEAD_BYTES + usize::try_from(size).ok()? + footer..)?;
    }
    Some(body)
}

#[cfg(test)]
mod tests;
