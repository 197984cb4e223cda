//! The database file: its tables, its transactions and its verification.
//!
//! redb stores checksums of its pages but does not verify them when it reads. The whole file is therefore
//! verified when it is opened, and each value's own checksum whenever it is read. A file that fails must be
//! refused: a balance is never guessed.

use super::catch_panic::catching_panics;
use crate::rules::amount::Millis;
use crate::store::stored::{Altered, Stored};
use crate::store::{folder, name};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Words of the error where another process has the store.
pub(crate) const IN_USE: &str = "is in use by another process";
/// Stored values by name.
const THINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("things");
/// Expiry in milliseconds and name of each value that expires, for the flusher to delete it.
const EXPIRIES: TableDefinition<(u64, &str), ()> = TableDefinition::new("expiries");
/// Sequence number of the latest change in the database, so that no older one is replayed over it.
const PROGRESS: TableDefinition<(), u64> = TableDefinition::new("progress");
/// Format version. From [`SEALED`] on, every value has a checksum; without this row the format is 1.
const FORMAT: TableDefinition<(), u64> = TableDefinition::new("format");
const SEALED: u64 = 2;
/// Boot ID of the machine under which the journal was written.
const BOOT: TableDefinition<(), &str> = TableDefinition::new("boot");

/// Maximum number of expired values deleted per commit.
const CLEARED: usize = 1_000;
/// Maximum number of damaged values that an error message names.
const NAMED: usize = 5;

/// A change of one value that is not in the database yet. `value: None` removes it.
pub struct Pending {
    pub value: Option<Vec<u8>>,
    pub expires: Option<Millis>,
}

/// All changes up to `sequence` that the database lacks. `file`: index of the journal file that has them.
#[derive(Default)]
pub(crate) struct Batch {
    pub changes: HashMap<String, Pending>,
    pub sequence: u64,
    pub file: Option<usize>,
}

impl Batch {
    pub fn bytes(&self) -> usize {
        let changes = self.changes.iter();
        let size = |(name, change): (&String, &Pending)| {
            name.len() + change.value.as_ref().map_or(0, Vec::len)
        };
        changes.map(size).sum()
    }
}

pub fn file(dir: &Path) -> PathBuf {
    dir.join("resullm.redb")
}

/// Returns the operator's error message for the damaged file `path`.
pub fn damaged(path: &Path, why: &dyn Display) -> String {
    format!(
        "{} is damaged: {why}; `resullm store check` names what is hit, `resullm store restore` brings a backup back",
        path.display()
    )
}

/// Opens the database file, or creates it. Fails if another process has it open.
pub fn open(dir: &Path) -> Result<Database, String> {
    let path = file(dir);
    catching_panics(|| {
        make(dir, &path)?;
        match Database::create(&path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => Ok(None),
            opened => opened.map(Some).map_err(redb::Error::from),
        }
    })
    .map_err(|error| match error {
        redb::Error::Corrupted(why) => damaged(&path, &why),
        redb::Error::Io(error) if is_nonsense(error.kind()) => damaged(&path, &error),
        // The version number has no checksum, so a wrong one is damage.
        redb::Error::UpgradeRequired(version) => {
            damaged(&path, &format!("it claims to have file format {version}"))
        }
        error => format!("cannot open {}: {error}", path.display()),
    })?
    .ok_or_else(|| {
        let pid = std::fs::read_to_string(dir.join("pid"));
        let pid = pid.map(|pid| format!(" (pid {})", pid.trim()));
        format!(
            "{} {IN_USE}{}; an embedded store serves one process at a time, so stop that one first",
            dir.display(),
            pid.unwrap_or_default()
        )
    })
}

