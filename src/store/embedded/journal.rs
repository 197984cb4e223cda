//! What was acknowledged and is not in the database yet.
//!
//! A change is written here, in one write, before it is acknowledged: that is enough to survive
//! kill -9, because what the system has taken it keeps. The database follows within milliseconds
//! with a real flush, and then the journal is emptied. Two files take turns, so that new changes
//! never wait for a flush. A record that was cut short by a crash was never acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const HEAD: usize = 4 + 8 + 8 + 2;

/// One change: the thing's name and its new bytes (`None`: it is gone).
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    pub sequence: u64,
    pub name: String,
    pub value: Option<Vec<u8>>,
}

/// Names hold keys, and values are records and configs.
impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Change({})", self.sequence)
    }
}

pub struct Journal {
    files: [File; 2],
    current: usize,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens both files and returns what they hold, in the order it was written.
    pub fn open(dir: &Path) -> io::Result<(Journal, Vec<Change>)> {
        let open = |name: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
        };
        let mut files = [open("journal.0")?, open("journal.1")?];
        let mut changes = Vec::new();
        for file in &mut files {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            read_changes(&bytes, &mut changes);
        }
        changes.sort_by_key(|change| change.sequence);
        Ok((
            Journal {
                files,
                current: 0,
                buffer: Vec::new(),
            },
            changes,
        ))
    }

    /// After this returns, the change outlives the process.
    pub fn append(&mut self, change: &Change) -> io::Result<()> {
        self.buffer.clear();
        encode(change, &mut self.buffer)?;
        let file = &mut self.files[self.current];
        let before = file.stream_position()?;
        file.write_all(&self.buffer).inspect_err(|_| {
            // A part of it may be there. It must not stand before what comes next.
            let _ = file
                .set_len(before)
                .and_then(|()| file.seek(SeekFrom::Start(before)));
        })
    }

    /// New changes go to the other file from now on. Returns the one to empty after the flush.
    pub fn turn(&mut self) -> usize {
        let full = self.current;
        self.current = 1 - full;
        full
    }

    pub fn empty(&mut self, file: usize) -> io::Result<()> {
        self.files[file].set_len(0)?;
        self.files[file].seek(SeekFrom::Start(0)).map(|_| ())
    }
}

fn encode(change: &Change, out: &mut Vec<u8>) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "too long for the journal");
    let value = change.value.as_deref().unwrap_or_default();
    let name_length = u16::try_from(change.name.len()).map_err(too_long)?;
    // A thing that is gone has no bytes; a thing that is there always has some.
    let length = u32::try_from(HEAD + change.name.len() + value.len()).map_err(too_long)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&change.sequence.to_le_bytes());
    out.extend_from_slice(&name_length.to_le_bytes());
    out.extend_from_slice(change.name.as_bytes());
    out.extend_from_slice(value);
    let sum = checksum(&out[12..]);
    out[4..12].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

fn read_changes(mut bytes: &[u8], changes: &mut Vec<Change>) {
    while let Some((change, rest)) = decode(bytes) {
        changes.push(change);
        bytes = rest;
    }
}

fn decode(bytes: &[u8]) -> Option<(Change, &[u8])> {
    let length = u32::from_le_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
    let record = bytes.get(..length).filter(|_| length >= HEAD)?;
    let sum = u64::from_le_bytes(record[4..12].try_into().ok()?);
    if sum != checksum(&record[12..]) {
        return None;
    }
    let sequence = u64::from_le_bytes(record[12..20].try_into().ok()?);
    let name_end = HEAD + u16::from_le_bytes(record[20..22].try_into().ok()?) as usize;
    let name = std::str::from_utf8(record.get(HEAD..name_end)?)
        .ok()?
        .to_owned();
    let value = &record[name_end..];
    let value = (!value.is_empty()).then(|| value.to_vec());
    Some((
        Change {
            sequence,
            name,
            value,
        },
        &bytes[length..],
    ))
}

/// FNV-1a: it has to tell a torn record from a whole one, nothing more.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(sequence: u64) -> Change {
        let value = (!sequence.is_multiple_of(3)).then(|| format!("v{sequence}").into_bytes());
        Change {
            sequence,
            name: format!("name-{sequence}"),
            value,
        }
    }

    proptest! {
        #[test]
        fn a_torn_tail_loses_only_what_was_never_acknowledged(count in 1u64..20, cut in 0usize..400) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for sequence in 0..count {
                let mut record = Vec::new();
                encode(&change(sequence), &mut record).unwrap();
                bytes.extend(record);
                ends.push(bytes.len());
            }
            let cut = cut.min(bytes.len());
            let mut read = Vec::new();
            read_changes(&bytes[..cut], &mut read);
            let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
            prop_assert_eq!(read, (0..whole).map(change).collect::<Vec<_>>());
        }

        #[test]
        fn a_flipped_bit_is_never_taken_for_a_change(at in 0usize..30, bit in 0u8..8) {
            let mut bytes = Vec::new();
            encode(&change(1), &mut bytes).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let mut read = Vec::new();
            read_changes(&bytes, &mut read);
            prop_assert!(read.is_empty());
        }
    }
}
