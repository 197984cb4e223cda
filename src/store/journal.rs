//! What this instance has under way, on disk, so that its death costs neither side anything.
//!
//! A line is written when a hold is taken, when more is known of its cost, when a settlement is
//! decided, and when the store has it; of a lease, what is spent of it and what the store was told. The
//! next start reads the pages that no living process holds locked and settles what they left open. A
//! line that was cut short by a crash says nothing; a page that is damaged ends the start. It never
//! decides a cost, and a journal that cannot be written must not stop a request.
//!
//! Pages are never flushed. After the machine was started anew, lines may be missing anywhere: a page is taken to its
//! first fault, and nothing in it is charged that the store may have heard of in a line that is lost.
//!
//! What is spent of a lease is written before its client hears the end of the answer, and before any
//! report that counts it.

mod page;

use super::boot::{self, Boot};
use super::name::AccountName;
use crate::rules::amount::Tokens;
use crate::threads;
use page::{Left, Page, Part};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const SUFFIX: &str = ".held";
/// That of earlier versions, whose lines had no checksums.
const EARLIER: &str = ".holds";
/// Threads beyond this share their pages.
const PAGES: usize = 64;

/// A request that a process left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub account: AccountName,
    pub id: String,
    /// What it was known to have cost.
    pub used: Tokens,
    /// That was all: only the store had not heard of it.
    pub decided: bool,
}

/// A lease that a process left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLease {
    pub account: AccountName,
    pub name: String,
    /// The latest report, and what it said was spent, if the store did not answer it.
    pub number: u64,
    pub in_doubt: Option<Tokens>,
    /// Settled since that report.
    pub spent: Tokens,
    /// What its requests under way were known to have cost.
    pub known: Tokens,
}

/// A page for each thread, made when it has something to write.
pub struct Journal {
    dir: Option<PathBuf>,
    name: String,
    /// In the name of each page, which no loss of power can tear.
    boot: String,
    pages: Vec<OnceLock<Option<Mutex<Page>>>>,
}

/// Why there is no journal.
#[derive(Debug)]
pub enum NoJournal {
    /// What a dead process had under way cannot be read: someone must look at it.
    Damaged(String),
    /// Nothing can be written there. Requests can go on without.
    Unwritable(io::Error),
}

impl From<io::Error> for NoJournal {
    fn from(error: io::Error) -> NoJournal {
        NoJournal::Unwritable(error)
    }
}

/// The files of processes that are no more. They are deleted when what they left is settled.
pub struct Legacy {
    pub unfinished: Vec<Unfinished>,
    pub leases: Vec<OpenLease>,
    files: Vec<(PathBuf, File)>,
}

impl Legacy {
    pub fn delete(self) {
        for (path, file) in self.files {
            if let Err(error) = fs::remove_file(&path) {
                log::warn!("Cannot delete {}: {error}", path.display());
            }
            // Unlocked only now, so that nobody reads it in between.
            drop(file);
        }
    }
}

impl Journal {
    /// One that writes nothing.
    pub fn none() -> Journal {
        Journal::in_dir(None)
    }

    fn in_dir(dir: Option<PathBuf>) -> Journal {
        Journal {
            dir,
            name: uuid::Uuid::now_v7().simple().to_string(),
            boot: boot::id().unwrap_or_default(),
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
        }
    }

    /// One that writes to files of its own in `dir`, and what the dead have left there.
    pub fn open(dir: &Path) -> Result<(Journal, Legacy), NoJournal> {
        fs::create_dir_all(dir)?;
        let mut files = Vec::new();
        let mut left = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if !is_page(&path) {
                continue;
            }
            let Some(mut file) = of_the_dead(&path)? else {
                continue;
            };
            if path.to_string_lossy().ends_with(page::UNFINISHED) {
                // Its page has all that it has.
                fs::remove_file(&path)?;
                continue;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            left.push(read_page(&path, &bytes).map_err(NoJournal::Damaged)?);
            files.push((path, file));
        }
        let (unfinished, leases) = together(left);
        let legacy = Legacy {
            unfinished,
            leases,
            files,
        };
        let journal = Journal::in_dir(Some(dir.to_owned()));
        // Whether it can be written is known now, not at the first request.
        if let Some(page) = journal.page(0) {
            drop(page);
        } else {
            return Err(io::Error::other("it cannot be written").into());
        }
        Ok((journal, legacy))
    }