/// Creates the file if it is missing: written and flushed under a temporary name, then renamed, so that a
/// power loss leaves no partial database. Then flushes `dir` and its parent directory.
fn make(dir: &Path, path: &Path) -> Result<(), redb::Error> {
    let turn = File::open(dir)?;
    if !path.exists() {
        // Two starting processes must not both create it. Not every file system can lock a directory.
        let _ = turn.lock();
    }
    if !path.exists() {
        let new = path.with_extension("redb.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        drop(Database::create(&new)?);
        File::open(&new)?.sync_all()?;
        fs::rename(&new, path)?;
    }
    folder::flush(dir)?;
    Ok(folder::flush(folder::above(dir))?)
}

/// Whether the disk read without an error, but what it returned is no database.
fn is_nonsense(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(kind, InvalidData | UnexpectedEof)
}

/// Verifies every page and every value, before anything in the file is used.
pub(crate) fn verify(database: &mut Database, path: &Path) -> Result<(), String> {
    // Pages first: a damaged page can point to gigabytes, which reading the values would follow.
    verify_pages(database, path)?;
    let bad = |error: redb::Error| damaged(path, &error);
    if is_sealed(database).map_err(bad)? {
        let altered = altered(database).map_err(bad)?;
        if !altered.is_empty() {
            let names: Vec<String> = altered.iter().take(NAMED).map(|n| name::id(n)).collect();
            let more = if altered.len() > NAMED { ", …" } else { "" };
            let why = format!(
                "{} things in it are not what was written: {}{more}",
                altered.len(),
                names.join(", ")
            );
            return Err(damaged(path, &why));
        }
    }
    Ok(())
}

/// Verifies every page, not the values. redb may repair pages that are not in use.
pub(crate) fn verify_pages(database: &mut Database, path: &Path) -> Result<(), String> {
    let bad = |error: redb::Error| damaged(path, &error);
    let before = progress(database).map_err(bad)?;
    let clean = catching_panics(|| database.check_integrity()).map_err(bad)?;
    if progress(database).map_err(bad)? != before {
        return Err(damaged(path, &"its latest state cannot be read"));
    }
    if !clean {
        log::warn!(
            "{} was not closed cleanly and was repaired; nothing in it is lost",
            path.display()
        );
    }
    Ok(())
}

pub fn is_sealed(database: &Database) -> Result<bool, redb::Error> {
    Ok(number(database, FORMAT)? == Some(SEALED))
}

pub fn progress(database: &Database) -> Result<u64, redb::Error> {
    Ok(number(database, PROGRESS)?.unwrap_or(0))
}

/// Boot ID of the machine under which the journal was written.
pub fn boot(database: &Database) -> Result<Option<String>, redb::Error> {
    catching_panics(|| match database.begin_read()?.open_table(BOOT) {
        Ok(table) => Ok::<_, redb::Error>(table.get(())?.map(|id| id.value().to_owned())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// Stores `id` as the boot ID under which the journal is written from now on.
pub(crate) fn note_boot(database: &Database, id: &str) -> Result<(), redb::Error> {
    catching_panics(|| {
        let transaction = database.begin_write()?;
        transaction.open_table(BOOT)?.insert((), id)?;
        transaction.commit()?;
        Ok::<_, redb::Error>(())
    })
}

fn number(
    database: &Database,
    table: TableDefinition<(), u64>,
) -> Result<Option<u64>, redb::Error> {
    catching_panics(|| match database.begin_read()?.open_table(table) {
        Ok(table) => Ok::<_, redb::Error>(table.get(())?.map(|number| number.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// Returns the names of values with a wrong checksum.
fn altered(database: &Database) -> Result<Vec<String>, redb::Error> {
    let mut altered = Vec::new();
    each(database, "", |name, bytes| {
        if !Stored::is_whole(name, bytes) {
            altered.push(name.to_owned());
        }
        true
    })?;
    Ok(altered)
}

/// Calls `see` with each value whose name begins with `prefix`, in the order of names, until it returns
/// false.
pub fn each(
    database: &Database,
    prefix: &str,
    mut see: impl FnMut(&str, &[u8]) -> bool,
) -> Result<(), redb::Error> {
    catching_panics(|| {
        let table = match database.begin_read()?.open_table(THINGS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table?,
        };
        for row in table.range(prefix..)? {
            let (name, bytes) = row?;
            if !name.value().starts_with(prefix) || !see(name.value(), bytes.value()) {
                break;
            }
        }
        Ok::<_, redb::Error>(())
    })
}

pub fn get(database: &Database, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    catching_panics(|| {
        let table = database.begin_read()?.open_table(THINGS)?;
        Ok::<_, redb::Error>(table.get(name)?.map(|bytes| bytes.value().to_vec()))
    })
}

/// Returns the last `most` values whose names begin with `prefix`, the last one first.
pub fn newest(
    database: &Database,
    prefix: &str,
    most: usize,
) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    catching_panics(|| {
        let table = database.begin_read()?.open_table(THINGS)?;
        let end = format!("{prefix}\u{7f}");
        let mut things = Vec::new();
        for row in table.range(prefix..end.as_str())?.rev().take(most) {
            let (name, bytes) = row?;
            things.push((name.value().to_owned(), bytes.value().to_vec()));
        }
        Ok::<_, redb::Error>(things)
    })
}

/// Commits a batch and, given `now`, deletes up to [`CLEARED`] expired values. Returns the deleted names.
pub(crate) fn commit(
    database: &Database,
    batch: &Batch,
    now: Option<Millis>,
) -> Result<Vec<String>, redb::Error> {
    catching_panics(|| {
        let transaction = database.begin_write()?;
        let mut cleared = Vec::new();
        {
            let mut things = transaction.open_table(THINGS)?;
            let mut expiries = transaction.open_table(EXPIRIES)?;
            for (name, change) in &batch.changes {
                match &change.value {
                    Some(value) => things.insert(name.as_str(), value.as_slice())?,
                    None => things.remove(name.as_str())?,
                };
                if let Some(expires) = change.expires {
                    expiries.insert((expires.0, name.as_str()), ())?;
                }
            }
            let mut due = Vec::new();
            if let Some(now) = now {
                for row in expiries.range(..(now.0, ""))?.take(CLEARED) {
                    let (key, _) = row?;
                    let (expires, name) = key.value();
                    due.push((expires, name.to_owned()));
                }
            }
            for (expires, name) in due {
                expiries.remove((expires, name.as_str()))?;
                things.remove(name.as_str())?;
                cleared.push(name);
            }
            transaction
                .open_table(PROGRESS)?
                .insert((), batch.sequence)?;
        }
        transaction.commit()?;
        Ok::<_, redb::Error>(cleared)
    })
}

/// Migrates format 1 to 2 in one transaction: adds a checksum to every value.
pub fn seal(database: &Database) -> Result<Result<(), Altered>, redb::Error> {
    catching_panics(|| {
        let transaction = database.begin_write()?;
        {
            let mut things = transaction.open_table(THINGS)?;
            let mut sealed = Vec::new();
            for row in things.iter()? {
                let (name, bytes) = row?;
                match Stored::sealed(name.value(), bytes.value()) {
                    Ok(bytes) => sealed.push((name.value().to_owned(), bytes)),
                    Err(Altered) => return Ok(Err(Altered)),
                }
            }
            for (name, bytes) in &sealed {
                things.insert(name.as_str(), bytes.as_slice())?;
            }
            transaction.open_table(FORMAT)?.insert((), SEALED)?;
        }
        transaction.commit()?;
        Ok::<_, redb::Error>(Ok(()))
    })
}

/// Makes a directory and a whole store in it; a failure leaves no store there.
pub(crate) fn create<'t>(
    dir: &Path,
    all: impl Iterator<Item = (&'t String, &'t Stored)>,
) -> Result<(), String> {
    let at = |what: &str, error: &dyn Display| format!("cannot {what} {}: {error}", dir.display());
    folder::make(dir).map_err(|error| at("create", &error))?;
    let filled = open(dir).and_then(|mut database| {
        fill(&database, all).map_err(|error| at("write to", &error))?;
        verify(&mut database, &file(dir))
    });
    filled.inspect_err(|_| {
        let _ = fs::remove_file(file(dir));
    })
}

/// Writes all values of a new store in one transaction.
fn fill<'t>(
    database: &Database,
    all: impl Iterator<Item = (&'t String, &'t Stored)>,
) -> Result<(), redb::Error> {
    catching_panics(|| {
        let transaction = database.begin_write()?;
        {
            let mut things = transaction.open_table(THINGS)?;
            let mut expiries = transaction.open_table(EXPIRIES)?;
            for (name, stored) in all {
                let bytes = stored
                    .encode(name)
                    .map_err(|error| redb::Error::Io(error.into()))?;
                things.insert(name.as_str(), bytes.as_slice())?;
                if let Some(expires) = stored.expires {
                    expiries.insert((expires.0, name.as_str()), ())?;
                }
            }
            transaction.open_table(FORMAT)?.insert((), SEALED)?;
        }
        transaction.commit()?;
        Ok::<_, redb::Error>(())
    })
}
