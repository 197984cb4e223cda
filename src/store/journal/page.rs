//! One file of the journal: lines in, and what they leave open out.
//!
//! A thread writes to a page of its own, so no request waits for another's line. What a lease owes is a
//! sum over all pages; a page knows its part.

use crate::rules::amount::Tokens;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file longer than this is written anew with what is still open.
pub const LONG: u64 = 4 << 20;
/// Lines wait for each other no longer than this.
const WAITING: usize = 8 << 10;

pub struct Page {
    file: File,
    path: PathBuf,
    length: u64,
    /// How much of it was still open when it was last written anew.
    kept: u64,
    open: HashMap<String, Entry>,
    leases: HashMap<String, Part>,
    /// Lines that may wait for the next one.
    waiting: String,
    failed: bool,
}

/// A request under way.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is: an account's, or a lease's.
    pub of: String,
    pub leased: bool,
    pub known: u64,
    pub decided: bool,
}

/// What a page knows of a lease.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub account: Option<String>,
    /// Settled and not reported; less than nothing where it was settled on another page.
    pub spent: i128,
    /// The latest report, what it said, and the latest that was answered.
    pub number: u64,
    pub told: u64,
    pub heard: u64,
}

impl Page {
    /// `name` must be new in `dir`.
    pub fn create(dir: &Path, name: &str) -> io::Result<Page> {
        let path = dir.join(name);
        // It holds keys.
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        file.try_lock()
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Page {
            file,
            path,
            length: 0,
            kept: 0,
            open: HashMap::new(),
            leases: HashMap::new(),
            waiting: String::new(),
            failed: false,
        })
    }

    pub fn has(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    pub fn owes(&self) -> bool {
        let part_owes = |part: &Part| part.spent != 0 || part.number > part.heard;
        !self.open.is_empty() || self.leases.values().any(part_owes)
    }

    pub fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("Cannot delete {}: {error}", self.path.display());
        }
    }

    pub fn begin(&mut self, account: &str, id: &str, known: Tokens) {
        let entry = Entry {
            of: account.to_owned(),
            leased: false,
            known: known.count(),
            decided: false,
        };
        self.open.insert(id.to_owned(), entry);
        self.line(format_args!("B {id} {known} {account}"));
        self.flush();
    }

    pub fn learn(&mut self, kind: char, id: &str, tokens: Tokens) {
        if let Some(entry) = self.open.get_mut(id) {
            entry.known = tokens.count();
            entry.decided |= kind == 'D';
        }
        self.line(format_args!("{kind} {id} {tokens}"));
        self.flush();
    }

    pub fn end(&mut self, id: &str) {
        self.open.remove(id);
        self.line(format_args!("E {id}"));
        self.flush();
    }

    pub fn lease(&mut self, account: &str, name: &str) {
        self.part(name).account = Some(account.to_owned());
        self.line(format_args!("L {name} {account}"));
        self.flush();
    }

    /// Its line waits.
    pub fn begin_leased(&mut self, name: &str, id: &str, known: Tokens) {
        let entry = Entry {
            of: name.to_owned(),
            leased: true,
            known: known.count(),
            decided: false,
        };
        self.open.insert(id.to_owned(), entry);
        self.line(format_args!("b {id} {known} {name}"));
    }

    pub fn spend(&mut self, name: &str, id: &str, used: Tokens) {
        self.open.remove(id);
        self.part(name).spent += i128::from(used.count());
        self.line(format_args!("S {id} {used} {name}"));
        self.flush();
    }

    pub fn report(&mut self, name: &str, number: u64, spent: Tokens) {
        let part = self.part(name);
        // A repeat was counted before.
        if number > part.number {
            part.spent -= i128::from(spent.count());
        }
        part.number = number;
        part.told = spent.count();
        self.line(format_args!("R {name} {number} {spent}"));
        self.flush();
    }

    pub fn heard(&mut self, name: &str, number: u64) {
        self.part(name).heard = number;
        self.line(format_args!("A {name} {number}"));
        self.flush();
    }

    pub fn end_lease(&mut self, name: &str) {
        if self.leases.remove(name).is_some() {
            self.line(format_args!("X {name}"));
            self.flush();
        }
    }

    fn part(&mut self, name: &str) -> &mut Part {
        if !self.leases.contains_key(name) {
            self.leases.insert(name.to_owned(), Part::default());
        }
        self.leases.entry(name.to_owned()).or_default()
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.waiting.write_fmt(line);
        self.waiting.push('\n');
        if self.waiting.len() > WAITING {
            self.flush();
        }
    }

    /// Writes the lines that wait. After that they outlive the process.
    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut lines = std::mem::take(&mut self.waiting);
        match self.append(&lines) {
            Ok(()) => self.failed = false,
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                log::error!("The journal cannot be written: {error}");
            }
            Err(_) => {}
        }
        lines.clear();
        self.waiting = lines;
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        if self.length > LONG.max(4 * self.kept) {
            let parts = self.leases.iter().map(|(name, part)| part.lines(name));
            let open = self.open.iter().map(|(id, entry)| entry.lines(id));
            let block: String = parts.chain(open).collect();
            // Behind the old lines first, then in their place: at no moment is anything missing. The block
            // has in it what the newest lines say, and begins its sums anew.
            self.file.write_all(lines.as_bytes())?;
            self.file.write_all(block.as_bytes())?;
            let keep = block.len() as u64;
            if keep < self.length / 2 {
                self.file.seek(SeekFrom::Start(0))?;
                self.file.write_all(block.as_bytes())?;
                self.file.set_len(keep)?;
            }
            self.length = keep;
            self.kept = keep;
            return Ok(());
        }
        self.file.write_all(lines.as_bytes())?;
        self.length += lines.len() as u64;
        Ok(())
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
        let kind = if *leased { 'b' } else { 'B' };
        let decided = if *decided {
            format!("D {id} {known}\n")
        } else {
            String::new()
        };
        format!("{kind} {id} {known} {of}\n{decided}")
    }
}

