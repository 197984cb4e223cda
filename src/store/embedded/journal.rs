//! The write-ahead journal: changes that are acknowledged and not in the database yet.
//!
//! A change is written here in one write before it is acknowledged. That survives kill -9, because the kernel
//! keeps every completed write. The database follows within milliseconds with a real fsync, then the journal
//! is emptied. Two files take turns, so that new changes never wait for a flush. A truncated record was never
//! acknowledged. A complete but wrong record was, and then the whole journal is refused.
//!
//! The files themselves are never fsynced, so after a power loss anything may be missing. Changes that had to
//! survive one are in the database; of the rest, the records before the first fault are used.
//!
//! Each file begins with a mark: the sequence number up to which the database had everything. A database that
//! is behind a mark has gone back in time.

use crate::store::boot::Boot;
use crate::store::checksum;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a record's header: length, length checksum, record checksum, sequence number, length of the name.
const HEAD: usize = 4 + 4 + 8 + 8 + 2;
const FILES: [&str; 2] = ["changes.0", "changes.1"];
/// Files of earlier versions, whose records had weaker checksums.
const EARLIER: [&str; 2] = ["journal.0", "journal.1"];

/// One change: the value's name and its new bytes (`None`: it is removed).
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    pub sequence: u64,
    pub name: String,
    pub value: Option<Vec<u8>>,
}

/// Prints the sequence number only: names hold keys, and values are records and configs.
impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Change({})", self.sequence)
    }
}

/// Contents of the journal files, in the order of `sequence`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub changes: Vec<Change>,
    /// Sequence number up to which the database has had everything.
    pub mark: u64,
}

pub struct Journal {
    dir: PathBuf,
    files: [Half; 2],
    current: usize,
    buffer: Vec<u8>,
}

struct Half {
    file: File,
    length: u64,
    /// Whether bytes of a failed write are left behind `length`.
    torn: bool,
}

impl Change {
    /// Returns a mark: not a change, but the sequence number that the database has reached.
    pub fn mark(sequence: u64) -> Change {
        Change {
            sequence,
            name: String::new(),
            value: None,
        }
    }
}

impl Journal {
    /// Reads both files without changing them.
    pub fn read(dir: &Path, boot: Boot) -> Result<Held, String> {
        let mut held = Held::default();
        for path in FILES.map(|name| dir.join(name)) {
            match fs::read(&path) {
                Ok(bytes) => read_file(&path, &bytes, boot, &mut held)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            }
        }
        held.changes.sort_by_key(|change| change.sequence);
        Ok(held)
    }

    /// Opens or creates both files, and returns what they hold.
    pub fn open(dir: &Path, boot: Boot) -> Result<(Journal, Held), String> {
        let mut held = Held::default();
        let mut open = |name: &str| {
            let path = dir.join(name);
            let cannot = |error: io::Error| format!("cannot open {}: {error}", path.display());
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(cannot)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(cannot)?;
            read_file(&path, &bytes, boot, &mut held)?;
            Ok::<Half, String>(Half {
                file,
                length: bytes.len() as u64,
                torn: false,
            })
        };
        let files = [open(FILES[0])?, open(FILES[1])?];
        held.changes.sort_by_key(|change| change.sequence);
        let journal = Journal {
            dir: dir.to_owned(),
            files,
            current: 0,
            buffer: Vec::new(),
        };
        Ok((journal, held))
    }

