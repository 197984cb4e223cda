//! One page (file) of the hold journal: appends lines, and reads back what they leave open.
//!
//! Each thread writes a page of its own, so no request waits for another's line. A lease's debt is a sum over
//! all pages; a page knows its part. Every line ends with a checksum: the last line may be truncated by a
//! crash, but a complete line with a wrong checksum makes the page damaged.
//!
//! Line kinds: `B` hold begun, `b` hold begun on a lease, `K` known cost, `D` decided cost, `E` settled, `L`
//! lease opened, `S` spent of a lease, `R` report sent, `A` report acknowledged, `X` lease ended, `P` lease's
//! sums reset by a rewrite; of the request's usage record: `C` its beginning, `N` the rest, `U` it is written, `c` and
//! `n` its beginning in a rewrite.

use crate::rules::amount::{Millis, Tokens};
use crate::store::boot::Boot;
use crate::store::checksum;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Size in bytes (4 MiB) above which a page is rewritten with its open entries alone, once it is also four
/// times as long as after its last rewrite.
pub(super) const REWRITE_ABOVE_BYTES: u64 = 4 << 20;
/// Buffered bytes (8 KiB) above which lines are written at once.
const MAX_BUFFERED_BYTES: usize = 8 << 10;

pub struct Page {
    file: File,
    path: PathBuf,
    length: u64,
    /// Length in bytes after the last rewrite.
    kept: u64,
    open: HashMap<String, PageEntry>,
    leases: HashMap<String, Part>,
    /// Settled requests whose usage records are not written yet, by ID.
    drafts: HashMap<String, Draft>,
    /// Buffered lines, written with the next line that must not wait.
    waiting: String,
    /// Whether a write failed: the file lacks lines and must be rewritten before another is appended.
    failed: bool,
}

/// Suffix of a rewritten page until it is renamed over the old one.
pub(crate) const REWRITE_SUFFIX: &str = ".new";

/// An open request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PageEntry {
    /// Name of its account, or of its lease if `leased`.
    pub of: String,
    pub leased: bool,
    pub known: u64,
    pub decided: bool,
    /// Members of its usage record that are known from the beginning.
    pub context: String,
}

/// Usage record of a settled request that may not be written yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub context: String,
    /// Members that are known once it is settled, at this moment and for this cost.
    pub note: String,
    pub at: u64,
    pub cost: u64,
    pub leased: bool,
}

/// One page's part of a lease's sums, in tokens.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub account: Option<String>,
    /// Settled minus reported; negative if the settlements are on another page.
    pub spent: i128,
    /// Number of the latest report.
    pub number: u64,
    /// Tokens spent by report `number`.
    pub told: u64,
    /// Number of the latest report that the store acknowledged.
    pub heard: u64,
}

impl Page {
    /// Creates and locks the file `name`, which must be new in `dir`.
    pub fn create(dir: &Path, name: &str) -> io::Result<Page> {
        let path = dir.join(name);
        let file = new_file(&path)?;
        Ok(Page {
            file,
            path,
            length: 0,
            kept: 0,
            open: HashMap::new(),
            leases: HashMap::new(),
            drafts: HashMap::new(),
            waiting: String::new(),
            failed: false,
        })
    }

