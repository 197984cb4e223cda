//! The hold journal: open holds and leases of this instance on disk, so that a crash costs neither side
//! tokens.
//!
//! A line is written when a hold begins, when its known cost rises, when its settlement is decided and when
//! the store has it; for a lease, what is spent and what was reported. The next start settles what is open in
//! pages that no living process has locked. A truncated last line is ignored; a damaged page aborts the
//! start. The journal never decides a cost, and failing to write it must not stop a request.
//!
//! Pages are never fsynced. After a reboot lines may be missing anywhere: a page is read to its first fault,
//! and nothing in it is charged that a lost line may have reported. Lease spending is written before its
//! client receives the end of the response, and before any report that includes it.

mod page;

use super::boot::{self, Boot};
use super::name::AccountName;
use crate::rules::amount::{Millis, Tokens};
use crate::threads;
use page::{Draft, Leftover, Page, Part};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Suffix of a page's file name, `<process>-<page>.<boot ID>.held`.
const PAGE_SUFFIX: &str = ".held";
/// Suffix used by earlier versions, whose lines had no checksums.
const EARLIER: &str = ".holds";
/// Maximum number of pages; threads with a higher number share them.
const MAX_PAGES: usize = 64;

/// A request whose hold a dead process left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub account: AccountName,
    pub id: String,
    /// Known cost in tokens.
    pub used: Tokens,
    /// Whether `used` is the final cost, which the store has not acknowledged.
    pub decided: bool,
}

/// A request of a dead process whose usage record may not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrecorded {
    pub id: String,
    /// Members of the record as they were known when the hold began.
    pub context: String,
    /// Members as they were known when it was settled, and that moment. `None`: it was not.
    pub settled: Option<(Millis, String)>,
    pub cost: Tokens,
}

/// A lease that a dead process left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLease {
    pub account: AccountName,
    pub name: String,
    /// Number of the latest report.
    pub number: u64,
    /// Tokens spent by report `number`, if the store did not acknowledge it.
    pub in_doubt: Option<Tokens>,
    /// Tokens settled since report `number`.
    pub spent: Tokens,
    /// Known cost in tokens of the requests still held against the lease.
    pub known: Tokens,
}

/// The journal of one process: one `Page` per thread, created at its first write.
pub struct Journal {
    dir: Option<PathBuf>,
    name: String,
    /// Boot ID, kept in each page's file name because a power loss cannot tear a name.
    boot: String,
    pages: Vec<OnceLock<Option<Mutex<Page>>>>,
}

/// Reason why [`Journal::open`] failed.
#[derive(Debug)]
pub enum JournalError {
    /// The page of a dead process cannot be read. An operator must look at it.
    Damaged(String),
    /// The directory cannot be written. Requests can be served without a journal.
    Unwritable(io::Error),
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> JournalError {
        JournalError::Unwritable(error)
    }
}

/// Pages of dead processes, kept locked until [`DeadPages::delete`] once their holds and leases are settled.
pub struct DeadPages {
    pub unfinished: Vec<Unfinished>,
    pub leases: Vec<OpenLease>,
    pub unrecorded: Vec<Unrecorded>,
    files: Vec<(PathBuf, File)>,
}

impl DeadPages {
    pub fn delete(self) {
        for (path, file) in self.files {
            if let Err(error) = fs::remove_file(&path) {
                log::warn!(
                    "Cannot delete the settled journal page {}: {error}. It does no harm; delete it by hand",
                    path.display()
                );
            }
            // Unlock after the deletion, so that no other process reads the page in between.
            drop(file);
        }
    }
}

impl Journal {
    /// Returns a journal that writes nothing.
    pub fn none() -> Journal {
        Journal::in_dir(None)
    }

