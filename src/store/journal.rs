//! What this instance has under way, on disk, so that its death costs neither side anything.
//!
//! A line is written when a hold is taken, when more is known of its cost, when a settlement is
//! decided, and when the store has it; of a lease, what is spent of it and what the store was told. The
//! next start reads the files that no living process holds locked and settles what they left open. A
//! line that was cut short by a crash says nothing. It never decides a cost, and a journal that cannot
//! be written must not stop a request.

use super::name::AccountName;
use crate::rules::amount::Tokens;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const SUFFIX: &str = ".holds";
/// A file longer than this is written anew with what is still open.
const LONG: u64 = 4 << 20;

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

pub struct Journal {
    state: Option<Mutex<State>>,
}

struct State {
    file: File,
    path: PathBuf,
    length: u64,
    /// How much of it was still open when it was last written anew.
    kept: u64,
    open: HashMap<String, Entry>,
    leases: HashMap<String, LeaseEntry>,
    /// Lines that may wait for the next one.
    waiting: String,
    failed: bool,
}

struct Entry {
    /// Whose it is: an account's, or a lease's.
    of: String,
    leased: bool,
    known: u64,
    decided: bool,
}

#[derive(Default)]
struct LeaseEntry {
    account: String,
    number: u64,
    in_doubt: Option<u64>,
    /// Less than nothing for the moment between a report and the line that it counts.
    spent: i128,
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
        Journal { state: None }
    }

    /// A file of its own in `dir`, and what the dead have left there.
    pub fn open(dir: &Path) -> io::Result<(Journal, Legacy)> {
        fs::create_dir_all(dir)?;
        let mut legacy = Legacy {
            unfinished: Vec::new(),
            leases: Vec::new(),
            files: Vec::new(),
        };
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if !path.to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            if file.try_lock().is_err() {
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let (unfinished, leases) = left_open(&text);
            legacy.unfinished.extend(unfinished);
            legacy.leases.extend(leases);
            legacy.files.push((path, file));
        }
        let path = dir.join(format!("{}{SUFFIX}", uuid::Uuid::now_v7().simple()));
        // It holds keys.
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        file.try_lock()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let state = State {
            file,
            path,
            length: 0,
            kept: 0,
            open: HashMap::new(),
            leases: HashMap::new(),
            waiting: String::new(),
            failed: false,
        };
        Ok((
            Journal {
                state: Some(Mutex::new(state)),
            },
            legacy,
        ))
    }

    /// At the end of a process that has nothing left open, nothing is left of its journal.
    pub fn finish(&self) {
        let Some(state) = &self.state else { return };
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let owes = |lease: &LeaseEntry| lease.spent != 0 || lease.in_doubt.is_some();
        if state.open.is_empty()
            && !state.leases.values().any(owes)
            && let Err(error) = fs::remove_file(&state.path)
        {
            log::warn!("Cannot delete {}: {error}", state.path.display());
        }
    }

    /// A hold is taken, and this much is known of its cost.
    pub fn begin(&self, account: &AccountName, id: &str, known: Tokens) {
        self.write(|state| {
            let entry = Entry {
                of: account.as_str().to_owned(),
                leased: false,
                known: known.count(),
                decided: false,
            };
            state.open.insert(id.to_owned(), entry);
            format!("B {id} {known} {}\n", account.as_str())
        });
    }

    /// From here on, requests are held against a lease of that name.
    pub fn lease(&self, account: &AccountName, name: &str) {
        self.write(|state| {
            let entry = LeaseEntry {
                account: account.as_str().to_owned(),
                ..LeaseEntry::default()
            };
            state.leases.insert(name.to_owned(), entry);
            format!("L {name} {}\n", account.as_str())
        });
    }

    /// A request is held against a lease. Its line leaves with the next one, or with a flush.
    pub fn begin_leased(&self, name: &str, id: &str, known: Tokens) {
        let Some(state) = &self.state else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            of: name.to_owned(),
            leased: true,
            known: known.count(),
            decided: false,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(state.waiting, "b {id} {known} {name}");
        state.open.insert(id.to_owned(), entry);
    }

    /// A request has cost this much of its lease.
    pub fn spend(&self, name: &str, id: &str, used: Tokens) {
        self.write(|state| {
            state.open.remove(id);
            if let Some(lease) = state.leases.get_mut(name) {
                lease.spent += i128::from(used.count());
            }
            format!("S {id} {used} {name}\n")
        });
    }

    /// The store is about to hear what was spent of a lease.
    pub fn report(&self, name: &str, number: u64, spent: Tokens) {
        self.write(|state| {
            if let Some(lease) = state.leases.get_mut(name) {
                lease.number = number;
                lease.in_doubt = Some(spent.count());
                lease.spent -= i128::from(spent.count());
            }
            format!("R {name} {number} {spent}\n")
        });
    }

    /// The store has the latest report.
    pub fn heard(&self, name: &str) {
        self.write(|state| {
            if let Some(lease) = state.leases.get_mut(name) {
                lease.in_doubt = None;
            }
            format!("A {name}\n")
        });
    }

    /// Nothing more is owed to a lease.
    pub fn end_lease(&self, name: &str) {
        self.write(|state| {
            state.leases.remove(name);
            format!("X {name}\n")
        });
    }

    /// Writes the lines that wait.
    pub fn flush(&self) {
        let waits = |state: &State| !state.waiting.is_empty();
        let Some(state) = &self.state else { return };
        if waits(&state.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.write(|_| String::new());
        }
    }

    /// More is known by now.
    pub fn know(&self, id: &str, known: Tokens) {
        self.learn('K', id, known);
    }

    /// This is what it has cost, and the store is about to hear of it.
    pub fn decide(&self, id: &str, used: Tokens) {
        self.learn('D', id, used);
    }

    fn learn(&self, kind: char, id: &str, tokens: Tokens) {
        self.write(|state| {
            if let Some(entry) = state.open.get_mut(id) {
                entry.known = tokens.count();
                entry.decided |= kind == 'D';
            }
            format!("{kind} {id} {tokens}\n")
        });
    }

    /// The store has the settlement.
    pub fn end(&self, id: &str) {
        self.write(|state| {
            state.open.remove(id);
            format!("E {id}\n")
        });
    }

    fn write(&self, line: impl FnOnce(&mut State) -> String) {
        let Some(state) = &self.state else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line(&mut state);
        let written = if state.waiting.is_empty() {
            state.append(&line)
        } else {
            let mut lines = std::mem::take(&mut state.waiting);
            lines.push_str(&line);
            let written = state.append(&lines);
            lines.clear();
            state.waiting = lines;
            written
        };
        match written {
            Ok(()) => state.failed = false,
            Err(error) if !std::mem::replace(&mut state.failed, true) => {
                log::error!("The journal cannot be written: {error}");
            }
            Err(_) => {}
        }
    }
}