    pub fn has(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    pub fn owes(&self) -> bool {
        let part_owes = |part: &Part| part.spent != 0 || part.number > part.heard;
        !self.open.is_empty() || !self.drafts.is_empty() || self.leases.values().any(part_owes)
    }

    pub fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!(
                "Cannot delete the settled journal page {}: {error}. It does no harm; delete it by hand",
                self.path.display()
            );
        }
    }

    /// Buffers the `B` line; [`Page::context`] follows at once and writes both.
    pub fn begin(&mut self, account: &str, id: &str, known: Tokens) {
        let entry = PageEntry {
            of: account.to_owned(),
            leased: false,
            known: known.count(),
            decided: false,
            context: String::new(),
        };
        self.open.insert(id.to_owned(), entry);
        self.line(format_args!("B {id} {known} {account}"));
    }

    pub(crate) fn learn(&mut self, kind: char, id: &str, tokens: Tokens) {
        if let Some(entry) = self.open.get_mut(id) {
            entry.known = tokens.count();
            entry.decided |= kind == 'D';
        }
        self.line(format_args!("{kind} {id} {tokens}"));
        self.flush();
    }

    /// Notes what is known of the request's usage record from the beginning. The line is buffered where the hold is a
    /// lease's.
    pub(crate) fn context(&mut self, id: &str, context: &str) {
        let mut is_leased = false;
        if let Some(entry) = self.open.get_mut(id) {
            context.clone_into(&mut entry.context);
            is_leased = entry.leased;
        }
        self.line(format_args!("C {id} {context}"));
        if !is_leased {
            self.flush();
        }
    }

    /// Buffers the rest of the request's usage record, before the line that settles it.
    pub(crate) fn draft(&mut self, id: &str, at: Millis, cost: Tokens, note: &str) {
        let draft = self.drafts.entry(id.to_owned()).or_default();
        note.clone_into(&mut draft.note);
        (draft.at, draft.cost) = (at.0, cost.count());
        if let Some(entry) = self.open.get_mut(id) {
            draft.take_over(entry);
        }
        self.line(format_args!("N {id} {} {cost} {note}", at.0));
    }

    /// Buffers that the usage records of these requests are written, those of this page.
    pub(crate) fn recorded<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        for id in ids {
            if self.drafts.remove(id).is_some() {
                self.line(format_args!("U {id}"));
            }
        }
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

    /// Buffers the `b` line, which need not be written before the request is forwarded.
    pub fn begin_leased(&mut self, name: &str, id: &str, known: Tokens) {
        let entry = PageEntry {
            of: name.to_owned(),
            leased: true,
            known: known.count(),
            decided: false,
            context: String::new(),
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
        // A repeated report was subtracted before.
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

    pub(crate) fn end_lease(&mut self, name: &str) {
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
        write_line(&mut self.waiting, line);
        if self.waiting.len() > MAX_BUFFERED_BYTES {
            self.flush();
        }
    }

    /// Writes the buffered lines. After that they survive kill -9.
    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut lines = std::mem::take(&mut self.waiting);
        match self.append(&lines) {
            Ok(()) if std::mem::replace(&mut self.failed, false) => {
                log::info!(
                    "The journal can be written again; requests meanwhile were not journaled"
                );
            }
            Ok(()) => {}
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                log::error!(
                    "The journal cannot be written: {error}. Requests go on; after a crash their tokens would stay held until they expire"
                );
            }
            Err(_) => {}
        }
        lines.clear();
        self.waiting = lines;
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        if self.failed || self.length > REWRITE_ABOVE_BYTES.max(4 * self.kept) {
            return self.write_anew();
        }
        self.file.write_all_at(lines.as_bytes(), self.length)?;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Rewrites the page with its open entries and leases in a `.new` file, then renames it over the old one.
    /// The path always holds a complete page, and partially written lines are gone.
    fn write_anew(&mut self) -> io::Result<()> {
        let mut block = String::new();
        for (name, part) in &self.leases {
            part.write(name, &mut block);
        }
        for (id, entry) in &self.open {
            entry.write(id, &mut block);
        }
        for (id, draft) in &self.drafts {
            draft.write(id, &mut block);
        }
        let mut unfinished = self.path.clone().into_os_string();
        unfinished.push(REWRITE_SUFFIX);
        let written = new_file(Path::new(&unfinished)).and_then(|file| {
            file.write_all_at(block.as_bytes(), 0)?;
            fs::rename(&unfinished, &self.path)?;
            Ok(file)
        });
        self.file = written.inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })?;
        self.length = block.len() as u64;
        self.kept = self.length;
        Ok(())
    }
}

/// Creates and locks a file with mode 0600, because its lines hold keys.
fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.create_new(true).write(true).mode(0o600);
    let file = options.open(path)?;
    file.try_lock()
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(file)
}

fn sum(line: &[u8]) -> u32 {
    checksum::of(b"", line) as u32
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let start = out.len();
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(line);
    let sum = sum(&out.as_bytes()[start..]);
    out.push(' ');
    for place in (0..8).rev() {
        out.push(DIGITS[(sum >> (4 * place)) as usize & 15].into());
    }
    out.push('\n');
}

/// Returns a line without its checksum, if the checksum is right.
fn whole(line: &[u8]) -> Option<&str> {
    let (line, end) = line.split_at_checked(line.len().checked_sub(9)?)?;
    let written = u32::from_str_radix(std::str::from_utf8(end).ok()?.strip_prefix(' ')?, 16);
    // Only lower-case digits are accepted, so that no byte of the checksum can change unnoticed.
    let is_plain = !end.iter().any(|byte| matches!(byte, b'A'..=b'F' | b'+'));
    (is_plain && written == Ok(sum(line))).then(|| std::str::from_utf8(line).ok())?
}

impl PageEntry {
    fn write(&self, id: &str, out: &mut String) {
        let PageEntry {
            of,
            leased,
            known,
            decided,
            context,
        } = self;
        let kind = if *leased { 'b' } else { 'B' };
        write_line(out, format_args!("{kind} {id} {known} {of}"));
        if !context.is_empty() {
            write_line(out, format_args!("C {id} {context}"));
        }
        if *decided {
            write_line(out, format_args!("D {id} {known}"));
        }
    }
}

impl Draft {
    /// Takes over what the request's entry knows. The cost is decided: the line that says so may be lost with the end of
    /// the page.
    fn take_over(&mut self, entry: &mut PageEntry) {
        if !entry.context.is_empty() {
            self.context = std::mem::take(&mut entry.context);
        }
        self.leased = entry.leased;
        entry.known = self.cost;
        entry.decided |= !entry.leased;
    }

