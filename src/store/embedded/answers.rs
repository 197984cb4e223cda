//! Cached answers on disk: a file for each, beside the ledger's database, and an index of them in memory.
//!
//! A file is written under another name and renamed, so that after kill -9 an answer is there wholly or not at all; its
//! checksum finds what a loss of power left of it. Nothing is flushed, and nothing here may touch the ledger's database,
//! its lock or its flusher. What cannot be read is removed: a cache is begun anew, never repaired.

use super::disk_space::{DiskSpace, is_full};
use crate::rules::amount::Millis;
use crate::rules::lru::{Item, Lru};
use crate::rules::tenant::TenantId;
use crate::store::name::AnswerKey;
use crate::store::{Outcome, StoreError, checksum};
use bytes::Bytes;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Interval between deletions of expired answers, which only a verb begins.
const SWEEP_INTERVAL: Millis = Millis(60_000);
/// Length of the checksum that a file begins with, in bytes.
const SUM: usize = size_of::<u64>();

/// Answers of one tenant. The value of an item is the number of its file, which no other has.
type Shelf = Lru<AnswerKey, u64>;

/// The directory `answers` of an embedded store.
pub(super) struct AnswerFiles {
    dir: PathBuf,
    room: DiskSpace,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    /// Shelves by the name of the tenant's folder.
    shelves: HashMap<String, Shelf>,
    /// Numbers of the shelves that calls have found. A shelf has another one after anything of it was forgotten.
    numbers: HashMap<String, u64>,
    number: u64,
    swept: Millis,
    /// Why no answers are kept any more.
    closed: Option<String>,
    /// Whether the disk was short of space when it was last looked at.
    is_short: bool,
}

impl Index {
    fn open(&self) -> Outcome<()> {
        let closed = self.closed.clone();
        closed.map_or(Ok(()), |why| Err(StoreError::Unavailable(why)))
    }

    /// Returns the number of a shelf, which need not exist.
    fn number_of(&mut self, folder: &str) -> u64 {
        if let Some(number) = self.numbers.get(folder) {
            return *number;
        }
        self.number += 1;
        self.numbers.insert(folder.to_owned(), self.number);
        self.number
    }

    /// Whether calls that have found this number may still keep their answers.
    fn is_same(&self, folder: &str, number: Option<u64>) -> bool {
        number.is_none_or(|number| self.numbers.get(folder) == Some(&number))
    }
}

/// A file that the index has, and the folder that it is in.
pub(super) struct AnswerFile {
    folder: String,
    key: AnswerKey,
    item: Item<u64>,
}

impl AnswerFile {
    /// Returns `<key>.<number>.<expiry>.<size>.<owner>`: all that the index has, so that a start reads names alone.
    fn name(&self) -> String {
        let (key, item) = (self.key.hex(), &self.item);
        let Item {
            bytes,
            expires,
            owner,
            value,
        } = item;
        format!("{key}.{value}.{}.{bytes}.{owner}", expires.0)
    }

    fn parse(folder: &str, name: &str) -> Option<AnswerFile> {
        let mut parts = name.split('.');
        let mut part = || parts.next();
        let file = AnswerFile {
            folder: folder.to_owned(),
            key: AnswerKey::parse(part()?)?,
            item: Item {
                value: part()?.parse().ok()?,
                expires: Millis(part()?.parse().ok()?),
                bytes: part()?.parse().ok()?,
                owner: part()?.to_owned(),
            },
        };
        // No other spelling of the numbers, and nothing behind them.
        (file.name() == name).then_some(file)
    }
}

impl AnswerFiles {
    /// Opens the answers of a store. Those that cannot be read are removed, and the store opens in any case.
    pub fn open(store: &Path, now: Millis) -> AnswerFiles {
        let dir = store.join("answers");
        let mut index = Index::default();
        if let Err(error) = load(&dir, now, &mut index) {
            let told = dir.display();
            log::warn!(
                "Cached answers in {told} cannot be read: {error}. They are removed, and the cache begins empty"
            );
            index = Index::default();
            if let Err(error) = remove_all(&dir) {
                log::warn!(
                    "Cannot remove {told}: {error}. No answers are cached until it is removed and the gateway started again"
                );
                index.closed = Some(format!("cached answers cannot be read: {error}"));
            }
        }
        AnswerFiles {
            dir,
            room: DiskSpace::new(store),
            index: Mutex::new(index),
        }
    }

    /// Returns the file of a live answer, which is marked as used now, and the number of its shelf. Reads no file.
    pub fn find(
        &self,
        tenant: &TenantId,
        key: &AnswerKey,
        now: Millis,
    ) -> Outcome<(Option<AnswerFile>, u64)> {
        let mut index = self.index.lock();
        index.open()?;
        let folder = folder(tenant);
        let number = index.number_of(&folder);
        let shelf = index.shelves.get_mut(&folder);
        let item = shelf.and_then(|shelf| shelf.touch(key, now)).cloned();
        let file = item.map(|item| AnswerFile {
            folder,
            key: *key,
            item,
        });
        Ok((file, number))
    }

