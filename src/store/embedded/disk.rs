//! The store's directory: values cached in memory, the database, and the one thread that flushes to it.
//!
//! A change is decided in memory under one lock, written to the journal, and acknowledged. The flusher then
//! commits all changes that arrived meanwhile in one transaction with a real fsync (group commit). Memory may
//! be ahead of the database, never behind it.

use super::database::{self, Batch, Pending};
use super::disk_space::{DiskSpace, is_full};
use super::journal::{Change, Journal};
use crate::rules::amount::Millis;
use crate::rules::record::Damage;
use crate::store::boot::{self, Boot};
use crate::store::stored::{Altered, Stored};
use crate::store::{Outcome, StoreError, folder, name};
use crate::telemetry::counter::{Histogram, STORE_WORK};
use parking_lot::{Condvar, Mutex, MutexGuard};
use redb::Database;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Maximum number of cached values before the flushed ones are evicted.
const REMEMBERED: usize = 200_000;
/// Interval between deletions of expired values while there are no changes.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// Time for which changes gather, to be flushed in one commit.
const GROUP_COMMIT_DELAY: Duration = Duration::from_millis(200);
/// Interval at which the flusher checks free disk space and, in trouble, retries.
const SPACE_CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Disk {
    /// `None` once the store is closed, so that another process can open the directory.
    database: Mutex<Option<Arc<Database>>>,
    memory: Mutex<Memory>,
    work: Condvar,
    flushed: watch::Sender<Flushed>,
    room: DiskSpace,
    /// Durations of changes, and of waits for a flush.
    pub durations: Histogram,
}

struct Memory {
    things: HashMap<String, Remembered>,
    pending: HashMap<String, Pending>,
    journal: Journal,
    sequence: u64,
    closing: bool,
}

struct Remembered {
    stored: Option<Arc<Stored>>,
    sequence: u64,
}

/// Sequence number that the database has reached, and the trouble that stops it there.
#[derive(Clone, Debug, Default)]
struct Flushed {
    sequence: u64,
    trouble: Option<Trouble>,
}

/// Reason why new work is refused. Changes of [`ChangeKind::Ends`] are taken for as long as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// The disk is full. The reserve file is deleted, to leave space for [`ChangeKind::Ends`].
    Full,
    /// Writing to the database fails for another reason.
    Broken(String),
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Full => StoreError::Full,
            Trouble::Broken(why) => StoreError::Unavailable(why),
        }
    }
}

/// Whether a change begins something (a key, a hold, a lease) or only ends or renews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Begins,
    Ends,
}

/// Effect of a change on a stored value.
pub enum Next {
    Keep,
    Set(Arc<Stored>),
    /// Also writes values under names of their own, before this one: a crash may leave them without it, and never it
    /// without them. They are not cached, and can be read once they are flushed.
    SetAfter(Arc<Stored>, Vec<(String, Stored)>),
    Remove,
}

impl Next {
    pub fn set(stored: Stored) -> Next {
        Next::Set(Arc::new(stored))
    }
}