    fn in_dir(dir: Option<PathBuf>) -> Journal {
        Journal {
            dir,
            name: uuid::Uuid::now_v7().simple().to_string(),
            boot: boot::id().unwrap_or_default(),
            pages: (0..MAX_PAGES).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Creates a journal with its own pages in `dir`, and reads the pages of dead processes there.
    pub fn open(dir: &Path) -> Result<(Journal, DeadPages), JournalError> {
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
            if path.to_string_lossy().ends_with(page::REWRITE_SUFFIX) {
                // An interrupted rewrite: the original page still has every line.
                fs::remove_file(&path)?;
                continue;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            left.push(read_page(&path, &bytes).map_err(JournalError::Damaged)?);
            files.push((path, file));
        }
        let unrecorded = unrecorded(&left);
        let (unfinished, leases) = together(left);
        let legacy = DeadPages {
            unfinished,
            leases,
            unrecorded,
            files,
        };
        let journal = Journal::in_dir(Some(dir.to_owned()));
        // Create the first page now: an unwritable directory must show at start, not at the first request.
        if let Some(page) = journal.page(0) {
            drop(page);
        } else {
            return Err(io::Error::other("it cannot be written").into());
        }
        Ok((journal, legacy))
    }

    /// Deletes this process's pages at shutdown, unless one of them has anything open.
    pub fn finish(&self) {
        let pages: Vec<_> = self.pages().collect();
        if !pages.iter().any(|page| page.owes()) {
            pages.iter().for_each(|page| page.remove());
        }
    }

    fn page(&self, number: usize) -> Option<MutexGuard<'_, Page>> {
        let dir = self.dir.as_ref()?;
        let page = self.pages[number].get_or_init(|| {
            let name = format!("{}-{number}.{}{PAGE_SUFFIX}", self.name, self.boot);
            let page = Page::create(dir, &name);
            page.inspect_err(|error| log::error!("The journal cannot be written: {error}. Requests go on; after a crash their tokens would stay held until they expire"))
                .ok()
                .map(Mutex::new)
        });
        Some(page.as_ref()?.lock())
    }

    /// Returns the current thread's page.
    fn here(&self) -> Option<MutexGuard<'_, Page>> {
        self.page(threads::number() % MAX_PAGES)
    }

    /// Iterates over the pages created so far.
    fn pages(&self) -> impl Iterator<Item = MutexGuard<'_, Page>> {
        let made = self.pages.iter().filter_map(|page| page.get()?.as_ref());
        made.map(|page| page.lock())
    }

    /// Returns the page that has request `id`: almost always the current thread's.
    fn of(&self, id: &str) -> Option<MutexGuard<'_, Page>> {
        if let Some(page) = self.here().filter(|page| page.has(id)) {
            return Some(page);
        }
        self.pages().find(|page| page.has(id))
    }

    /// Returns the number of requests that are begun and not ended.
    pub fn open_count(&self) -> usize {
        self.pages().map(|page| page.open_count()).sum()
    }

    /// Notes that request `id` has a hold on `account`, with `known` tokens certain so far. [`Journal::context`] follows
    /// at once and writes the line.
    pub fn begin(&self, account: &AccountName, id: &str, known: Tokens) {
        if let Some(mut page) = self.here() {
            page.begin(account.as_str(), id, known);
        }
    }

    /// Writes that request `id` is known to have cost `known` tokens so far.
    pub fn know(&self, id: &str, known: Tokens) {
        if let Some(mut page) = self.of(id) {
            page.learn('K', id, known);
        }
    }

    /// Notes what is known of the usage record of request `id` from the beginning: members of a JSON object. The line is
    /// buffered where the hold is a lease's.
    pub fn context(&self, id: &str, context: &str) {
        if let Some(mut page) = self.of(id) {
            page.context(id, context);
        }
    }

    /// Writes the final cost of request `id`, before the store is asked to settle it, and the rest of its usage record.
    pub fn decide(&self, id: &str, used: Tokens, (at, note): (Millis, &str)) {
        if let Some(mut page) = self.of(id) {
            page.draft(id, at, used, note);
            page.learn('D', id, used);
        }
    }

    /// Notes that the usage records of these requests are written. The lines are buffered.
    pub(crate) fn recorded<'a>(&self, ids: impl Iterator<Item = &'a str> + Clone) {
        self.pages().for_each(|mut page| page.recorded(ids.clone()));
    }

    /// Writes that the store has the settlement of request `id`.
    pub fn end(&self, id: &str) {
        if let Some(mut page) = self.of(id) {
            page.end(id);
        }
    }

    /// Writes that requests of `account` are held against lease `name` from now on.
    pub fn lease(&self, account: &AccountName, name: &str) {
        if let Some(mut page) = self.here() {
            page.lease(account.as_str(), name);
        }
    }

    /// Writes that request `id` is held against lease `name`. The line is buffered; [`Journal::flush_here`]
    /// writes it before this thread sleeps.
    pub fn begin_leased(&self, name: &str, id: &str, known: Tokens) {
        if let Some(mut page) = self.here() {
            page.begin_leased(name, id, known);
        }
    }

    /// Writes that request `id` has cost `used` tokens of lease `name`, and the rest of its usage record.
    pub fn spend(&self, name: &str, id: &str, used: Tokens, (at, note): (Millis, &str)) {
        // Where the request began on another thread, its `S` line must be on the same page as its `b` line.
        if let Some(mut page) = self.of(id) {
            page.draft(id, at, used, note);
            page.spend(name, id, used);
        }
    }

    /// Writes that report `number` is about to tell the store of `spent` tokens of lease `name`. All pages
    /// are flushed first, so that every spending it includes is written.
    pub fn report(&self, name: &str, number: u64, spent: Tokens) {
        self.flush();
        if let Some(mut page) = self.here() {
            page.report(name, number, spent);
        }
    }

    /// Writes that the store acknowledged report `number`.
    pub fn heard(&self, name: &str, number: u64) {
        if let Some(mut page) = self.here() {
            page.heard(name, number);
        }
    }

    /// Writes on every page that lease `name` ended with nothing left to report.
    pub(crate) fn end_lease(&self, name: &str) {
        self.pages().for_each(|mut page| page.end_lease(name));
    }

    /// Writes the current thread's buffered lines.
    pub fn flush_here(&self) {
        let page = self.pages[threads::number() % MAX_PAGES].get();
        if let Some(Some(page)) = page {
            page.lock().flush();
        }
    }

    /// Writes the buffered lines of all pages.
    pub fn flush(&self) {
        self.pages().for_each(|mut page| page.flush());
    }
}