    /// At the end of a process that has nothing left open, nothing is left of its journal.
    pub fn finish(&self) {
        let pages: Vec<_> = self.pages().collect();
        if !pages.iter().any(|page| page.owes()) {
            pages.iter().for_each(|page| page.remove());
        }
    }

    fn page(&self, number: usize) -> Option<MutexGuard<'_, Page>> {
        let dir = self.dir.as_ref()?;
        let page = self.pages[number].get_or_init(|| {
            let name = format!("{}-{number}.{}{SUFFIX}", self.name, self.boot);
            let page = Page::create(dir, &name);
            page.inspect_err(|error| log::error!("The journal cannot be written: {error}"))
                .ok()
                .map(Mutex::new)
        });
        Some(
            page.as_ref()?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// This thread's page.
    fn here(&self) -> Option<MutexGuard<'_, Page>> {
        self.page(threads::number() % PAGES)
    }

    /// Every page there is.
    fn pages(&self) -> impl Iterator<Item = MutexGuard<'_, Page>> {
        let made = self.pages.iter().filter_map(|page| page.get()?.as_ref());
        made.map(|page| page.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The page that has a request: almost always this thread's.
    fn of(&self, id: &str) -> Option<MutexGuard<'_, Page>> {
        if let Some(page) = self.here().filter(|page| page.has(id)) {
            return Some(page);
        }
        self.pages().find(|page| page.has(id))
    }

    /// A hold is taken, and this much is known of its cost.
    pub fn begin(&self, account: &AccountName, id: &str, known: Tokens) {
        if let Some(mut page) = self.here() {
            page.begin(account.as_str(), id, known);
        }
    }

    /// More is known by now.
    pub fn know(&self, id: &str, known: Tokens) {
        if let Some(mut page) = self.of(id) {
            page.learn('K', id, known);
        }
    }

    /// This is what it has cost, and the store is about to hear of it.
    pub fn decide(&self, id: &str, used: Tokens) {
        if let Some(mut page) = self.of(id) {
            page.learn('D', id, used);
        }
    }

    /// The store has the settlement.
    pub fn end(&self, id: &str) {
        if let Some(mut page) = self.of(id) {
            page.end(id);
        }
    }

    /// From here on, requests are held against a lease of that name.
    pub fn lease(&self, account: &AccountName, name: &str) {
        if let Some(mut page) = self.here() {
            page.lease(account.as_str(), name);
        }
    }

    /// A request is held against a lease. Its line leaves before this thread sleeps.
    pub fn begin_leased(&self, name: &str, id: &str, known: Tokens) {
        if let Some(mut page) = self.here() {
            page.begin_leased(name, id, known);
        }
    }

    /// A request has cost this much of its lease.
    pub fn spend(&self, name: &str, id: &str, used: Tokens) {
        if let Some(mut page) = self.here() {
            if !page.has(id) {
                drop(page);
                // It was begun on another thread: both lines belong together.
                if let Some(mut page) = self.of(id) {
                    page.spend(name, id, used);
                }
                return;
            }
            page.spend(name, id, used);
        }
    }

    /// The store is about to hear what was spent of a lease.
    pub fn report(&self, name: &str, number: u64, spent: Tokens) {
        self.flush();
        if let Some(mut page) = self.here() {
            page.report(name, number, spent);
        }
    }

    /// The store has that report.
    pub fn heard(&self, name: &str, number: u64) {
        if let Some(mut page) = self.here() {
            page.heard(name, number);
        }
    }