impl Disk {
    /// Opens or creates the store in `dir`: verifies the database, replays the journal into it, empties the
    /// journal.
    pub fn open(dir: &Path) -> Result<Disk, String> {
        let at = |what: &str, error: &dyn std::fmt::Display| {
            format!("cannot {what} {}: {error}", dir.display())
        };
        folder::make(dir).map_err(|error| at("create", &error))?;
        let path = database::file(dir);
        let mut database = database::open(dir)?;
        let room = DiskSpace::new(dir);
        // Opening needs disk space too; `reserves` creates the reserve again at the end.
        if room.is_low() {
            room.give_reserve_back();
        }
        std::fs::write(dir.join("pid"), format!("{}\n", std::process::id()))
            .map_err(|error| at("write to", &error))?;
        database::verify(&mut database, &path)?;
        let refused = |error: redb::Error| at("write to the store in", &error);
        let boot = Boot::of(database::boot(&database).map_err(refused)?.as_deref());
        let (mut journal, held) =
            Journal::open(dir, boot).map_err(|error| format!("{error}; {RESTORE}"))?;
        let done = database::progress(&database).map_err(refused)?;
        if held.mark > done {
            let why = format!("it has {done} changes and had {}", held.mark);
            return Err(database::damaged(&path, &why));
        }
        let mut changes = held.changes;
        if !database::is_sealed(&database).map_err(refused)? {
            database::seal(&database)
                .map_err(refused)?
                .map_err(|Altered| database::damaged(&path, &"a thing in it cannot be read"))?;
        }
        let earlier = Journal::earlier(dir).map_err(|error| at("read", &error))?;
        changes.extend(sealed(earlier).map_err(|Altered| at("read the journal in", &"?"))?);
        let mut replayed = Batch {
            sequence: done,
            ..Batch::default()
        };
        for change in changes.into_iter().filter(|change| change.sequence > done) {
            let value = change.value.as_deref();
            let stored = value.map(|value| Stored::decode(&change.name, value));
            let stored = stored.transpose().map_err(|Altered| {
                let id = name::id(&change.name);
                at("read the journal in", &format!("{id} was altered"))
            })?;
            let pending = Pending {
                value: change.value,
                expires: stored.and_then(|s| s.expires),
            };
            replayed.changes.insert(change.name, pending);
            replayed.sequence = change.sequence;
        }
        database::commit(&database, &replayed, None).map_err(refused)?;
        let sequence = replayed.sequence;
        for file in [0, 1] {
            journal
                .empty(file, sequence)
                .map_err(|error| at("write to", &error))?;
        }
        journal
            .forget_earlier()
            .map_err(|error| at("write to", &error))?;
        if boot == Boot::Other {
            // Lost changes leave sequence numbers that are given again, so no remains of those changes may
            // reappear: flush. Only then may this boot ID vouch for the files.
            journal.flush().map_err(|error| at("write to", &error))?;
            boot::id()
                .map_or(Ok(()), |id| database::note_boot(&database, &id))
                .map_err(refused)?;
        }
        let disk = Disk {
            database: Mutex::new(Some(Arc::new(database))),
            memory: Mutex::new(Memory {
                things: HashMap::new(),
                pending: HashMap::new(),
                journal,
                sequence,
                closing: false,
            }),
            work: Condvar::new(),
            flushed: watch::Sender::new(Flushed {
                sequence,
                trouble: None,
            }),
            room,
            durations: Histogram::new(STORE_WORK),
        };
        if !disk.reserves() {
            disk.set_trouble(Trouble::Full);
        }
        Ok(disk)
    }

    /// Locks the memory, also after a panic elsewhere: memory changes only after the journal has the change,
    /// so no state is half changed.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }

    /// Returns a stored value, even if it has expired.
    pub fn read(&self, name: &str) -> Outcome<Option<Arc<Stored>>> {
        let mut memory = self.memory();
        self.recall(&mut memory, name)
    }

    fn recall(&self, memory: &mut Memory, name: &str) -> Outcome<Option<Arc<Stored>>> {
        if let Some(known) = memory.things.get(name) {
            return Ok(known.stored.clone());
        }
        let stored = self.fetch(name)?;
        if memory.things.len() >= REMEMBERED {
            let flushed = self.flushed.borrow().sequence;
            memory.things.retain(|_, thing| thing.sequence > flushed);
        }
        // Absent names are not cached, because unauthenticated clients can choose them.
        if let Some(stored) = &stored {
            let thing = Remembered {
                stored: Some(stored.clone()),
                sequence: 0,
            };
            memory.things.insert(name.to_owned(), thing);
        }
        Ok(stored)
    }

    fn database(&self) -> Outcome<Arc<Database>> {
        let database = self.database.lock().clone();
        database.ok_or_else(|| StoreError::Unavailable("the store is closed".to_owned()))
    }

    fn fetch(&self, name: &str) -> Outcome<Option<Arc<Stored>>> {
        let bytes = database::get(&*self.database()?, name).map_err(unavailable)?;
        let stored = bytes.map(|bytes| decoded(name, &bytes)).transpose()?;
        Ok(stored.map(Arc::new))
    }

