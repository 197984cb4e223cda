//! What the samples of a track of MP4 are, and the most that they last. It must never guess at a
//! codec that its description does not name.

use super::super::bytes::{be, find};
use super::super::reading::Reading;
use super::super::time::Time;
use super::super::{flac, packets, sync};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Missing,
    /// No sound.
    Silent,
    /// Sound without a known bound.
    Unknown,
    Aac {
        rate: u64,
    },
    Mpeg,
    Opus,
    Flac {
        rate: u64,
    },
    Alac {
        samples: u64,
        rate: u64,
    },
    /// Samples of sound, so many of them in so many bytes at most.
    Plain {
        rate: u64,
        samples: u64,
        bytes: u64,
    },
    Amr,
}

impl Codec {
    /// From the box of the one description (ISO 14496-12, 8.5.2).
    pub fn of(bytes: &[u8]) -> Option<Codec> {
        if be(bytes, 4, 4)? != 1 {
            return None;
        }
        Some(match bytes.get(12..16)? {
            b"mp4a" => described(bytes).unwrap_or(Codec::Unknown),
            b".mp3" | b"ms\0\x55" | b"mp3 " => Codec::Mpeg,
            b"Opus" => Codec::Opus,
            b"fLaC" => lossless(bytes).unwrap_or(Codec::Unknown),
            b"alac" => apple(bytes).unwrap_or(Codec::Unknown),
            b"samr" | b"sawb" => Codec::Amr,
            b"lpcm" | b"ipcm" | b"fpcm" | b"ac-3" | b"ec-3" | b"dtsc" | b"QDM2" | b"MAC3"
            | b"MAC6" | b"agsm" => Codec::Unknown,
            name => plain(name, bytes).unwrap_or(Codec::Silent),
        })
    }

    pub fn is_sound(self) -> bool {
        !matches!(self, Codec::Missing | Codec::Silent)
    }

    /// The reading of a track of sound. One that its handler calls sound and whose codec is not
    /// known is not silent.
    pub fn read(self, body: &[u8], samples: u64, bytes: u64) -> Reading {
        match self {
            Codec::Missing | Codec::Silent | Codec::Unknown => Reading::UNBOUNDED,
            Codec::Aac { rate } => {
                let likely = packets::aac_unit(rate).times(samples);
                Reading::at_most(packets::aac_units(bytes, likely), Some(likely))
            }
            Codec::Mpeg => {
                let scan = sync::scan(body, sync::Family::Mpeg);
                Reading::at_most(scan.most, None)
            }
            Codec::Opus => Reading::at_most(packets::longest_opus().times(samples), None),
            Codec::Flac { rate } => flac::frames_of(body, rate),
            Codec::Alac {
                samples: most,
                rate,
            } => Reading::at_most(Time::of(most, rate).times(samples), None),
            Codec::Plain {
                rate,
                samples: most,
                bytes: of,
            } => {
                let most = bytes.saturating_mul(most).div_ceil(of);
                Reading::at_most(Time::of(samples.max(most), rate), None)
            }
            Codec::Amr => Reading::at_most(Time::scaled(bytes.max(samples), 20, 1_000), None),
        }
    }
}

/// Samples that are not compressed, or by a fixed part. Decoders take their width from the name or
/// from the description.
fn plain(name: &[u8], bytes: &[u8]) -> Option<Codec> {
    const BITS: usize = 34;
    const RATE: usize = 40;
    let width = match name {
        b"raw " | b"NONE" | b"ulaw" | b"alaw" => 1,
        b"sowt" | b"twos" => 2,
        b"in24" => 3,
        b"in32" | b"fl32" => 4,
        b"fl64" => 8,
        // 64 samples in 34 bytes.
        b"ima4" => 1,
        _ => return None,
    };
    let (bits, rate) = (
        be(bytes, BITS, 2).unwrap_or_default(),
        be(bytes, RATE, 2).unwrap_or_default(),
    );
    // Of later versions of a description the rate stands elsewhere, as a double.
    const VERSION: usize = 24;
    let version = be(bytes, VERSION, 2).unwrap_or_default();
    if rate == 0 || version > 1 {
        return Some(Codec::Unknown);
    }
    Some(Codec::Plain {
        rate,
        samples: if name == b"ima4" { 2 } else { 1 },
        bytes: bits.div_ceil(8).clamp(1, width),
    })
}

/// The only box of a name within a description.
fn only<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let at = find(bytes, 16, name)? + 4;
    find(bytes, at, name).is_none().then(|| &bytes[at..])
}

/// An elementary stream descriptor (ISO 14496-1, 7.2.6): its object type and what configures it.
fn described(bytes: &[u8]) -> Option<Codec> {
    const OF_STREAM: u8 = 3;
    const OF_DECODER: u8 = 4;
    const OF_CONFIG: u8 = 5;
    let bytes = only(bytes, b"esds")?.get(4..)?;
    let stream = descriptor(bytes, OF_STREAM)?;
    let flags = *stream.get(2)?;
    // Streams that depend on others, or are elsewhere.
    if flags & 0xe0 != 0 {
        return None;
    }
    let decoder = descriptor(stream.get(3..)?, OF_DECODER)?;
    match *decoder.first()? {
        0x40 | 0x66..=0x68 => {
            let rate = packets::aac_rate(descriptor(decoder.get(13..)?, OF_CONFIG)?)?;
            Some(Codec::Aac { rate })
        }
        0x69 | 0x6b => Some(Codec::Mpeg),
        _ => None,
    }
}

/// The content of a descriptor of one kind; its size takes seven bits of each byte, four at most.
fn descriptor(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    if *bytes.first()? != kind {
        return None;
    }
    let mut size = 0;
    for at in 1..=4 {
        let byte = *bytes.get(at)?;
        size = size << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1..(at + 1).checked_add(size)?);
        }
    }
    None
}

/// STREAMINFO without its mark.
fn lossless(bytes: &[u8]) -> Option<Codec> {
    let rate = be(only(bytes, b"dfLa")?, 18, 3)? >> 4;
    (rate > 0).then_some(Codec::Flac { rate })
}

/// The inner box of the same name: the samples of a frame first, the rate last.
fn apple(bytes: &[u8]) -> Option<Codec> {
    let config = only(bytes, b"alac")?;
    let (samples, rate) = (be(config, 4, 4)?, be(config, 24, 4)?);
    (rate > 0).then_some(Codec::Alac { samples, rate })
}
