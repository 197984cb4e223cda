//! MP4, M4A, 3GP and QuickTime: counts the samples that the tables of the sound tracks (`stbl`), and the runs
//! of their fragments (`trun`), refer to. Must never trust the durations beside them, nor follow an edit
//! list.

use super::bytes::{be, place};
use super::reading::Measured;
use super::time::Time;

mod codec;
mod tables;

use codec::Codec;

const MAX_TRACKS: usize = 8;
const MAX_DEPTH: usize = 8;

/// Sums of a track, as far as its boxes have been read.
#[derive(Clone, Copy, Debug)]
struct Track {
    id: u64,
    sound: bool,
    codec: Codec,
    /// Units per second of the track's durations (`mdhd`).
    scale: u64,
    declared: u64,
    /// Total duration of the samples, in those units: by the table of times (`stts`), and by the runs
    /// (`trun`).
    units: u64,
    samples: u64,
    bytes: u64,
    /// Duration and bytes of a fragment's sample where its `trun` does not say (`trex`).
    default_units: u64,
    default_bytes: u64,
}

const NO_TRACK: Track = Track {
    id: 0,
    sound: false,
    codec: Codec::Missing,
    scale: 0,
    declared: 0,
    units: 0,
    samples: 0,
    bytes: 0,
    default_units: 0,
    default_bytes: 0,
};

struct BoxReader {
    tracks: [Track; MAX_TRACKS],
    count: usize,
    /// Current fragment: the index of its track, and the default duration and bytes of its samples.
    fragment: Option<(usize, u64, u64)>,
    movie: Time,
    edited: u64,
    movie_scale: u64,
    unknown: bool,
}

/// Whether the first box is one that a file begins with, such as `ftyp`.
pub fn starts(body: &[u8]) -> bool {
    const FIRST: [&[u8]; 10] = [
        b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof", b"sidx", b"pnot",
    ];
    body.get(4..8).is_some_and(|name| FIRST.contains(&name))
}

pub fn read(body: &[u8]) -> Measured {
    let mut walk = BoxReader {
        tracks: [NO_TRACK; MAX_TRACKS],
        count: 0,
        fragment: None,
        movie: Time::ZERO,
        edited: 0,
        movie_scale: 0,
        unknown: false,
    };
    walk.boxes(body);
    walk.finish(body)
}

/// Parses a box header into its name, the offset of its content, and the offset of its end.
fn content(body: &[u8], at: usize, end: usize) -> Option<(&[u8], usize, usize)> {
    let name = body.get(at + 4..at + 8)?;
    let (head, size) = match be(body, at, 4)? {
        0 => (8, (end - at) as u64),
        1 => (16, be(body, at + 8, 8)?),
        size => (8, size),
    };
    (size >= head as u64).then(|| (name, at + head, place(at, size)))
}

impl BoxReader {
    /// Reads every box in its place. `ends` holds the ends of the open boxes; no box may end beyond its
    /// parent.
    fn boxes(&mut self, body: &[u8]) {
        let (mut ends, mut depth, mut at) = ([body.len(); MAX_DEPTH], 0, 0);
        loop {
            while depth > 0 && ends[depth].saturating_sub(at) < 8 {
                at = ends[depth];
                depth -= 1;
            }
            if ends[depth].saturating_sub(at) < 8 {
                return;
            }
            let Some((name, start, end)) = content(body, at, ends[depth]) else {
                self.unknown = true;
                return;
            };
            // Only a top-level `mdat` may be truncated.
            if end > ends[depth] || start > end {
                self.unknown |= depth > 0 || name != b"mdat";
                return;
            }
            if enters(name) {
                self.enter(name);
                depth += 1;
                if depth == MAX_DEPTH {
                    self.unknown = true;
                    return;
                }
                ends[depth] = end;
                at = start;
            } else {
                self.unknown |= self.leaf(name, &body[start..end]).is_none();
                at = end;
            }
        }
    }

    fn enter(&mut self, name: &[u8]) {
        match name {
            b"trak" if self.count == MAX_TRACKS => self.unknown = true,
            b"trak" => self.count += 1,
            b"traf" => self.fragment = None,
            _ => {}
        }
    }

    fn finish(&self, body: &[u8]) -> Measured {
        let edited = Time::scaled(self.edited, 1, self.movie_scale);
        let mut declared = self.movie.max(edited);
        let (mut most, mut likely, mut bounded) = (Time::ZERO, Time::ZERO, !self.unknown);
        let mut bytes = 0u64;
        for track in &self.tracks[..self.count] {
            if !track.sound {
                continue;
            }
            let lasts = Time::scaled(track.units.max(track.declared), 1, track.scale);
            declared = declared.max(lasts);
            bytes = bytes.saturating_add(track.bytes);
            let reading = track.codec.read(body, track.samples, track.bytes);
            bounded &= reading.bounded;
            most = most.plus(reading.most);
            likely = likely.max(reading.likely.unwrap_or(lasts.credible(reading.most)));
        }
        // More sample bytes than the file has: samples overlap, and decoders decode the same bytes again.
        bounded &= bytes <= body.len() as u64 && most > Time::ZERO;
        let mut reading = Measured::at_most(most, (likely > Time::ZERO).then_some(likely));
        reading.bounded = bounded;
        reading.declared(declared)
    }
}

/// Whether a box contains other boxes that are read.
fn enters(name: &[u8]) -> bool {
    const ENTERED: [&[u8]; 9] = [
        b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf",
    ];
    ENTERED.contains(&name)
}
