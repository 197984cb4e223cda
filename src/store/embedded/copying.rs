//! Everything in an embedded store at once, for copies: reads it, and fills a new one.

use super::disk::Disk;
use super::{database, ledger};
use crate::store::folder;
use crate::store::stored::{Altered, Stored, Things};
use std::fs;
use std::io;
use std::path::Path;

/// Opens the database of a store that no gateway has open, with all of its journal applied.
pub(super) fn settled(dir: &Path) -> Result<redb::Database, String> {
    // `Disk::open` verifies the database and applies the journal to it.
    drop(Disk::open(dir)?);
    database::open(dir)
}

/// Reads a store that no gateway has open.
pub(crate) fn read(dir: &Path) -> Result<Things, String> {
    let path = database::file(dir);
    if !path.exists() {
        return Err(format!("there is no store in {}", dir.display()));
    }
    let database = settled(dir)?;
    let mut things = Things::new();
    let mut altered = 0;
    let read = database::each(&database, "", |name, bytes| {
        match Stored::decode(name, bytes) {
            // What is under way in somebody's browser ends within minutes.
            _ if name.starts_with("ticket:") => {}
            Ok(stored) => {
                things.insert(name.to_owned(), stored);
            }
            Err(Altered) => altered += 1,
        }
        true
    });
    read.map_err(|error| database::damaged(&path, &error))?;
    ledger::gather(&mut things);
    match altered {
        0 => Ok(things),
        _ => Err(database::damaged(
            &path,
            &format!("{altered} things in it are not what was written"),
        )),
    }
}

/// Whether a directory is missing or empty.
pub(crate) fn is_unused(dir: &Path) -> Result<bool, String> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(format!("cannot read {}: {error}", dir.display())),
    }
}

/// Writes a new store into a directory that is missing or empty. It is filled beside it first: what is there is whole.
pub(crate) fn fill(dir: &Path, things: &Things) -> Result<(), String> {
    let at = |what: &str, error: &dyn std::fmt::Display| {
        format!("cannot {what} {}: {error}", dir.display())
    };
    let unnamed = || at("write to", &"it has no name of its own");
    let mut beside = dir.file_name().ok_or_else(unnamed)?.to_owned();
    beside.push(".copying");
    let beside = dir.with_file_name(beside);
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(|error| at("write beside", &error))?;
    }
    let filled = database::create(&beside, ledger::spread(things).iter());
    let moved = filled.and_then(|()| {
        if dir.exists() {
            fs::remove_dir(dir).map_err(|error| at("replace", &error))?;
        }
        fs::rename(&beside, dir).map_err(|error| at("write to", &error))?;
        folder::flush(folder::above(dir)).map_err(|error| at("flush", &error))
    });
    moved.inspect_err(|_| {
        let _ = fs::remove_dir_all(&beside);
    })
}