impl Part {
    fn lines(&self, name: &str) -> String {
        let Part {
            account,
            spent,
            number,
            told,
            heard,
        } = self;
        // What was told is taken off again by its own line.
        let counted = spent + i128::from(if *number > 0 { *told } else { 0 });
        let mut lines = format!("P {name}\nS - {counted} {name}\n");
        if let Some(account) = account {
            lines.push_str(&format!("L {name} {account}\n"));
        }
        if *number > 0 {
            lines.push_str(&format!("R {name} {number} {told}\nA {name} {heard}\n"));
        }
        lines
    }
}

/// What a page's lines leave open.
#[derive(Default)]
pub struct Left {
    pub open: HashMap<String, Entry>,
    pub leases: HashMap<String, Part>,
    /// Leases that ended, on whichever page their lines stand.
    pub ended: HashSet<String>,
}

impl Left {
    /// Lines that make no sense are torn or half overwritten: the ones that matter stand elsewhere in
    /// the page too.
    pub fn read(text: &str) -> Left {
        let mut left = Left::default();
        for line in text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
        {
            let words: Vec<&str> = line.split(' ').collect();
            // A number that is none makes no sense either.
            let _ = left.take(&words);
        }
        left
    }

    fn take(&mut self, words: &[&str]) -> Option<()> {
        let whole = |text: &str| text.parse::<u64>().ok();
        match *words {
            [kind @ ("B" | "b"), id, known, of] => {
                let entry = Entry {
                    of: of.to_owned(),
                    leased: kind == "b",
                    known: whole(known)?,
                    decided: false,
                };
                self.open.insert(id.to_owned(), entry);
            }
            [kind @ ("K" | "D"), id, known] => {
                let entry = self.open.get_mut(id)?;
                entry.known = whole(known)?;
                entry.decided |= kind == "D";
            }
            ["E", id] => {
                self.open.remove(id);
            }
            ["P", name] => {
                self.leases.insert(name.to_owned(), Part::default());
            }
            ["L", name, account] => self.part(name).account = Some(account.to_owned()),
            ["S", id, used, name] => {
                let used: i128 = used.parse().ok()?;
                self.open.remove(id);
                self.part(name).spent += used;
            }
            ["R", name, number, told] => {
                let (number, told) = (whole(number)?, whole(told)?);
                let part = self.part(name);
                if number > part.number {
                    part.spent -= i128::from(told);
                }
                part.number = number;
                part.told = told;
            }
            ["A", name, number] => self.part(name).heard = whole(number)?,
            ["X", name] => {
                self.leases.remove(name);
                self.ended.insert(name.to_owned());
            }
            _ => {}
        }
        Some(())
    }

    fn part(&mut self, name: &str) -> &mut Part {
        self.leases.entry(name.to_owned()).or_default()
    }
}