    /// Reads the journal of an earlier version, in the order of `sequence`.
    pub fn earlier(dir: &Path) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        for name in EARLIER {
            match fs::read(dir.join(name)) {
                Ok(bytes) => read_earlier(&bytes, &mut changes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        changes.sort_by_key(|change| change.sequence);
        Ok(changes)
    }

    /// Deletes the files of earlier versions. The database must have all of their changes, and have recorded
    /// that.
    pub(crate) fn forget_earlier(&self) -> io::Result<()> {
        for name in EARLIER {
            match fs::remove_file(self.dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends a change. Once this returns, the change survives kill -9.
    pub fn append(&mut self, change: &Change) -> io::Result<()> {
        self.buffer.clear();
        encode(change, &mut self.buffer)?;
        let half = &mut self.files[self.current];
        half.cut()?;
        if let Err(error) = half.file.write_all_at(&self.buffer, half.length) {
            // Part of the record may be written. It must not precede the next record.
            half.torn = true;
            let _ = half.cut();
            return Err(error);
        }
        half.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Calls fsync on both files, so that their present contents are all that any crash can leave.
    pub fn flush(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|half| half.file.sync_data())
    }

    /// Directs new changes to the other file. Returns the index of the file to empty after the flush.
    pub fn turn(&mut self) -> usize {
        let full = self.current;
        self.current = 1 - full;
        full
    }

    /// Empties a file and writes a new mark to it. The database must have everything up to `mark`.
    pub fn empty(&mut self, file: usize, mark: u64) -> io::Result<()> {
        let record = encoded(&Change::mark(mark))?;
        let half = &mut self.files[file];
        // The mark replaces the previous one in place, so it fits on a full disk. Everything behind it is cut
        // off first, so that no crash leaves half a record.
        half.length = half.length.min(HEAD as u64);
        half.torn = true;
        half.cut()?;
        half.file.write_all_at(&record, 0)?;
        half.length = HEAD as u64;
        Ok(())
    }
}

impl Half {
    fn cut(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        Ok(())
    }
}

fn damaged(path: &Path, at: usize) -> String {
    format!("{} is damaged at byte {at}", path.display())
}

fn read_file(path: &Path, bytes: &[u8], boot: Boot, held: &mut Held) -> Result<(), String> {
    match (read_changes(bytes, held), boot) {
        (Err(at), Boot::Same) => Err(damaged(path, at)),
        (Err(at), Boot::Other) => {
            log::warn!(
                "{} is torn at byte {at}, as after a loss of power: it is recovered up to there, and changes that were not flushed are lost",
                path.display()
            );
            Ok(())
        }
        (Ok(()), _) => Ok(()),
    }
}

fn length_sum(length: u32) -> u32 {
    checksum::of(b"length", &length.to_le_bytes()) as u32
}

pub fn encoded(change: &Change) -> io::Result<Vec<u8>> {
    let mut record = Vec::new();
    encode(change, &mut record)?;
    Ok(record)
}

fn encode(change: &Change, out: &mut Vec<u8>) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "too long for the journal");
    let value = change.value.as_deref().unwrap_or_default();
    let name_length = u16::try_from(change.name.len()).map_err(too_long)?;
    // A removed value has no bytes; a stored one always has some.
    let length = u32::try_from(HEAD + change.name.len() + value.len()).map_err(too_long)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&length_sum(length).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&change.sequence.to_le_bytes());
    out.extend_from_slice(&name_length.to_le_bytes());
    out.extend_from_slice(change.name.as_bytes());
    out.extend_from_slice(value);
    let sum = checksum::of(b"change", &out[16..]);
    out[8..16].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// Reads all complete records. `Err`: byte offset of a complete but wrong one.
fn read_changes(bytes: &[u8], held: &mut Held) -> Result<(), usize> {
    let mut at = 0;
    while let Some((change, length)) = next(&bytes[at..]).map_err(|Wrong| at)? {
        if change.name.is_empty() {
            held.mark = held.mark.max(change.sequence);
        } else {
            held.changes.push(change);
        }
        at += length;
    }
    Ok(())
}

/// Error: a complete record with a wrong checksum.
#[derive(Debug)]
pub struct Wrong;

/// Parses the next record and returns its length. `None`: no record is left, or the last one is truncated.
pub fn next(bytes: &[u8]) -> Result<Option<(Change, usize)>, Wrong> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(four))
    };
    let (Some(length), Some(sum)) = (number(0), number(4)) else {
        return Ok(None);
    };
    if sum != length_sum(length) {
        // After a power loss a file can be longer than its data, filled with zeros.
        let unwritten = bytes.iter().all(|byte| *byte == 0);
        return if unwritten { Ok(None) } else { Err(Wrong) };
    }
    let length = length as usize;
    let Some(record) = bytes.get(..length) else {
        return Ok(None);
    };
    whole(record)
        .map(|change| Some((change, length)))
        .ok_or(Wrong)
}