    /// Reads an answer that [`AnswerFiles::find`] returned. `None`: it was dropped meanwhile, or is damaged.
    pub fn read(&self, file: &AnswerFile) -> Option<Bytes> {
        let name = file.name();
        let path = self.path(file);
        let why = match fs::read(&path) {
            Ok(read) => match whole(&name, read) {
                Some(bytes) => return Some(bytes),
                None => "it is not what was written".to_owned(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => error.to_string(),
        };
        log::warn!(
            "A cached answer in {} cannot be read: {why}. It is removed, and its provider asked again",
            self.dir.display()
        );
        let mut index = self.index.lock();
        if let Some(shelf) = index.shelves.get_mut(&file.folder)
            && shelf.peek(&file.key) == Some(&file.item)
        {
            shelf.remove(&file.key);
        }
        drop(index);
        let _ = fs::remove_file(path);
        None
    }

    /// Writes an answer of `item.bytes`, at most `most`, and removes those that it drops. False: something was forgotten
    /// since a call has found the `shelf` of this number.
    pub fn keep(
        &self,
        tenant: &TenantId,
        key: AnswerKey,
        item: Item<Bytes>,
        (most, shelf): (u64, Option<u64>),
        now: Millis,
    ) -> Outcome<bool> {
        let answer = item.value;
        self.check_space(answer.len())?;
        let number = {
            let mut index = self.index.lock();
            index.open()?;
            if !index.is_same(&folder(tenant), shelf) {
                return Ok(false);
            }
            index.number += 1;
            index.number
        };
        let file = AnswerFile {
            folder: folder(tenant),
            key,
            item: Item {
                bytes: item.bytes,
                expires: item.expires,
                owner: short_hash(&item.owner),
                value: number,
            },
        };
        let path = self.path(&file);
        let unnamed = path.with_added_extension("new");
        let placed = write(&unnamed, &file.name(), &answer)
            .map_err(unwritten)
            .and_then(|()| self.place((&unnamed, &path), file, (most, shelf), now));
        if !matches!(placed, Ok(Some(_))) {
            let _ = fs::remove_file(&unnamed);
        }
        let Some(dropped) = placed? else {
            return Ok(false);
        };
        // One that stays on the disk is met by nobody, and a later start removes it or drops it again.
        let _ = self.remove(&dropped);
        self.sweep_if_due(now);
        Ok(true)
    }

    /// Gives a written file its name, which is the moment from which it is there. Returns what it drops. `None`: its shelf
    /// is gone.
    fn place(
        &self,
        (unnamed, path): (&Path, &Path),
        file: AnswerFile,
        (most, shelf): (u64, Option<u64>),
        now: Millis,
    ) -> Outcome<Option<Vec<AnswerFile>>> {
        let AnswerFile { folder, key, item } = file;
        let mut index = self.index.lock();
        index.open()?;
        if !index.is_same(&folder, shelf) {
            return Ok(None);
        }
        match fs::rename(unnamed, path) {
            // All of the tenant's answers were forgotten meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            renamed => renamed.map_err(unwritten)?,
        }
        let shelf = index.shelves.entry(folder.clone()).or_default();
        let dropped = shelf.put(key, item, most, now).unwrap_or_default();
        Ok(Some(in_folder(&folder, dropped)))
    }

    /// Removes the answers of an owner, and returns how many.
    pub(crate) fn forget_of(&self, tenant: &TenantId, owner: &str, now: Millis) -> Outcome<u64> {
        let folder = folder(tenant);
        let (expired, owned) = {
            let mut index = self.index.lock();
            index.open()?;
            index.numbers.remove(&folder);
            let Some(shelf) = index.shelves.get_mut(&folder) else {
                return Ok(0);
            };
            let expired = shelf.drop_expired(now);
            (expired, shelf.drop_owned(&short_hash(owner)))
        };
        let count = owned.len() as u64;
        self.remove(&in_folder(&folder, expired))
            .and_then(|()| self.remove(&in_folder(&folder, owned)))
            .map_err(unremoved)?;
        Ok(count)
    }

    /// Removes all answers of a tenant in one step, and returns how many.
    pub fn forget(&self, tenant: &TenantId, now: Millis) -> Outcome<u64> {
        let folder = folder(tenant);
        let (count, away) = {
            let mut index = self.index.lock();
            index.open()?;
            index.numbers.remove(&folder);
            let Some(mut shelf) = index.shelves.remove(&folder) else {
                return Ok(0);
            };
            index.number += 1;
            // A start removes a folder of such a name.
            let away = self.dir.join(format!("{folder}.{}", index.number));
            match fs::rename(self.dir.join(&folder), &away) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    index.shelves.insert(folder, shelf);
                    return Err(unremoved(error));
                }
                _ => {}
            }
            shelf.drop_expired(now);
            (shelf.len() as u64, away)
        };
        remove_all(&away).map_err(unremoved)?;
        Ok(count)
    }

