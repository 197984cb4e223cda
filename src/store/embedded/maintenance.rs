//! Operator commands on an embedded store that no gateway has open: check, backup, restore.
//!
//! A backup is one file: a format line, each value as a numbered record with a checksum, and a mark with
//! their count. A backup is restored as a whole or not at all.

use super::journal::{self, Change, Journal};
use super::{copying, database};
use crate::rules::record;
use crate::store::boot::Boot;
use crate::store::contents::Contents;
use crate::store::stored::{Altered, Stored};
use crate::store::{folder, name};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// First line of a backup, with its format version.
const BACKUP: &[u8] = b"resullm backup 1\n";

/// Counts the contents of a store and lists every fault, one line each. `Err`: the store cannot be opened.
pub(crate) fn check(dir: &Path) -> Result<(Contents, Vec<String>), String> {
    let path = database::file(dir);
    if !path.exists() {
        return Err(format!("there is no store in {}", dir.display()));
    }
    let mut database = database::open(dir)?;
    let mut faults = Vec::new();
    let mut contents = Contents::default();
    let unreadable = |error: redb::Error| database::damaged(&path, &error);
    let is_sealed = database::is_sealed(&database).map_err(unreadable)?;
    let done = database::progress(&database).map_err(unreadable)?;
    let boot = database::boot(&database).map_err(unreadable)?;
    let changes = match Journal::read(dir, Boot::of(boot.as_deref())) {
        Ok(held) => {
            if held.mark > done {
                let why = format!("it has {done} changes and had {}", held.mark);
                faults.push(database::damaged(&path, &why));
            }
            held.changes
        }
        Err(fault) => {
            faults.push(fault);
            Vec::new()
        }
    };
    let later = changes.into_iter().filter(|change| change.sequence > done);
    let mut journalled: BTreeMap<String, Option<Vec<u8>>> =
        later.map(|change| (change.name, change.value)).collect();
    contents.in_journal = Some(journalled.len() as u64);
    let read = database::each(&database, "", |name, bytes| {
        match journalled.remove(name) {
            Some(None) => {}
            Some(Some(bytes)) => count(&mut contents, name, &bytes, true, &mut faults),
            None => count(&mut contents, name, bytes, is_sealed, &mut faults),
        }
        true
    });
    if let Err(error) = read {
        faults.push(unreadable(error));
    }
    for (name, value) in journalled {
        if let Some(bytes) = value {
            count(&mut contents, &name, &bytes, true, &mut faults);
        }
    }
    // Last, because `verify_pages` repairs unused pages.
    if let Err(fault) = database::verify_pages(&mut database, &path) {
        faults.push(fault);
    }
    Ok((contents, faults))
}

/// Counts one stored value, and lists its fault.
fn count(
    contents: &mut Contents,
    name: &str,
    bytes: &[u8],
    is_sealed: bool,
    faults: &mut Vec<String>,
) {
    let stored = if is_sealed {
        Stored::decode(name, bytes)
    } else {
        Stored::sealed(name, bytes).and_then(|bytes| Stored::decode(name, &bytes))
    };
    let counted = match stored {
        Ok(stored) => contents.count(name, &stored),
        Err(Altered) => Err(record::Damage::Altered.to_string()),
    };
    if let Err(why) = counted {
        faults.push(format!("{}: {why}", name::id(name)));
    }
}

/// Copies a store into the new file `to` and returns the number of values.
pub fn backup(dir: &Path, to: &Path) -> Result<u64, String> {
    let cannot = |error: &dyn Display| format!("cannot write {}: {error}", to.display());
    if !database::file(dir).exists() {
        return Err(format!("there is no store in {}", dir.display()));
    }
    if to.exists() {
        return Err(cannot(&"it exists, and a backup is never written over"));
    }
    let database = copying::settled(dir)?;
    // Mode 0600: the file holds the clients' keys and the providers' credentials.
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let file = options.open(to).map_err(|error| cannot(&error))?;
    let written = copy(&database, file).and_then(|count| {
        folder::flush(folder::above(to))?;
        Ok(count)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(to);
        cannot(&error)
    })
}

fn copy(database: &redb::Database, file: File) -> io::Result<u64> {
    let mut out = BufWriter::new(file);
    out.write_all(BACKUP)?;
    let mut count = 0;
    let mut failed = Ok(());
    database::each(database, "", |name, bytes| {
        count += 1;
        let record = Change {
            sequence: count,
            name: name.to_owned(),
            value: Some(bytes.to_vec()),
        };
        failed = journal::encoded(&record).and_then(|record| out.write_all(&record));
        failed.is_ok()
    })
    .map_err(io::Error::other)?;
    failed?;
    out.write_all(&journal::encoded(&Change::mark(count))?)?;
    out.into_inner()?.sync_all()?;
    Ok(count)
}

/// Restores a backup into `dir`, which must be empty or missing, and returns the number of values.
pub fn restore(dir: &Path, from: &Path) -> Result<u64, String> {
    let things = read_backup(from)?;
    let at = |what: &str, error: &dyn Display| format!("cannot {what} {}: {error}", dir.display());
    let found = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().transpose(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    if let Some(entry) = found.map_err(|error| at("read", &error))? {
        let name = entry.file_name();
        let why = format!(
            "{} is in it; move the directory away first",
            name.to_string_lossy()
        );
        return Err(at("restore into", &why));
    }
    database::create(dir, things.iter().map(|(name, stored)| (name, stored)))?;
    Ok(things.len() as u64)
}

/// Returns the values of a backup, after the checksum of every record was verified.
fn read_backup(from: &Path) -> Result<Vec<(String, Stored)>, String> {
    let bad = |why: &dyn Display| format!("{} is no good backup: {why}", from.display());
    let bytes =
        fs::read(from).map_err(|error| format!("cannot read {}: {error}", from.display()))?;
    let mut rest = bytes
        .strip_prefix(BACKUP)
        .ok_or_else(|| bad(&"it does not begin as one"))?;
    let mut things = Vec::new();
    loop {
        let at = bytes.len() - rest.len();
        let damaged = || bad(&format!("it is damaged at byte {at}"));
        let (record, length) = journal::next(rest)
            .map_err(|_| damaged())?
            .ok_or_else(damaged)?;
        rest = &rest[length..];
        match record {
            Change {
                sequence,
                name,
                value: Some(value),
            } if sequence == things.len() as u64 + 1 && !name.is_empty() => {
                let stored = Stored::decode(&name, &value).map_err(|Altered| damaged())?;
                things.push((name, stored));
            }
            mark if mark == Change::mark(things.len() as u64) && rest.is_empty() => {
                return Ok(things);
            }
            _ => return Err(damaged()),
        }
    }
}
