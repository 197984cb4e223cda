//! The directory on disk: what is stored, in memory and behind it, and the one thread that flushes.
//!
//! A change is decided in memory under one lock, written to the journal, and acknowledged. The
//! flusher then commits everything that arrived meanwhile to the database in one transaction with a
//! real flush (group commit). Memory is ahead of the database, never behind it.

use super::journal::{Change, Journal};
use super::stored::Stored;
use crate::rules::amount::Millis;
use crate::store::{Outcome, StoreError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const THINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("things");
/// When a thing expires, then its name: what the flusher clears away.
const EXPIRIES: TableDefinition<(u64, &str), ()> = TableDefinition::new("expiries");
/// The number of the latest change the database holds, so that no older one is replayed over it.
const PROGRESS: TableDefinition<(), u64> = TableDefinition::new("progress");

/// Things kept in memory before the flushed ones are let go.
const REMEMBERED: usize = 200_000;
/// Expired things cleared away in one go.
const CLEARED: usize = 1_000;
const CLEAR_EVERY: Duration = Duration::from_secs(30);
/// So long changes wait for others to be flushed with.
const GATHER_FOR: Duration = Duration::from_millis(200);
const RETRY_EVERY: Duration = Duration::from_secs(1);

pub struct Disk {
    /// Gone once the store is closed, so that another process can have the directory.
    database: Mutex<Option<Arc<Database>>>,
    memory: Mutex<Memory>,
    work: Condvar,
    flushed: watch::Sender<Flushed>,
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

struct Pending {
    value: Option<Vec<u8>>,
    expires: Option<Millis>,
}

/// Everything up to `sequence` that the database does not have yet, and the journal file it fills.
#[derive(Default)]
struct Batch {
    changes: HashMap<String, Pending>,
    sequence: u64,
    file: Option<usize>,
}

/// How far the database has come, and why it does not come further.
#[derive(Clone, Debug, Default)]
struct Flushed {
    sequence: u64,
    trouble: Option<String>,
}

/// What a change wants done to a thing.
pub enum Next {
    Keep,
    Set(Stored),
    Remove,
}

impl Disk {
    pub fn open(dir: &Path) -> Result<Disk, String> {
        let at = |what: &str, error: &dyn std::fmt::Display| {
            format!("cannot {what} {}: {error}", dir.display())
        };
        std::fs::create_dir_all(dir).map_err(|error| at("create", &error))?;
        let database = Database::create(dir.join("resullm.redb")).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => format!(
                "{} is in use by another process{}; an embedded store serves one process at a time",
                dir.display(),
                std::fs::read_to_string(dir.join("pid"))
                    .map(|pid| format!(" (pid {})", pid.trim()))
                    .unwrap_or_default()
            ),
            error => at("open the store in", &error),
        })?;
        std::fs::write(dir.join("pid"), format!("{}\n", std::process::id()))
            .map_err(|error| at("write to", &error))?;
        let (mut journal, changes) =
            Journal::open(dir).map_err(|error| at("open the journal in", &error))?;
        let done = progress(&database).map_err(|error| at("read", &error))?;
        let mut replayed = Batch {
            sequence: done,
            ..Batch::default()
        };
        for change in changes.into_iter().filter(|change| change.sequence > done) {
            let stored = change.value.as_deref().map(Stored::decode).transpose();
            let stored = stored.map_err(|error| at("read the journal in", &error))?;
            let pending = Pending {
                value: change.value,
                expires: stored.and_then(|s| s.expires),
            };
            replayed.changes.insert(change.name, pending);
            replayed.sequence = change.sequence;
        }
        commit(&database, &replayed, None).map_err(|error| at("write to", &error))?;
        for file in [0, 1] {
            journal
                .empty(file)
                .map_err(|error| at("write to", &error))?;
        }
        let sequence = replayed.sequence;
        Ok(Disk {
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
        })
    }

    /// A panic elsewhere must not take the store with it: nothing here is left half done, because
    /// memory changes only after the journal has the change.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thing as it stands, expired ones included.
    pub fn read(&self, name: &str) -> Outcome<Option<Arc<Stored>>> {
        let mut memory = self.memory();
        self.recall(&mut memory, name)
    }

    fn recall(&self, memory: &mut Memory, name: &str) -> Outcome<Option<Arc<Stored>>> {
        if let Some(known) = memory.things.get(name) {
            return Ok(known.stored.clone());
        }
        let stored = self
            .fetch(name)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        if memory.things.len() >= REMEMBERED {
            let flushed = self.flushed.borrow().sequence;
            memory.things.retain(|_, thing| thing.sequence > flushed);
        }
        // Absent things are not remembered: strangers choose their names.
        if let Some(stored) = &stored {
            let thing = Remembered {
                stored: Some(stored.clone()),
                sequence: 0,
            };
            memory.things.insert(name.to_owned(), thing);
        }
        Ok(stored)
    }

    fn database(&self) -> Result<Arc<Database>, String> {
        let database = self
            .database
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        database.ok_or_else(|| "the store is closed".to_owned())
    }

    fn fetch(&self, name: &str) -> Result<Option<Arc<Stored>>, Box<dyn std::error::Error>> {
        let table = self.database()?.begin_read()?.open_table(THINGS)?;
        let Some(bytes) = table.get(name)? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Stored::decode(bytes.value())?)))
    }

    /// One atomic step on one thing. Returns what the step found and the number to wait for.
    pub fn change<T>(
        &self,
        name: &str,
        step: impl FnOnce(Option<&Stored>) -> Outcome<(T, Next)>,
    ) -> Outcome<(T, u64)> {
        let mut memory = self.memory();
        let found = self.recall(&mut memory, name)?;
        let (outcome, next) = step(found.as_deref())?;
        let stored = match next {
            Next::Keep => return Ok((outcome, memory.sequence)),
            Next::Set(stored) => Some(stored),
            Next::Remove => None,
        };
        self.writable(&memory)?;
        let value = encoded(stored.as_ref())?;
        let sequence = memory.sequence + 1;
        let change = Change {
            sequence,
            name: name.to_owned(),
            value,
        };
        memory
            .journal
            .append(&change)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        memory.sequence = sequence;
        // Only a new thing brings its expiry: nothing changes it later.
        let expires = match (&found, &stored) {
            (None, Some(stored)) => stored.expires,
            _ => memory.pending.get(name).and_then(|pending| pending.expires),
        };
        let is_first = memory.pending.is_empty();
        memory.pending.insert(
            change.name.clone(),
            Pending {
                value: change.value,
                expires,
            },
        );
        memory.things.insert(
            change.name,
            Remembered {
                stored: stored.map(Arc::new),
                sequence,
            },
        );
        if is_first {
            self.work.notify_one();
        }
        Ok((outcome, sequence))
    }

    /// Writes or removes a thing that is not looked at before it is flushed, and that may be lost with the
    /// process: it is in no journal.
    pub fn put_aside(&self, name: &str, stored: Option<&Stored>) -> Outcome<()> {
        let value = encoded(stored)?;
        let mut memory = self.memory();
        self.writable(&memory)?;
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

    fn writable(&self, memory: &Memory) -> Outcome<()> {
        if memory.closing {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        match &self.flushed.borrow().trouble {
            Some(trouble) => Err(StoreError::Unavailable(trouble.clone())),
            None => Ok(()),
        }
    }

    /// Waits until a change is in the database and flushed.
    pub async fn durable(&self, sequence: u64) -> Outcome<()> {
        let mut flushed = self.flushed.subscribe();
        {
            // The flusher is either waiting by now or will see that someone waits for it.
            let _memory = self.memory();
            self.work.notify_one();
        }
        let state = flushed
            .wait_for(|flushed| flushed.sequence >= sequence || flushed.trouble.is_some())
            .await
            .map_err(|_| StoreError::Unknown("the store is closed".to_owned()))?;
        match &state.trouble {
            Some(trouble) if state.sequence < sequence => Err(StoreError::Unknown(trouble.clone())),
            _ => Ok(()),
        }
    }

    pub fn trouble(&self) -> Option<String> {
        self.flushed.borrow().trouble.clone()
    }

    /// Names that start with `prefix`. Only for things that are flushed as they are written.
    pub fn names(&self, prefix: &str) -> Outcome<Vec<String>> {
        let list = || -> Result<Vec<String>, Box<dyn std::error::Error>> {
            let table = self.database()?.begin_read()?.open_table(THINGS)?;
            let mut names = Vec::new();
            for row in table.range(prefix..)? {
                let (name, _) = row?;
                if !name.value().starts_with(prefix) {
                    break;
                }
                names.push(name.value().to_owned());
            }
            Ok(names)
        };
        list().map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// The number of the latest change.
    pub fn sequence(&self) -> u64 {
        self.memory().sequence
    }

    /// The last things whose names start with `prefix`, the last one first. Only what is flushed.
    pub fn newest(&self, prefix: &str, most: usize) -> Outcome<Vec<(String, Stored)>> {
        let list = || -> Result<Vec<(String, Stored)>, Box<dyn std::error::Error>> {
            let table = self.database()?.begin_read()?.open_table(THINGS)?;
            let end = format!("{prefix}\u{7f}");
            let mut things = Vec::new();
            for row in table.range(prefix..end.as_str())?.rev().take(most) {
                let (name, bytes) = row?;
                things.push((name.value().to_owned(), Stored::decode(bytes.value())?));
            }
            Ok(things)
        };
        list().map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// The flusher's life. Returns when [`Disk::stop`] was called and everything is flushed.
    pub fn flush_until_stopped(&self, now: impl Fn() -> Millis) {
        let mut batch = Batch::default();
        loop {
            let closing = self.gather(&mut batch);
            match self.flush(&batch, now()) {
                Ok(()) => {
                    let sequence = batch.sequence;
                    batch = Batch::default();
                    self.flushed.send_replace(Flushed {
                        sequence,
                        trouble: None,
                    });
                    if closing {
                        return;
                    }
                }
                Err(error) => {
                    log::error!("Embedded store cannot write: {error}");
                    self.flushed
                        .send_modify(|flushed| flushed.trouble = Some(error));
                    if closing {
                        return;
                    }
                    std::thread::sleep(RETRY_EVERY);
                }
            }
        }
    }

    /// Waits for changes and takes them, unless an earlier batch is still to be written: changes
    /// then keep going to the other file. True: this is the last batch.
    fn gather(&self, batch: &mut Batch) -> bool {
        let mut memory = self.memory();
        if batch.file.is_some() {
            return memory.closing;
        }
        while memory.pending.is_empty() && !memory.closing {
            let (back, waited) = self
                .work
                .wait_timeout(memory, CLEAR_EVERY)
                .unwrap_or_else(PoisonError::into_inner);
            memory = back;
            if waited.timed_out() {
                break;
            }
        }
        // The journal has them: unless someone waits for the flush, one is enough for many changes.
        let until = Instant::now() + GATHER_FOR;
        while self.flushed.receiver_count() == 0 && !memory.closing && !memory.pending.is_empty() {
            let Some(wait) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            let waited = self.work.wait_timeout(memory, wait);
            memory = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *batch = Batch {
            changes: std::mem::take(&mut memory.pending),
            sequence: memory.sequence,
            file: Some(memory.journal.turn()),
        };
        memory.closing
    }

    fn flush(&self, batch: &Batch, now: Millis) -> Result<(), String> {
        let database = self.database()?;
        let cleared = commit(&database, batch, Some(now)).map_err(|error| error.to_string())?;
        let mut memory = self.memory();
        for name in cleared {
            memory.things.remove(&name);
        }
        let Some(file) = batch.file else {
            return Ok(());
        };
        memory
            .journal
            .empty(file)
            .map_err(|error| error.to_string())
    }

    /// The flusher writes what there is and ends.
    pub fn stop(&self) {
        self.memory().closing = true;
        self.work.notify_one();
    }

    /// Lets the directory go. Nothing can be read or written any more.
    pub fn release(&self) {
        self.database
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

fn encoded(stored: Option<&Stored>) -> Outcome<Option<Vec<u8>>> {
    let value = stored.map(Stored::encode).transpose();
    value.map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn progress(database: &Database) -> Result<u64, redb::Error> {
    match database.begin_read()?.open_table(PROGRESS) {
        Ok(table) => Ok(table.get(())?.map_or(0, |sequence| sequence.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Writes a batch and, given the time, clears away what has expired. Returns the names cleared.
fn commit(
    database: &Database,
    batch: &Batch,
    now: Option<Millis>,
) -> Result<Vec<String>, redb::Error> {
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
    Ok(cleared)
}
