//! Codec of the samples of an MP4 track, and the most that they last. Must never guess at a codec that the
//! sample description (`stsd`) does not name.

use super::super::bytes::{be, find};
use super::super::reading::Measured;
use super::super::time::Time;
use super::super::{flac, packets, sync};

/// Codec of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// No `stsd` was read so far.
    Missing,
    /// No sound: a track of video, for example.
    Silent,
    /// Sound that nothing bounds.
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
    /// Samples that are uncompressed or compressed by a fixed ratio: at most `samples` of them in `bytes`
    /// bytes.
    Plain {
        rate: u64,
        samples: u64,
        bytes: u64,
    },
    Amr,
}

impl Codec {
    /// Reads the codec from an `stsd` box. `None`: it does not have exactly one description (ISO 14496-12,
    /// 8.5.2).
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

    pub(crate) fn is_sound(self) -> bool {
        !matches!(self, Codec::Missing | Codec::Silent)
    }

    /// Bounds a track of sound by its number of samples and their bytes. A track whose `hdlr` says sound but
    /// whose codec is not known is unbounded, never silent.
    pub fn read(self, body: &[u8], samples: u64, bytes: u64) -> Measured {
        match self {
            Codec::Missing | Codec::Silent | Codec::Unknown => Measured::UNBOUNDED,
            Codec::Aac { rate } => {
                let lasts = packets::aac_unit(rate).times(samples);
                let likely = packets::likely_aac(bytes, lasts);
                Measured::at_most(packets::aac_units(bytes, lasts), Some(likely))
            }
            Codec::Mpeg => {
                let scan = sync::scan(body, sync::Family::Mpeg);
                Measured::at_most(scan.most, None)
            }
            Codec::Opus => Measured::at_most(packets::longest_opus().times(samples), None),
            Codec::Flac { rate } => flac::frames_of(body, rate),
            Codec::Alac {
                samples: most,
                rate,
            } => Measured::at_most(Time::of(most, rate).times(samples), None),
            Codec::Plain {
                rate,
                samples: most,
                bytes: of,
            } => {
                let most = bytes.saturating_mul(most).div_ceil(of);
                Measured::at_most(Time::of(samples.max(most), rate), None)
            }
            Codec::Amr => Measured::at_most(Time::scaled(bytes.max(samples), 20, 1_000), None),
        }
    }
}

/// Parses a codec of samples that are uncompressed, or compressed by a fixed ratio. Decoders take the width
/// of a sample from the name or from the description, so the smaller one counts.
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
    // Later versions of a description have the rate in another place, as a double.
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

/// Returns the bytes after the name of the only box called `name`. `None`: there is none, or a second one.
fn only<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let at = find(bytes, 16, name)? + 4;
    find(bytes, at, name).is_none().then(|| &bytes[at..])
}

/// Parses an `esds` box, an elementary stream descriptor (ISO 14496-1, 7.2.6): object type and configuration.
fn described(bytes: &[u8]) -> Option<Codec> {
    const OF_STREAM: u8 = 3;
    const OF_DECODER: u8 = 4;
    const OF_CONFIG: u8 = 5;
    let bytes = only(bytes, b"esds")?.get(4..)?;
    let stream = descriptor(bytes, OF_STREAM)?;
    let flags = *stream.get(2)?;
    // The stream depends on another one, or is stored elsewhere.
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

/// Returns the content of a descriptor of type `kind`. Its size takes 7 bits of each byte, of at most 4
/// bytes.
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

/// Parses a `dfLa` box: a `STREAMINFO` block without the `fLaC` mark.
fn lossless(bytes: &[u8]) -> Option<Codec> {
    let rate = be(only(bytes, b"dfLa")?, 18, 3)? >> 4;
    (rate > 0).then_some(Codec::Flac { rate })
}

/// Parses the inner `alac` box: it begins with the samples of a frame and ends with the rate.
fn apple(bytes: &[u8]) -> Option<Codec> {
    let config = only(bytes, b"alac")?;
    let (samples, rate) = (be(config, 4, 4)?, be(config, 24, 4)?);
    (rate > 0).then_some(Codec::Alac { samples, rate })
}