    fn write(&self, id: &str, out: &mut String) {
        let Draft {
            context,
            note,
            at,
            cost,
            leased,
        } = self;
        let kind = if *leased { 'n' } else { 'c' };
        write_line(out, format_args!("{kind} {id} {context}"));
        write_line(out, format_args!("N {id} {at} {cost} {note}"));
    }
}

impl Part {
    fn write(&self, name: &str, out: &mut String) {
        let Part {
            account,
            spent,
            number,
            told,
            heard,
        } = self;
        // Reading the `R` line below subtracts `told` again.
        let counted = spent + i128::from(if *number > 0 { *told } else { 0 });
        write_line(out, format_args!("P {name}"));
        write_line(out, format_args!("S - {counted} {name}"));
        if let Some(account) = account {
            write_line(out, format_args!("L {name} {account}"));
        }
        if *number > 0 {
            write_line(out, format_args!("R {name} {number} {told}"));
        }
        // The acknowledged report may have its `R` line on another page.
        if *heard > 0 {
            write_line(out, format_args!("A {name} {heard}"));
        }
    }
}

/// Open requests and leases that a page's lines leave behind.
#[derive(Default)]
pub(crate) struct Leftover {
    pub open: HashMap<String, PageEntry>,
    pub leases: HashMap<String, Part>,
    /// Leases that ended; their other lines may be on any page.
    pub ended: HashSet<String>,
    /// Usage records that may not be written yet, by the ID of their request.
    pub drafts: HashMap<String, Draft>,
}

impl Leftover {
    /// Parses a page. `Err`: byte offset of a complete but wrong line. After [`Boot::Other`] power may have
    /// been lost, so the lines before that offset are used.
    pub fn read(bytes: &[u8], boot: Boot) -> Result<Leftover, usize> {
        let mut left = Leftover::default();
        match (left.read_lines(bytes), boot) {
            (Err(at), Boot::Same) => return Err(at),
            (_, Boot::Same) => {}
            (_, Boot::Other) => left.forget_unreported(),
        }
        Ok(left)
    }

    /// Drops lease spending after a power loss: lines of acknowledged reports may be lost, here or on another
    /// page, and spending must not be reported twice. A report whose `R` line is here can be repeated,
    /// because its number makes it idempotent.
    fn forget_unreported(&mut self) {
        self.open.retain(|_, entry| !entry.leased);
        self.drafts.retain(|_, draft| !draft.leased);
        self.leases.values_mut().for_each(|part| part.spent = 0);
    }

    fn read_lines(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = match line.strip_suffix(b"\n") {
                Some(line) => Some(whole(line).ok_or(at)?),
                // A valid line that ends in another byte than `\n` is damaged, not truncated.
                None if whole(&line[..line.len() - 1]).is_some() => return Err(at),
                None => whole(line),
            };
            if let Some(text) = text {
                let words: Vec<&str> = text.split(' ').collect();
                // Line kinds of later versions are ignored.
                let _ = self.take(&words).or_else(|| self.take_draft(text));
            }
            at += line.len();
        }
        Ok(())
    }

    /// Parses a page of an earlier version, which had no checksums. Malformed lines are torn or half
    /// overwritten and are skipped; the lines that matter are in the page elsewhere too.
    pub(crate) fn read_earlier(text: &str) -> Leftover {
        let mut left = Leftover::default();
        for line in text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
        {
            let words: Vec<&str> = line.split(' ').collect();
            // A line with a malformed number is skipped too.
            let _ = left.take(&words);
        }
        left
    }

    fn take(&mut self, words: &[&str]) -> Option<()> {
        let whole = |text: &str| text.parse::<u64>().ok();
        match *words {
            [kind @ ("B" | "b"), id, known, of] => {
                let entry = PageEntry {
                    of: of.to_owned(),
                    leased: kind == "b",
                    known: whole(known)?,
                    decided: false,
                    context: String::new(),
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
            ["U", id] => {
                self.drafts.remove(id);
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
            _ => return None,
        }
        Some(())
    }

    /// Reads a line whose last part is JSON, which may have spaces.
    fn take_draft(&mut self, text: &str) -> Option<()> {
        let (kind, rest) = text.split_once(' ')?;
        let (id, rest) = rest.split_once(' ')?;
        match kind {
            "C" => rest.clone_into(&mut self.open.get_mut(id)?.context),
            "c" | "n" => {
                let draft = self.drafts.entry(id.to_owned()).or_default();
                rest.clone_into(&mut draft.context);
                draft.leased = kind == "n";
            }
            "N" => {
                let mut parts = rest.splitn(3, ' ');
                let (at, cost) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
                let note = parts.next()?.to_owned();
                let draft = self.drafts.entry(id.to_owned()).or_default();
                (draft.at, draft.cost, draft.note) = (at, cost, note);
                if let Some(entry) = self.open.get_mut(id) {
                    draft.take_over(entry);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn part(&mut self, name: &str) -> &mut Part {
        self.leases.entry(name.to_owned()).or_default()
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
