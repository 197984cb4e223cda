//! What this instance has under way, on disk, so that its death costs neither side anything.
//!
//! A line is written when a hold is taken, when more is known of its cost, when a settlement is
//! decided, and when the store has it. The next start reads the files that no living process holds
//! locked and settles what they left open. A line that was cut short by a crash says nothing. It
//! never decides a cost, and a journal that cannot be written must not stop a request.

use super::name::AccountName;
use crate::rules::amount::Tokens;
use std::collections::HashMap;
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
    failed: bool,
}

struct Entry {
    account: String,
    known: u64,
    decided: bool,
}

/// The files of processes that are no more. They are deleted when what they left is settled.
pub struct Legacy {
    pub unfinished: Vec<Unfinished>,
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
            legacy.unfinished.extend(unfinished(&text));
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
        if state.open.is_empty()
            && let Err(error) = fs::remove_file(&state.path)
        {
            log::warn!("Cannot delete {}: {error}", state.path.display());
        }
    }

    /// A hold is taken, and this much is known of its cost.
    pub fn begin(&self, account: &AccountName, id: &str, known: Tokens) {
        self.write(|state| {
            let entry = Entry {
                account: account.as_str().to_owned(),
                known: known.count(),
                decided: false,
            };
            state.open.insert(id.to_owned(), entry);
            format!("B {id} {known} {}\n", account.as_str())
        });
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
        let written = state.append(&line);
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
            account,
            known,
            decided,
        } = self;
        let decided = if *decided {
            format!("D {id} {known}\n")
        } else {
            String::new()
        };
        format!("B {id} {known} {account}\n{decided}")
    }
}

impl State {
    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.length > LONG.max(4 * self.kept) {
            let lines: String = self
                .open
                .iter()
                .map(|(id, entry)| entry.lines(id))
                .collect();
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
fn unfinished(text: &str) -> Vec<Unfinished> {
    let mut open: HashMap<&str, (AccountName, u64, bool)> = HashMap::new();
    for line in text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
    {
        let mut words = line.split(' ');
        match (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) {
            (Some("B"), Some(id), Some(known), Some(account), None) => {
                if let (Ok(known), Some(account)) = (known.parse(), AccountName::parse(account)) {
                    open.insert(id, (account, known, false));
                }
            }
            (Some(kind @ ("K" | "D")), Some(id), Some(known), None, None) => {
                if let (Some((_, before, decided)), Ok(known)) = (open.get_mut(id), known.parse()) {
                    *before = known;
                    *decided |= kind == "D";
                }
            }
            (Some("E"), Some(id), None, None, None) => {
                open.remove(id);
            }
            _ => {}
        }
    }
    open.into_iter()
        .map(|(id, (account, known, decided))| Unfinished {
            account,
            id: id.to_owned(),
            used: Tokens::new(known),
            decided,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountName {
        AccountName::user("u1").unwrap()
    }

    fn left(text: &str) -> Vec<(String, u64)> {
        let mut left: Vec<_> = unfinished(text)
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
        for i in 0..200_000 {
            let id = format!("request-{i}");
            journal.begin(&account(), &id, Tokens::new(1));
            journal.end(&id);
        }
        let size: u64 = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size < 2 * LONG, "{size}");
        drop(journal);
        let (_, legacy) = Journal::open(&dir).unwrap();
        assert_eq!(legacy.unfinished.len(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}
