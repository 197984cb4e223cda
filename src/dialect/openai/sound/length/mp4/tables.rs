//! MP4 boxes that give the number, the durations and the bytes of samples. Every function returns `None` for
//! a box that is malformed, or that can lead a decoder elsewhere.

use super::super::bytes::be;
use super::super::time::Time;
use super::codec::Codec;
use super::{BoxReader, Track};

/// Offset of the fields of a box, after its version and flags.
const BODY: usize = 4;

impl BoxReader {
    /// Reads a box that contains no other boxes. `None`: the file has no bound.
    pub(super) fn leaf(&mut self, name: &[u8], bytes: &[u8]) -> Option<()> {
        match name {
            b"mvhd" => {
                let (scale, declared) = times(bytes)?;
                self.movie_scale = scale;
                self.movie = self.movie.max(Time::scaled(declared, 1, scale));
            }
            b"trex" => {
                let (id, units, size) = (be(bytes, 4, 4)?, be(bytes, 12, 4)?, be(bytes, 16, 4)?);
                let track = self.tracks[..self.count]
                    .iter_mut()
                    .find(|track| track.id == id)?;
                (track.default_units, track.default_bytes) = (units, size);
            }
            b"elst" => self.edits(bytes)?,
            b"tfhd" => self.fragment(bytes)?,
            b"trun" => self.run(bytes)?,
            // A compressed header (`cmov`), a header in another file (`rmra`), and sizes of 4 bits (`stz2`).
            b"cmov" | b"rmra" | b"stz2" => return None,
            b"tkhd" | b"mdhd" | b"hdlr" | b"stsd" | b"stts" | b"stsz" => {
                let track = self
                    .count
                    .checked_sub(1)
                    .and_then(|at| self.tracks.get_mut(at))?;
                track.leaf(name, bytes)?;
            }
            _ => {}
        }
        Some(())
    }

    /// Reads an edit list (`elst`). An edit may play the same samples again; an ordinary file has a pause and
    /// one edit.
    fn edits(&mut self, bytes: &[u8]) -> Option<()> {
        const MOST_EDITS: u64 = 2;
        let wide = *bytes.first()? == 1;
        let (entry_bytes, size) = if wide { (20, 8) } else { (12, 4) };
        let count = be(bytes, BODY, 4)?;
        let mut edited = 0u64;
        for entry in bytes
            .get(BODY + 4..)?
            .chunks_exact(entry_bytes)
            .take(count.min(MOST_EDITS) as usize)
        {
            edited = edited.saturating_add(be(entry, 0, size)?);
        }
        self.edited = self.edited.max(edited);
        (count <= MOST_EDITS).then_some(())
    }

    /// Reads a fragment's header (`tfhd`): its track, and the defaults of its samples.
    fn fragment(&mut self, bytes: &[u8]) -> Option<()> {
        let (flags, id) = (be(bytes, 1, 3)?, be(bytes, BODY, 4)?);
        let slot = self.tracks[..self.count]
            .iter()
            .position(|track| track.id == id)?;
        let mut at =
            BODY + 4 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 4 } else { 0 };
        let mut next = |flag: u64, default: u64| {
            if flags & flag == 0 {
                return Some(default);
            }
            at += 4;
            be(bytes, at - 4, 4)
        };
        let track = self.tracks[slot];
        let units = next(8, track.default_units)?;
        let size = next(16, track.default_bytes)?;
        self.fragment = Some((slot, units, size));
        Some(())
    }

    /// Adds the samples of a run (`trun`) to the track of the current fragment.
    fn run(&mut self, bytes: &[u8]) -> Option<()> {
        let (flags, count) = (be(bytes, 1, 3)?, be(bytes, BODY, 4)?);
        let (slot, units, size) = self.fragment?;
        let track = self.tracks.get_mut(slot)?;
        let start =
            BODY + 4 + if flags & 1 != 0 { 4 } else { 0 } + if flags & 4 != 0 { 4 } else { 0 };
        let fields = (flags >> 8 & 15).count_ones() as usize;
        track.samples = track.samples.saturating_add(count);
        if flags & 0x100 == 0 {
            track.units = track.units.saturating_add(units.saturating_mul(count));
        }
        if flags & 0x200 == 0 {
            track.bytes = track.bytes.saturating_add(size.saturating_mul(count));
        }
        if flags & 0x300 == 0 {
            return Some(());
        }
        let entries = bytes.get(start..)?;
        if (entries.len() / (4 * fields)) as u64 * 4 < count * 4 {
            return None;
        }
        for entry in entries.chunks_exact(4 * fields).take(count as usize) {
            let has_units = flags & 0x100 != 0;
            if has_units {
                track.units = track.units.saturating_add(be(entry, 0, 4)?);
            }
            if flags & 0x200 != 0 {
                track.bytes =
                    track
                        .bytes
                        .saturating_add(be(entry, if has_units { 4 } else { 0 }, 4)?);
            }
        }
        Some(())
    }
}

impl Track {
    fn leaf(&mut self, name: &[u8], bytes: &[u8]) -> Option<()> {
        match name {
            b"tkhd" => self.id = be(bytes, if *bytes.first()? == 1 { 20 } else { 12 }, 4)?,
            b"mdhd" => (self.scale, self.declared) = times(bytes)?,
            b"hdlr" => self.sound |= bytes.get(8..12)? == b"soun",
            b"stsd" => {
                // A second description could change the codec in the middle.
                if self.codec != Codec::Missing {
                    return None;
                }
                self.codec = Codec::of(bytes)?;
                self.sound |= self.codec.is_sound();
            }
            b"stts" => self.times(bytes)?,
            b"stsz" => self.sizes(bytes)?,
            _ => {}
        }
        Some(())
    }

    /// Adds the durations in a table of times (`stts`).
    fn times(&mut self, bytes: &[u8]) -> Option<()> {
        let count = be(bytes, BODY, 4)? as usize;
        for entry in bytes.get(BODY + 4..)?.chunks_exact(8).take(count) {
            let units = be(entry, 0, 4)?.saturating_mul(be(entry, 4, 4)?);
            self.units = self.units.saturating_add(units);
        }
        Some(())
    }

    /// Adds the number of samples and their bytes in a table of sizes (`stsz`).
    fn sizes(&mut self, bytes: &[u8]) -> Option<()> {
        let (size, count) = (be(bytes, BODY, 4)?, be(bytes, BODY + 4, 4)?);
        self.samples = self.samples.saturating_add(count);
        if size > 0 {
            self.bytes = self.bytes.saturating_add(size.saturating_mul(count));
            return Some(());
        }
        let sizes = bytes.get(BODY + 8..)?;
        for size in sizes.chunks_exact(4).take(count as usize) {
            self.bytes = self.bytes.saturating_add(be(size, 0, 4)?);
        }
        ((sizes.len() / 4) as u64 >= count).then_some(())
    }
}

/// Returns time scale and duration of an `mvhd` or `mdhd` of either version. An unknown duration is 0.
fn times(bytes: &[u8]) -> Option<(u64, u64)> {
    let unknown = |value: u64, all: u64| if value == all { 0 } else { value };
    if *bytes.first()? == 1 {
        return Some((be(bytes, 20, 4)?, unknown(be(bytes, 24, 8)?, u64::MAX)));
    }
    Some((
        be(bytes, 12, 4)?,
        unknown(be(bytes, 16, 4)?, u64::from(u32::MAX)),
    ))
}
