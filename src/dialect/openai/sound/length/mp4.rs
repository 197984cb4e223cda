//! MP4, M4A, 3GP and QuickTime: the samples that the tables of the tracks of sound, and the runs of
//! their fragments, lead to. It must never trust the durations beside them, nor follow an edit.

use super::bytes::{be, place};
use super::reading::Reading;
use super::time::Time;

mod codec;
mod tables;

use codec::Codec;

const MOST_TRACKS: usize = 8;
const MOST_DEPTH: usize = 8;

/// A track, as far as its boxes have been read.
#[derive(Clone, Copy, Debug)]
struct Track {
    id: u64,
    sound: bool,
    codec: Codec,
    /// Units per second of the durations.
    scale: u64,
    declared: u64,
    /// Of the table of times, and of the runs.
    units: u64,
    samples: u64,
    bytes: u64,
    /// What a sample of a fragment is where its run does not say.
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

struct Walk {
    tracks: [Track; MOST_TRACKS],
    count: usize,
    /// The track of the fragment, and what its samples are by default.
    fragment: Option<(usize, u64, u64)>,
    movie: Time,
    edited: u64,
    movie_scale: u64,
    unknown: bool,
}

/// Whether the first box is one that a file begins with.
pub fn starts(body: &[u8]) -> bool {
    const FIRST: [&[u8]; 10] = [
        b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof", b"sidx", b"pnot",
    ];
    body.get(4..8).is_some_and(|name| FIRST.contains(&name))
}

pub fn read(body: &[u8]) -> Reading {
    let mut walk = Walk {
        tracks: [NO_TRACK; MOST_TRACKS],
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

/// The content of a box and its end.
fn content(body: &[u8], at: usize, end: usize) -> Option<(&[u8], usize, usize)> {
    let name = body.get(at + 4..at + 8)?;
    let (head, size) = match be(body, at, 4)? {
        0 => (8, (end - at) as u64),
        1 => (16, be(body, at + 8, 8)?),
        size => (8, size),
    };
    (size >= head as u64).then(|| (name, at + head, place(at, size)))
}

impl Walk {
    /// Every box in its place. The ends of the boxes that are open are kept, and none may reach
    /// beyond that of its parent.
    fn boxes(&mut self, body: &[u8]) {
        let (mut ends, mut depth, mut at) = ([body.len(); MOST_DEPTH], 0, 0);
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
            // The data may be cut off; no other box.
            if end > ends[depth] || start > end {
                self.unknown |= depth > 0 || name != b"mdat";
                return;
            }
            if enters(name) {
                self.enter(name);
                depth += 1;
                if depth == MOST_DEPTH {
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
            b"trak" if self.count == MOST_TRACKS => self.unknown = true,
            b"trak" => self.count += 1,
            b"traf" => self.fragment = None,
            _ => {}
        }
    }

    fn finish(&self, body: &[u8]) -> Reading {
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
            let honest = lasts > Time::ZERO && lasts <= reading.most;
            let counted = reading
                .likely
                .unwrap_or(if honest { lasts } else { Time::ZERO });
            likely = likely.max(counted);
        }
        // Samples may lie over each other: the same bytes are then decoded again.
        bounded &= bytes <= body.len() as u64 && most > Time::ZERO;
        let mut reading = Reading::at_most(most, (likely > Time::ZERO).then_some(likely));
        reading.bounded = bounded;
        reading.declared(declared)
    }
}

/// The boxes whose content is boxes that matter.
fn enters(name: &[u8]) -> bool {
    const ENTERED: [&[u8]; 9] = [
        b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf",
    ];
    ENTERED.contains(&name)
}