/// Returns one message per damaged page in `dir`. No page is changed.
pub fn check(dir: &Path) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_page(&path) && !path.to_string_lossy().ends_with(page::REWRITE_SUFFIX) {
            faults.extend(read_page(&path, &fs::read(&path)?).err());
        }
    }
    Ok(faults)
}

fn is_page(path: &Path) -> bool {
    let path = path.to_string_lossy();
    let name = path.strip_suffix(page::REWRITE_SUFFIX).unwrap_or(&path);
    name.ends_with(PAGE_SUFFIX) || name.ends_with(EARLIER)
}

fn read_page(path: &Path, bytes: &[u8]) -> Result<Leftover, String> {
    if path.to_string_lossy().ends_with(EARLIER) {
        return Ok(Leftover::read_earlier(&String::from_utf8_lossy(bytes)));
    }
    Leftover::read(bytes, boot_of(path))
        .map_err(|at| format!("{} is damaged at byte {at}", path.display()))
}

fn boot_of(path: &Path) -> Boot {
    let name = path.file_stem().map(|name| name.to_string_lossy());
    Boot::of(
        name.as_deref()
            .and_then(|name| Some(name.rsplit_once('.')?.1)),
    )
}

/// Opens and locks a page whose process is dead. `None`: the process lives, or the path is gone or has
/// another inode by now, because a living process rewrote the page.
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

/// Returns the requests of dead processes whose usage records may not be written: settled ones, and ones that are about
/// to be settled.
fn unrecorded(pages: &[Leftover]) -> Vec<Unrecorded> {
    let drafts = pages.iter().flat_map(|page| &page.drafts);
    let drafts = drafts.map(|(id, draft)| {
        let Draft {
            context, note, at, ..
        } = draft;
        Unrecorded {
            id: id.clone(),
            context: context.clone(),
            settled: Some((Millis(*at), note.clone())),
            cost: Tokens::new(draft.cost),
        }
    });
    let open = pages.iter().flat_map(|page| {
        let open = page.open.iter();
        open.filter(|(id, _)| !page.drafts.contains_key(*id))
    });
    let open = open.map(|(id, entry)| Unrecorded {
        id: id.clone(),
        context: entry.context.clone(),
        settled: None,
        cost: Tokens::new(entry.known),
    });
    drafts.chain(open).collect()
}

/// Merges the pages of dead processes into open requests and open leases.
fn together(pages: Vec<Leftover>) -> (Vec<Unfinished>, Vec<OpenLease>) {
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