impl Entry {
    fn lines(&self, id: &str) -> String {
        let Entry {
            of,
            leased,
            known,
            decided,
        } = self;
        if *leased {
            return format!("b {id} {known} {of}\n");
        }
        let decided = if *decided {
            format!("D {id} {known}\n")
        } else {
            String::new()
        };
        format!("B {id} {known} {of}\n{decided}")
    }
}

impl LeaseEntry {
    fn lines(&self, name: &str) -> String {
        let LeaseEntry {
            account,
            number,
            in_doubt,
            spent,
        } = self;
        // What is in doubt was counted before it was reported.
        let counted = spent + i128::from(in_doubt.unwrap_or(0));
        let report = match in_doubt {
            Some(spent) => format!("R {name} {number} {spent}\n"),
            None => String::new(),
        };
        format!("L {name} {account}\nS - {counted} {name}\n{report}")
    }
}

impl State {
    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.length > LONG.max(4 * self.kept) {
            let leases = self.leases.iter().map(|(name, lease)| lease.lines(name));
            let open = self.open.iter().map(|(id, entry)| entry.lines(id));
            let lines: String = leases.chain(open).collect();
            // Behind the old lines first, then in their place: at no moment is anything missing.
            self.file.write_all(lines.as_bytes())?;
            let keep = lines.len() as u64;
            if keep < self.length / 2 {
                self.file.seek(SeekFrom::Start(0))?;
                self.file.write_all(lines.as_bytes())?;
                self.file.set_len(keep)?;
            }
            self.length = keep;
            self.kept = keep;
        }
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// What the lines leave open. Lines that make no sense are torn or half overwritten: the ones that
/// matter stand elsewhere in the file too.
fn left_open(text: &str) -> (Vec<Unfinished>, Vec<OpenLease>) {
    let mut open: HashMap<&str, (&str, bool, u64, bool)> = HashMap::new();
    let mut leases: HashMap<&str, LeaseEntry> = HashMap::new();
    let whole = |text: &str| text.parse::<u64>().ok();
    for line in text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [kind @ ("B" | "b"), id, known, of] => {
                if let Some(known) = whole(known) {
                    open.insert(id, (of, kind == "b", known, false));
                }
            }
            [kind @ ("K" | "D"), id, known] => {
                if let (Some((_, _, before, decided)), Some(known)) =
                    (open.get_mut(id), whole(known))
                {
                    *before = known;
                    *decided |= kind == "D";
                }
            }
            ["E", id] => {
                open.remove(id);
            }
            ["L", name, account] => {
                let entry = LeaseEntry {
                    account: account.to_owned(),
                    ..LeaseEntry::default()
                };
                leases.insert(name, entry);
            }
            ["S", id, used, name] => {
                open.remove(id);
                if let (Some(lease), Ok(used)) = (leases.get_mut(name), used.parse::<i128>()) {
                    lease.spent += used;
                }
            }
            ["R", name, number, spent] => {
                if let (Some(lease), Some(number), Some(spent)) =
                    (leases.get_mut(name), whole(number), whole(spent))
                {
                    lease.number = number;
                    lease.in_doubt = Some(spent);
                    lease.spent -= i128::from(spent);
                }
            }
            ["A", name] => {
                if let Some(lease) = leases.get_mut(name) {
                    lease.in_doubt = None;
                }
            }
            ["X", name] => {
                leases.remove(name);
            }
            _ => {}
        }
    }
    let mut known: HashMap<&str, Tokens> = HashMap::new();
    let mut unfinished = Vec::new();
    for (id, (of, leased, cost, decided)) in open {
        let cost = Tokens::new(cost);
        if leased {
            let sum = known.entry(of).or_default();
            *sum = sum.plus(cost);
        } else if let Some(account) = AccountName::parse(of) {
            unfinished.push(Unfinished {
                account,
                id: id.to_owned(),
                used: cost,
                decided,
            });
        }
    }
    let leases = leases.into_iter().filter_map(|(name, lease)| {
        Some(OpenLease {
            account: AccountName::parse(&lease.account)?,
            name: name.to_owned(),
            number: lease.number,
            in_doubt: lease.in_doubt.map(Tokens::new),
            spent: Tokens::new(u64::try_from(lease.spent).unwrap_or(0)),
            known: known.get(name).copied().unwrap_or_default(),
        })
    });
    (unfinished, leases.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountName {
        AccountName::user("u1").unwrap()
    }

    fn left(text: &str) -> Vec<(String, u64)> {
        let mut left: Vec<_> = left_open(text)
            .0
            .into_iter()
            .map(|open| (open.id, open.used.count()))
            .collect();
        left.sort();
        left
    }

    #[test]
    fn what_was_begun_and_not_ended_is_left_open() {
        let text = "B a 5 user:u1\nB b 0 apiKey:k\nK a 9\nE b\nB c 1 apiKey:k\nK c 2";
        assert_eq!(
            left(text),
            [("a".into(), 9), ("c".into(), 1)],
            "a torn line says nothing"
        );
        assert_eq!(left("nonsense\nB x y z\nE q\n\nB a b c d e\n"), []);
    }

    #[test]
    fn what_a_lease_owes_is_what_was_spent_and_not_heard() {
        let text = "L l 0 x\nL l apiKey:k\nb a 3 l\nb b 4 l\nS a 10 l\nR l 5 10\nS c 7 l\nK b 6\n\
                    L m apiKey:k\nS d 9 m\nR m 2 9\nA m\nL n apiKey:k\nX n\n";
        let (unfinished, mut leases) = left_open(text);
        assert!(unfinished.is_empty());
        leases.sort_by(|a, b| a.name.cmp(&b.name));
        let owed = |lease: &OpenLease| {
            let in_doubt = lease.in_doubt.map(Tokens::count);
            (
                lease.number,
                in_doubt,
                lease.spent.count(),
                lease.known.count(),
            )
        };
        let owed: Vec<_> = leases.iter().map(owed).collect();
        assert_eq!(owed, [(5, Some(10), 7, 6), (2, None, 0, 0)]);
    }

    #[test]
    fn the_next_process_finds_what_a_dead_one_left_and_not_what_a_living_one_has() {
        let dir = std::env::temp_dir().join(format!("resullm-journal-{}", uuid::Uuid::new_v4()));
        let (first, legacy) = Journal::open(&dir).unwrap();
        assert!(legacy.unfinished.is_empty());
        first.begin(&account(), "r1", Tokens::new(5));
        first.begin(&account(), "r2", Tokens::new(6));
        first.know("r2", Tokens::new(7));
        first.decide("r2", Tokens::new(8));
        first.end("r1");
        let (second, legacy) = Journal::open(&dir).unwrap();
        assert!(legacy.unfinished.is_empty(), "the first one lives");
        drop(first);
        let (third, legacy) = Journal::open(&dir).unwrap();
        let expected = Unfinished {
            account: account(),
            id: "r2".into(),
            used: Tokens::new(8),
            decided: true,
        };
        assert_eq!(legacy.unfinished, [expected]);
        legacy.delete();
        second.finish();
        drop((second, third));
        let (last, legacy) = Journal::open(&dir).unwrap();
        assert!(legacy.unfinished.is_empty());
        legacy.delete();
        last.finish();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is left");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_long_journal_is_written_anew_and_loses_nothing() {
        let dir = std::env::temp_dir().join(format!("resullm-journal-{}", uuid::Uuid::new_v4()));
        let (journal, _) = Journal::open(&dir).unwrap();
        journal.begin(&account(), "kept", Tokens::new(7));
        journal.lease(&account(), "lease");
        journal.begin_leased("lease", "kept too", Tokens::new(8));
        for i in 0..100_000 {
            let id = format!("request-{i}");
            journal.begin(&account(), &id, Tokens::new(1));
            journal.end(&id);
            journal.begin_leased("lease", &id, Tokens::new(1));
            journal.spend("lease", &id, Tokens::new(2));
            if i % 1_000 == 999 {
                journal.report("lease", i, Tokens::new(2_000));
            }
            if i % 2_000 == 999 {
                journal.heard("lease");
            }
        }
        let size: u64 = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size < 2 * LONG, "{size}");
        drop(journal);
        let (_, legacy) = Journal::open(&dir).unwrap();
        assert_eq!(legacy.unfinished.len(), 1);
        let lease = &legacy.leases[0];
        let in_doubt = lease.in_doubt.map(Tokens::count);
        assert_eq!(
            (lease.number, in_doubt, lease.spent.count()),
            (99_999, Some(2_000), 0)
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