fn whole(record: &[u8]) -> Option<Change> {
    let sum = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
    if sum != checksum::of(b"change", &record[16..]) {
        return None;
    }
    let sequence = u64::from_le_bytes(record.get(16..24)?.try_into().ok()?);
    let name_end = HEAD + u16::from_le_bytes(record.get(24..26)?.try_into().ok()?) as usize;
    let name = std::str::from_utf8(record.get(HEAD..name_end)?).ok()?;
    let value = &record[name_end..];
    Some(Change {
        sequence,
        name: name.to_owned(),
        value: (!value.is_empty()).then(|| value.to_vec()),
    })
}

/// Reads the records of earlier versions. A truncated record cannot be told from later damage there, so the
/// first malformed one ends the file.
fn read_earlier(mut bytes: &[u8], changes: &mut Vec<Change>) {
    while let Some((change, rest)) = decode_earlier(bytes) {
        changes.push(change);
        bytes = rest;
    }
}

fn decode_earlier(bytes: &[u8]) -> Option<(Change, &[u8])> {
    const HEAD: usize = 4 + 8 + 8 + 2;
    let length = u32::from_le_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
    let record = bytes.get(..length).filter(|_| length >= HEAD)?;
    let sum = u64::from_le_bytes(record[4..12].try_into().ok()?);
    if sum != earlier_checksum(&record[12..]) {
        return None;
    }
    let sequence = u64::from_le_bytes(record[12..20].try_into().ok()?);
    let name_end = HEAD + u16::from_le_bytes(record[20..22].try_into().ok()?) as usize;
    let name = std::str::from_utf8(record.get(HEAD..name_end)?).ok()?;
    let value = &record[name_end..];
    let change = Change {
        sequence,
        name: name.to_owned(),
        value: (!value.is_empty()).then(|| value.to_vec()),
    };
    Some((change, &bytes[length..]))
}

/// Returns the FNV-1a checksum that earlier versions wrote.
fn earlier_checksum(bytes: &[u8]) -> u64 {
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

    fn written(count: u64) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for sequence in 0..count {
            bytes.extend(encoded(&change(sequence)).unwrap());
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> Result<Vec<Change>, usize> {
        let mut held = Held::default();
        read_changes(bytes, &mut held)?;
        Ok(held.changes)
    }

    proptest! {
        #[test]
        fn a_torn_tail_loses_only_what_was_never_acknowledged(
            count in 1u64..20,
            cut: prop::sample::Index,
            unwritten in 0usize..40,
        ) {
            let (mut bytes, ends) = written(count);
            bytes.truncate(cut.index(bytes.len() + 1));
            let whole = ends.iter().filter(|end| **end <= bytes.len()).count() as u64;
            let expected: Vec<_> = (0..whole).map(change).collect();
            prop_assert_eq!(read(&bytes), Ok(expected.clone()));
            if ends.contains(&bytes.len()) {
                bytes.extend(vec![0; unwritten]);
                prop_assert_eq!(read(&bytes), Ok(expected));
            }
        }

        #[test]
        fn changed_byte_is_reported_at_its_record(
            count in 1u64..20,
            at: prop::sample::Index,
            flip in 1u8..=255,
        ) {
            let (mut bytes, ends) = written(count);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let start = ends.iter().copied().filter(|end| *end <= at).max().unwrap_or(0);
            prop_assert_eq!(read(&bytes), Err(start));
        }
    }

    #[test]
    fn journal_after_a_power_loss_is_read_up_to_its_first_fault() {
        let (mut bytes, ends) = written(4);
        bytes[ends[1]..ends[2]].fill(0);
        for (boot, expected) in [
            (Boot::Same, None),
            (Boot::Other, Some(vec![change(0), change(1)])),
        ] {
            let mut held = Held::default();
            let read = read_file(Path::new("changes.0"), &bytes, boot, &mut held);
            assert_eq!(read.ok().map(|()| held.changes), expected, "{boot:?}");
        }
    }

    #[test]
    fn journal_of_an_earlier_version_is_read() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&26u32.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&7u64.to_le_bytes());
        bytes.extend_from_slice(&3u16.to_le_bytes());
        bytes.extend_from_slice(b"abcd");
        let sum = earlier_checksum(&bytes[12..]);
        bytes[4..12].copy_from_slice(&sum.to_le_bytes());
        let mut changes = Vec::new();
        read_earlier(&[&bytes[..], b"torn"].concat(), &mut changes);
        let expected = Change {
            sequence: 7,
            name: "abc".to_owned(),
            value: Some(b"d".to_vec()),
        };
        assert_eq!(changes, [expected]);
    }
}