    /// Removes the expired answers of all tenants.
    pub fn sweep(&self, now: Millis) -> Outcome<()> {
        let mut expired = Vec::new();
        {
            let mut index = self.index.lock();
            index.swept = now;
            for (folder, shelf) in &mut index.shelves {
                expired.extend(in_folder(folder, shelf.drop_expired(now)));
            }
            index.shelves.retain(|_, shelf| !shelf.is_empty());
        }
        self.remove(&expired).map_err(unremoved)
    }

    fn sweep_if_due(&self, now: Millis) {
        let is_due = now >= self.index.lock().swept.plus(SWEEP_INTERVAL);
        if is_due && let Err(error) = self.sweep(now) {
            log::debug!("Expired answers stay in {}: {error}", self.dir.display());
        }
    }

    /// Ends all use of the directory, which another process may open from now on.
    pub fn close(&self) {
        *self.index.lock() = Index {
            closed: Some("the store is closed".to_owned()),
            ..Index::default()
        };
    }

    fn check_space(&self, bytes: usize) -> Outcome<()> {
        let is_short = !self.room.has_to_spare(bytes);
        let was_short = std::mem::replace(&mut self.index.lock().is_short, is_short);
        match (was_short, is_short) {
            (_, false) => return Ok(()),
            (true, true) => {}
            (false, true) => log::warn!(
                "The disk of {} has little space left, which is for the ledger: no more answers are cached until there is more",
                self.dir.display()
            ),
        }
        Err(StoreError::Full)
    }

    fn path(&self, file: &AnswerFile) -> PathBuf {
        self.dir.join(&file.folder).join(file.name())
    }

    /// Removes files that the index has no longer. Goes on after an error, and returns the first one.
    fn remove(&self, files: &[AnswerFile]) -> io::Result<()> {
        let mut outcome = Ok(());
        for file in files {
            match fs::remove_file(self.path(file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    outcome = outcome.and(Err(error));
                }
                _ => {}
            }
        }
        outcome
    }
}

/// Returns the name of a tenant's folder. IDs that differ only by case are one name on some file systems; hashes are not.
fn folder(tenant: &TenantId) -> String {
    short_hash(tenant.as_str())
}

/// Returns the first 128 bits of a text's SHA-256, in hex.
fn short_hash(text: &str) -> String {
    hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}

fn in_folder(folder: &str, dropped: Vec<(AnswerKey, Item<u64>)>) -> Vec<AnswerFile> {
    let file = |(key, item)| AnswerFile {
        folder: folder.to_owned(),
        key,
        item,
    };
    dropped.into_iter().map(file).collect()
}

/// Reads the names of all files into the index, and removes what is expired or was left by a process that died.
fn load(dir: &Path, now: Millis, index: &mut Index) -> io::Result<()> {
    let folders = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        folders => folders?,
    };
    for entry in folders {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.len() != 32 || name.contains('.') || !entry.file_type()?.is_dir() {
            remove_all(&entry.path())?;
            continue;
        }
        let shelf = load_folder(&entry.path(), &name, now, &mut index.number)?;
        if shelf.is_empty() {
            fs::remove_dir(entry.path())?;
        } else {
            index.shelves.insert(name, shelf);
        }
    }
    Ok(())
}

fn load_folder(path: &Path, folder: &str, now: Millis, number: &mut u64) -> io::Result<Shelf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        match AnswerFile::parse(folder, &name) {
            Some(file) if file.item.expires > now => files.push(file),
            _ => remove_all(&entry.path())?,
        }
    }
    // Order of keeping stands for the order of use, and of two files of one key the later one counts.
    files.sort_unstable_by_key(|file| file.item.value);
    let mut shelf = Shelf::default();
    for AnswerFile { key, item, .. } in files {
        *number = item.value.max(*number);
        let replaced = shelf.put(key, item, u64::MAX, now).unwrap_or_default();
        for file in in_folder(folder, replaced) {
            fs::remove_file(path.join(file.name()))?;
        }
    }
    Ok(shelf)
}

/// Writes a file with its checksum, which is bound to its name to be.
fn write(path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            options.open(path)?
        }
        file => file?,
    };
    file.write_all(&checksum::of(name.as_bytes(), bytes).to_le_bytes())?;
    file.write_all(bytes)
}

/// Returns the answer in a file, if the file is what was written under `name`.
fn whole(name: &str, read: Vec<u8>) -> Option<Bytes> {
    let (sum, bytes) = read.split_first_chunk::<SUM>()?;
    let is_whole = u64::from_le_bytes(*sum) == checksum::of(name.as_bytes(), bytes);
    is_whole.then(|| Bytes::from(read).slice(SUM..))
}

fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn unwritten(error: io::Error) -> StoreError {
    match is_full(&error) {
        true => StoreError::Full,
        false => StoreError::Unavailable(format!("an answer cannot be written: {error}")),
    }
}

fn unremoved(error: io::Error) -> StoreError {
    StoreError::Unavailable(format!("cached answers cannot be removed: {error}"))
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