    /// Applies one atomic step to one value. Returns its outcome and the sequence number for
    /// [`Disk::durable`].
    pub fn change<T>(
        &self,
        name: &str,
        kind: ChangeKind,
        step: impl FnOnce(Option<&Stored>) -> Outcome<(T, Next)>,
    ) -> Outcome<(T, u64)> {
        let _running = self.durations.start();
        let mut memory = self.memory();
        let found = self.recall(&mut memory, name)?;
        let (outcome, next) = step(found.as_deref())?;
        let (stored, before) = match next {
            Next::Keep => return Ok((outcome, memory.sequence)),
            Next::Set(stored) => (Some(stored), Vec::new()),
            Next::SetAfter(stored, before) => (Some(stored), before),
            Next::Remove => (None, Vec::new()),
        };
        self.writable(&memory, kind)?;
        let is_first = memory.pending.is_empty();
        for (name, stored) in before {
            let change = self.journal(&mut memory, kind, &name, Some(&stored))?;
            let pending = Pending {
                value: change.value,
                expires: stored.expires,
            };
            memory.pending.insert(change.name, pending);
        }
        let change = self.journal(&mut memory, kind, name, stored.as_deref())?;
        let sequence = change.sequence;
        // Only a new value sets its expiry; no change alters it later.
        let expires = match (&found, &stored) {
            (None, Some(stored)) => stored.expires,
            _ => memory.pending.get(name).and_then(|pending| pending.expires),
        };
        memory.pending.insert(
            change.name.clone(),
            Pending {
                value: change.value,
                expires,
            },
        );
        memory
            .things
            .insert(change.name, Remembered { stored, sequence });
        if is_first {
            self.work.notify_one();
        }
        Ok((outcome, sequence))
    }

    /// Writes a change to the journal.
    fn journal(
        &self,
        memory: &mut Memory,
        kind: ChangeKind,
        name: &str,
        stored: Option<&Stored>,
    ) -> Outcome<Change> {
        let change = Change {
            sequence: memory.sequence + 1,
            name: name.to_owned(),
            value: encoded(name, stored)?,
        };
        if let Err(error) = memory.journal.append(&change) {
            let trouble = trouble_of(&error);
            if trouble != Trouble::Full {
                return Err(trouble.into());
            }
            self.set_trouble(trouble);
            self.work.notify_one();
            // Deleting the reserve made space: append again.
            if kind == ChangeKind::Begins || memory.journal.append(&change).is_err() {
                return Err(StoreError::Full);
            }
        }
        memory.sequence = change.sequence;
        Ok(change)
    }

