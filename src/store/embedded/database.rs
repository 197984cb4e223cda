//! The database file: its tables, the one way to write them, and whether it may be believed.
//!
//! redb keeps checksums of its pages and does not look at them when it reads. So the whole file is
//! checked when it is opened, each value has a checksum of its own that is checked whenever it is read,
//! and a file that fails is refused: a balance is never guessed.

use super::contain::contained;
use super::stored::{Altered, Stored};
use crate::rules::amount::Millis;
use crate::store::{folder, name};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const THINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("things");
/// When a thing expires, then its name: what the flusher clears away.
const EXPIRIES: TableDefinition<(u64, &str), ()> = TableDefinition::new("expiries");
/// The number of the latest change the database holds, so that no older one is replayed over it.
const PROGRESS: TableDefinition<(), u64> = TableDefinition::new("progress");
/// From the second format on, every value has a checksum. Without this row it is the first one.
const FORMAT: TableDefinition<(), u64> = TableDefinition::new("format");
const SEALED: u64 = 2;
/// The start of the machine since which the journal was written.
const BOOT: TableDefinition<(), &str> = TableDefinition::new("boot");

/// Expired things cleared away in one go.
const CLEARED: usize = 1_000;
/// So many damaged things are named.
const NAMED: usize = 5;

pub struct Pending {
    pub value: Option<Vec<u8>>,
    pub expires: Option<Millis>,
}

/// Everything up to `sequence` that the database does not have yet, and the journal file it fills.
#[derive(Default)]
pub struct Batch {
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

/// What an operator reads who has a damaged store.
pub fn damaged(path: &Path, why: &dyn Display) -> String {
    format!(
        "{} is damaged: {why}; `resullm store check` names what is hit, `resullm store restore` brings a backup back",
        path.display()
    )
}

/// Opens the file, or makes it.
pub fn open(dir: &Path) -> Result<Database, String> {
    let path = file(dir);
    contained(|| {
        make(dir, &path)?;
        match Database::create(&path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => Ok(None),
            opened => opened.map(Some).map_err(redb::Error::from),
        }
    })
    .map_err(|error| match error {
        redb::Error::Corrupted(why) => damaged(&path, &why),
        redb::Error::Io(error) if is_nonsense(error.kind()) => damaged(&path, &error),
        // The file says so in a place that nothing protects.
        redb::Error::UpgradeRequired(version) => {
            damaged(&path, &format!("it claims to have file format {version}"))
        }
        error => format!("cannot open {}: {error}", path.display()),
    })?
    .ok_or_else(|| {
        let pid = std::fs::read_to_string(dir.join("pid"));
        let pid = pid.map(|pid| format!(" (pid {})", pid.trim()));
        format!(
            "{} is in use by another process{}; an embedded store serves one process at a time, so stop that one first",
            dir.display(),
            pid.unwrap_or_default()
        )
    })
}

/// Where there is none: whole, and under another name until then, so that a loss of power leaves no half of
/// one. Then its name is flushed, and that of its directory.
fn make(dir: &Path, path: &Path) -> Result<(), redb::Error> {
    let turn = File::open(dir)?;
    if !path.exists() {
        // Of two that find none, one makes it. Not every file system can lock a directory.
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

/// The disk did as it was told, and what it gave is no database.
fn is_nonsense(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(kind, InvalidData | UnexpectedEof)
}

/// Every page and every value, before anything in the file is believed.
pub fn verify(database: &mut Database, path: &Path) -> Result<(), String> {
    // Before anything else walks them: a page that points astray can stand for gigabytes.
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

/// Every page alone. What is not used, it may repair.
pub fn verify_pages(database: &mut Database, path: &Path) -> Result<(), String> {
    let bad = |error: redb::Error| damaged(path, &error);
    let before = progress(database).map_err(bad)?;
    let clean = contained(|| database.check_integrity()).map_err(bad)?;
    if progress(database).map_err(bad)? != before {
        return Err(damaged(path, &"its latest state cannot be read"));
    }
    if !clean {
        log::warn!("{} was repaired; nothing in it is lost", path.display());
    }
    Ok(())
}

pub fn is_sealed(database: &Database) -> Result<bool, redb::Error> {
    Ok(number(database, FORMAT)? == Some(SEALED))
}

pub fn progress(database: &Database) -> Result<u64, redb::Error> {
    Ok(number(database, PROGRESS)?.unwrap_or(0))
}

/// The start of the machine since which the journal was written.
pub fn boot(database: &Database) -> Result<Option<String>, redb::Error> {
    contained(|| match database.begin_read()?.open_table(BOOT) {
        Ok(table) => Ok::<_, redb::Error>(table.get(())?.map(|id| id.value().to_owned())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// From here on, the journal is of this start.
pub fn note_boot(database: &Database, id: &str) -> Result<(), redb::Error> {
    contained(|| {
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
    contained(|| match database.begin_read()?.open_table(table) {
        Ok(table) => Ok::<_, redb::Error>(table.get(())?.map(|number| number.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// The names of the things that are not what was written.
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

/// Everything whose name begins with `prefix`, in the order of the names, until it is not wanted.
pub fn each(
    database: &Database,
    prefix: &str,
    mut see: impl FnMut(&str, &[u8]) -> bool,
) -> Result<(), redb::Error> {
    contained(|| {
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
    contained(|| {
        let table = database.begin_read()?.open_table(THINGS)?;
        Ok::<_, redb::Error>(table.get(name)?.map(|bytes| bytes.value().to_vec()))
    })
}

/// The last things whose names begin with `prefix`, the last one first.
pub fn newest(
    database: &Database,
    prefix: &str,
    most: usize,
) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    contained(|| {
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

/// Writes a batch and, given the time, clears away what has expired. Returns the names cleared.
pub fn commit(
    database: &Database,
    batch: &Batch,
    now: Option<Millis>,
) -> Result<Vec<String>, redb::Error> {
    contained(|| {
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

/// From the first format to the second, in one step: every value gets its checksum.
pub fn seal(database: &Database) -> Result<Result<(), Altered>, redb::Error> {
    contained(|| {
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

/// Writes everything that a new store has, in one step.
pub fn fill(database: &Database, all: &[(String, Stored)]) -> Result<(), redb::Error> {
    contained(|| {
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