    /// Nothing more is owed to a lease.
    pub fn end_lease(&self, name: &str) {
        self.pages().for_each(|mut page| page.end_lease(name));
    }

    /// Writes the lines of this thread that wait.
    pub fn flush_here(&self) {
        let page = self.pages[threads::number() % PAGES].get();
        if let Some(Some(page)) = page {
            page.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }

    /// Writes every line that waits.
    pub fn flush(&self) {
        self.pages().for_each(|mut page| page.flush());
    }
}

/// What is wrong with the pages in a directory. They are not touched.
pub fn check(dir: &Path) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_page(&path) && !path.to_string_lossy().ends_with(page::UNFINISHED) {
            faults.extend(read_page(&path, &fs::read(&path)?).err());
        }
    }
    Ok(faults)
}

fn is_page(path: &Path) -> bool {
    let path = path.to_string_lossy();
    let name = path.strip_suffix(page::UNFINISHED).unwrap_or(&path);
    name.ends_with(SUFFIX) || name.ends_with(EARLIER)
}

fn read_page(path: &Path, bytes: &[u8]) -> Result<Left, String> {
    if path.to_string_lossy().ends_with(EARLIER) {
        return Ok(Left::read_earlier(&String::from_utf8_lossy(bytes)));
    }
    Left::read(bytes, boot_of(path))
        .map_err(|at| format!("{} is damaged at byte {at}", path.display()))
}

fn boot_of(path: &Path) -> Boot {
    let name = path.file_stem().map(|name| name.to_string_lossy());
    Boot::of(
        name.as_deref()
            .and_then(|name| Some(name.rsplit_once('.')?.1)),
    )
}

/// A page whose process is no more, locked. A living one may just be writing it anew: then another file
/// has its place by now.
fn of_the_dead(path: &Path) -> io::Result<Option<File>> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if is_gone(&error) => return Ok(None),
        file => file?,
    };
    if file.try_lock().is_err() {
        return Ok(None);
    }
    match fs::metadata(path) {
        Err(error) if is_gone(&error) => Ok(None),
        there => Ok((there?.ino() == file.metadata()?.ino()).then_some(file)),
    }
}

/// What all pages of the dead leave open together.
fn together(pages: Vec<Left>) -> (Vec<Unfinished>, Vec<OpenLease>) {
    let mut unfinished = Vec::new();
    let mut known: HashMap<String, Tokens> = HashMap::new();
    let mut leases: HashMap<String, Part> = HashMap::new();
    let mut ended = Vec::new();
    for page in pages {
        for (id, entry) in page.open {
            let cost = Tokens::new(entry.known);
            if entry.leased {
                let sum = known.entry(entry.of).or_default();
                *sum = sum.plus(cost);
            } else if let Some(account) = AccountName::parse(&entry.of) {
                unfinished.push(Unfinished {
                    account,
                    id,
                    used: cost,
                    decided: entry.decided,
                });
            }
        }
        for (name, part) in page.leases {
            let whole = leases.entry(name).or_default();
            whole.spent += part.spent;
            whole.heard = whole.heard.max(part.heard);
            whole.account = whole.account.take().or(part.account);
            if part.number > whole.number {
                whole.number = part.number;
                whole.told = part.told;
            }
        }
        ended.extend(page.ended);
    }
    for name in ended {
        leases.remove(&name);
    }
    let leases = leases.into_iter().filter_map(|(name, part)| {
        let in_doubt = part.number > part.heard;
        Some(OpenLease {
            account: AccountName::parse(part.account.as_deref()?)?,
            number: part.number,
            in_doubt: in_doubt.then(|| Tokens::new(part.told)),
            spent: Tokens::new(u64::try_from(part.spent).unwrap_or(0)),
            known: known.get(&name).copied().unwrap_or_default(),
            name,
        })
    });
    (unfinished, leases.collect())
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