    /// Writes a value that nothing else changes. It is readable only after the flush.
    pub(crate) fn append(&self, name: &str, stored: &Stored) -> Outcome<()> {
        let mut memory = self.memory();
        self.writable(&memory, ChangeKind::Begins)?;
        let change = self.journal(&mut memory, ChangeKind::Begins, name, Some(stored))?;
        let is_first = memory.pending.is_empty();
        let pending = Pending {
            value: change.value,
            expires: stored.expires,
        };
        memory.pending.insert(change.name, pending);
        if is_first {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Writes or removes a value without the journal. It may be lost with the process, and is readable only
    /// after the flush.
    pub(crate) fn put_aside(&self, name: &str, stored: Option<&Stored>) -> Outcome<()> {
        let value = encoded(name, stored)?;
        let mut memory = self.memory();
        self.writable(&memory, ChangeKind::Begins)?;
        memory.sequence += 1;
        let is_first = memory.pending.is_empty();
        let pending = Pending {
            value,
            expires: stored.and_then(|stored| stored.expires),
        };
        memory.pending.insert(name.to_owned(), pending);
        if is_first {
            self.work.notify_one();
        }
        Ok(())
    }

    fn writable(&self, memory: &Memory, kind: ChangeKind) -> Outcome<()> {
        if memory.closing {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        match self.trouble() {
            Some(trouble) if kind == ChangeKind::Begins => Err(trouble.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the change `sequence` is in the database and flushed.
    pub(crate) async fn durable(&self, sequence: u64) -> Outcome<()> {
        let _running = self.durations.start();
        let mut flushed = self.flushed.subscribe();
        {
            // Under this lock the flusher is either waiting on `work`, or will see the new subscriber.
            let _memory = self.memory();
            self.work.notify_one();
        }
        let state = flushed
            .wait_for(|flushed| flushed.sequence >= sequence || flushed.trouble.is_some())
            .await
            .map_err(|_| StoreError::Unknown("the store is closed".to_owned()))?;
        match &state.trouble {
            Some(trouble) if state.sequence < sequence => Err(StoreError::Unknown(
                StoreError::from(trouble.clone()).to_string(),
            )),
            _ => Ok(()),
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        self.flushed.borrow().trouble.clone()
    }

    /// Returns the trouble for which new work is refused, if any.
    pub fn ready(&self) -> Outcome<()> {
        self.trouble().map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    /// Records trouble and logs it once, however often it is found again.
    fn set_trouble(&self, trouble: Trouble) {
        let mut before = None;
        self.flushed
            .send_modify(|flushed| before = flushed.trouble.replace(trouble.clone()));
        match (&trouble, before) {
            (Trouble::Full, Some(Trouble::Full)) => {}
            (Trouble::Full, _) => {
                self.room.give_reserve_back();
                log::error!(
                    "The disk of {} is full: requests in flight are settled, new calls get 503. Free some space; no restart is needed",
                    self.room.dir().display()
                );
            }
            (Trouble::Broken(why), None | Some(Trouble::Full)) => {
                log::error!(
                    "Embedded store cannot write: {why}. New calls get 503; check the disk"
                );
            }
            (Trouble::Broken(_), Some(Trouble::Broken(_))) => {}
        }
    }

    /// Returns the names that begin with `prefix`. Reads the database only, so the values must be flushed
    /// when they are written.
    pub fn names(&self, prefix: &str) -> Outcome<Vec<String>> {
        let mut names = Vec::new();
        let see = |name: &str, _: &[u8]| {
            names.push(name.to_owned());
            true
        };
        database::each(&*self.database()?, prefix, see).map_err(unavailable)?;
        Ok(names)
    }

    /// Returns the sequence number of the latest change.
    pub fn sequence(&self) -> u64 {
        self.memory().sequence
    }

    /// Returns the last `most` flushed values whose names begin with `prefix`, the last one first.
    pub(crate) fn newest(&self, prefix: &str, most: usize) -> Outcome<Vec<(String, Stored)>> {
        let newest = database::newest(&*self.database()?, prefix, most).map_err(unavailable)?;
        let things = newest.into_iter().map(|(name, bytes)| {
            let stored = decoded(&name, &bytes)?;
            Ok((name, stored))
        });
        things.collect()
    }

    /// Returns all flushed values whose names begin with `prefix`, in the order of the names.
    pub(crate) fn all(&self, prefix: &str) -> Outcome<Vec<(String, Stored)>> {
        let mut all = Vec::new();
        let see = |name: &str, bytes: &[u8]| {
            all.push(decoded(name, bytes).map(|stored| (name.to_owned(), stored)));
            true
        };
        database::each(&*self.database()?, prefix, see).map_err(unavailable)?;
        all.into_iter().collect()
    }

    /// Runs the flusher. Returns when [`Disk::stop`] was called and everything is flushed.
    pub(crate) fn flush_until_stopped(&self, now: impl Fn() -> Millis) {
        let mut batch = Batch::default();
        let mut cleared = Instant::now();
        // After a failed write redb rejects everything until the file is opened again.
        let mut stuck = false;
        loop {
            let closing = self.gather(&mut batch);
            let trouble = self.trouble();
            let full = trouble == Some(Trouble::Full);
            if !full && self.room.is_low() {
                self.set_trouble(Trouble::Full);
            }
            let is_over = if full {
                self.room.is_back()
            } else {
                trouble.is_some()
            };
            let is_due = batch.file.is_some() || cleared.elapsed() >= EXPIRY_INTERVAL;
            if !(is_due || is_over || closing) {
                continue;
            }
            match self.flush(&batch, now(), &mut stuck) {
                Ok(()) => {
                    let sequence = std::mem::take(&mut batch).sequence;
                    cleared = Instant::now();
                    self.flushed
                        .send_modify(|flushed| flushed.sequence = sequence);
                    if is_over {
                        self.recover();
                    }
                }
                Err(trouble) => {
                    self.set_trouble(trouble);
                    if !closing {
                        std::thread::sleep(SPACE_CHECK_INTERVAL);
                    }
                }
            }
            if closing {
                return;
            }
        }
    }

    fn recover(&self) {
        if !self.reserves() {
            return self.set_trouble(Trouble::Full);
        }
        log::info!(
            "Embedded store in {} writes again",
            self.room.dir().display()
        );
        self.flushed.send_modify(|flushed| flushed.trouble = None);
    }

    /// Creates the reserve. False: the disk is full. Any other failure is logged and the store goes on
    /// without one.
    fn reserves(&self) -> bool {
        match self.room.make_reserve() {
            Err(error) if is_full(&error) => false,
            Err(error) => {
                let dir = self.room.dir().display();
                log::warn!(
                    "Cannot reserve space in {dir}: {error}. If the disk fills up, requests in flight may fail to settle"
                );
                true
            }
            Ok(()) => true,
        }
    }

    /// Waits for changes and takes them as the next batch. While an earlier batch is unwritten, changes keep
    /// going to the other journal file. True: this is the last batch.
    fn gather(&self, batch: &mut Batch) -> bool {
        let mut memory = self.memory();
        if batch.file.is_some() {
            return memory.closing;
        }
        if memory.pending.is_empty() && !memory.closing {
            self.work.wait_for(&mut memory, SPACE_CHECK_INTERVAL);
        }
        // The journal has these changes: unless a caller waits for the flush, one commit can serve many of
        // them.
        let until = Instant::now() + GROUP_COMMIT_DELAY;
        while self.flushed.receiver_count() == 0 && !memory.closing && !memory.pending.is_empty() {
            let Some(wait) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            self.work.wait_for(&mut memory, wait);
        }
        let is_filled = !memory.pending.is_empty();
        *batch = Batch {
            changes: std::mem::take(&mut memory.pending),
            sequence: memory.sequence,
            file: is_filled.then(|| memory.journal.turn()),
        };
        memory.closing
    }

    fn flush(&self, batch: &Batch, now: Millis, stuck: &mut bool) -> Result<(), Trouble> {
        if !self.room.has_for(batch.bytes()) {
            return Err(Trouble::Full);
        }
        if *stuck {
            self.open_again().map_err(Trouble::Broken)?;
            *stuck = false;
        }
        let database = self
            .database()
            .map_err(|error| Trouble::Broken(error.to_string()))?;
        let cleared = database::commit(&database, batch, Some(now)).map_err(|error| {
            *stuck = true;
            match error {
                redb::Error::Io(error) => trouble_of(&error),
                error => Trouble::Broken(error.to_string()),
            }
        })?;
        let mut memory = self.memory();
        for name in cleared {
            memory.things.remove(&name);
        }
        let Some(file) = batch.file else {
            return Ok(());
        };
        memory
            .journal
            .empty(file, batch.sequence)
            .map_err(|error| trouble_of(&error))
    }

    fn open_again(&self) -> Result<(), String> {
        let mut database = self.database.lock();
        // Readers may hold the old handle for a moment; then a later attempt succeeds.
        drop(database.take());
        let opened = database::open(self.room.dir())?;
        let done = database::progress(&opened).map_err(|error| error.to_string())?;
        if done < self.flushed.borrow().sequence {
            let path = database::file(self.room.dir());
            return Err(database::damaged(&path, &"it has lost what was written"));
        }
        *database = Some(Arc::new(opened));
        Ok(())
    }

    /// Makes the flusher write the last batch and end.
    pub fn stop(&self) {
        self.memory().closing = true;
        self.work.notify_one();
    }

    /// Closes the database, so that another process can open the directory. Later reads and writes fail.
    pub fn release(&self) {
        self.database.lock().take();
    }
}

const RESTORE: &str = "`resullm store restore` brings a backup back";

fn sealed(changes: Vec<Change>) -> Result<Vec<Change>, Altered> {
    let seal = |change: Change| {
        let value = change.value.as_deref();
        let value = value.map(|value| Stored::sealed(&change.name, value));
        Ok(Change {
            value: value.transpose()?,
            ..change
        })
    };
    changes.into_iter().map(seal).collect()
}

fn trouble_of(error: &std::io::Error) -> Trouble {
    if is_full(error) {
        Trouble::Full
    } else {
        Trouble::Broken(error.to_string())
    }
}

fn unavailable(error: redb::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn decoded(name: &str, bytes: &[u8]) -> Outcome<Stored> {
    Stored::decode(name, bytes).map_err(|Altered| StoreError::Damaged {
        name: name::id(name),
        damage: Damage::Altered,
    })
}

fn encoded(name: &str, stored: Option<&Stored>) -> Outcome<Option<Vec<u8>>> {
    let value = stored.map(|stored| stored.encode(name)).transpose();
    value.map_err(|error| StoreError::Unavailable(error.to_string()))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
