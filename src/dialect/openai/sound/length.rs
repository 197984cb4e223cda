//! How long a recording can be, from its bytes alone: what its frames hold, never only what its
//! head declares. It must never trust a head that a decoder can ignore, and never panic on a file.

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
use reading::Reading;
use sync::Family;
use time::Time;

/// 24 hours: the longest that a recording is held to be where nothing about its bytes bounds it (an unknown
/// container or codec, a file that contradicts itself), and the most that a bare declaration is
/// believed. Providers take less. It is no limit to what is counted: frames that are there are counted
/// in full.
pub const LONGEST_SECONDS: u64 = 24 * 60 * 60;

/// 40 bit/s: silence in the tightest codec that was tried, FLAC in its longest blocks.
const LEAST_BYTES_PER_SECOND: u64 = 5;

/// 32 kbit/s: an ordinary recording of speech.
const USUAL_BYTES_PER_SECOND: u64 = 4_000;

/// Seconds, rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// It is no longer than this.
    pub most: u64,
    /// It is probably about as long as this.
    pub likely: u64,
}

impl Length {
    pub fn of(file: &[u8]) -> Length {
        if file.is_empty() {
            return Length::default();
        }
        let reading = read(file);
        let longest = Time::of_seconds(LONGEST_SECONDS);
        let mut most = reading.most.max(reading.declared.min(longest));
        if !reading.bounded {
            let loosest = (file.len() as u64).div_ceil(LEAST_BYTES_PER_SECOND);
            let loosest = Time::of_seconds(loosest).min(longest);
            most = most.max(if reading.unknown { loosest } else { longest });
        }
        let most = most.seconds();
        let usual = (file.len() as u64).div_ceil(USUAL_BYTES_PER_SECOND);
        let likely = reading.likely.map_or(usual, Time::seconds);
        Length {
            most,
            likely: likely.min(most),
        }
    }

    pub fn plus(self, other: Length) -> Length {
        Length {
            most: self.most.saturating_add(other.most),
            likely: self.likely.saturating_add(other.likely),
        }
    }
}

/// The reading of a file, which some decoders take for a stream of MPEG or AAC frames whatever
/// its container: ffmpeg does so for a WAV of 16 bits, miniaudio where a container fails it.
fn read(file: &[u8]) -> Reading {
    let Some(body) = after_id3(file) else {
        return Reading::UNBOUNDED;
    };
    let mut reading = contained(body);
    for family in [Family::Mpeg, Family::Adts] {
        let alike = family == Family::Adts && holds_flac(body);
        if !alike && sync::chained(body, family) {
            reading.most = reading.most.max(sync::scan(body, family).most);
        }
    }
    reading
}

/// Whether a file holds FLAC in a container that no decoder mistakes: the heads of its frames look
/// like those of AAC.
fn holds_flac(body: &[u8]) -> bool {
    match kind(body) {
        Kind::Flac => true,
        Kind::Ogg | Kind::Matroska => find(body, 0, flac::MARK).is_some(),
        _ => false,
    }
}

/// What the first bytes say a file is.
enum Kind {
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

/// As strict as ffmpeg is: what it does not take for a container, it takes for something else.
fn kind(body: &[u8]) -> Kind {
    const WAVE: usize = 8;
    const HEAD_BYTES: usize = 64;
    let at = |at: usize, mark: &[u8]| body.get(at..).is_some_and(|rest| rest.starts_with(mark));
    match body.get(..4).unwrap_or_default() {
        b"RIFF" | b"RIFX" if at(WAVE, b"WAVE") => Kind::Riff,
        b"RF64" | b"BW64" if at(WAVE, b"WAVEds64") => Kind::Riff,
        b"OggS" if at(4, &[0]) && body.get(5).is_some_and(|flags| *flags < 8) => Kind::Ogg,
        b"fLaC" if flac::info(body).is_some() => Kind::Flac,
        b"\x1a\x45\xdf\xa3" => {
            let head = &body[..body.len().min(HEAD_BYTES)];
            let named = find(head, 0, b"webm").or_else(|| find(head, 0, b"matr"));
            if named.is_some() {
                Kind::Matroska
            } else {
                Kind::Unknown
            }
        }
        b"FORM" if at(8, b"AIFF") || at(8, b"AIFC") => Kind::Aiff,
        b"caff" if at(4, &[0, 1]) && at(8, b"desc\0\0\0\0\0\0\0\x20") => Kind::Caf,
        b"#!AM" => Kind::Amr,
        b"RIFF" | b"RIFX" | b"RF64" | b"BW64" | b"OggS" | b"fLaC" | b"FORM" | b"caff" => {
            Kind::Unknown
        }
        _ if mp4::starts(body) => Kind::Mp4,
        _ => Kind::Bare,
    }
}

fn contained(body: &[u8]) -> Reading {
    match kind(body) {
        Kind::Riff => riff::read(body),
        Kind::Ogg => ogg::read(body),
        Kind::Flac => flac::read(body),
        Kind::Matroska => matroska::read(body),
        Kind::Aiff => plain::aiff(body),
        Kind::Caf => plain::caf(body),
        Kind::Amr => plain::amr(body),
        Kind::Mp4 => mp4::read(body),
        Kind::Bare => sync::read(body),
        Kind::Unknown => Reading::UNKNOWN,
    }
}

/// What follows the ID3v2 tags; nothing where a tag is broken, so that decoders differ on it.
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
