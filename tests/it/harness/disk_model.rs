//! Model of a disk after a power loss, from a recording of all file operations.
//!
//! Flushed data is present. Each later write may be present, missing, or torn at a sector boundary. A file
//! may have any length it ever had, with zeros where nothing was written. Changes of names and lengths may be
//! present or not. A directory entry is durable only after a flush of its directory, unless the file system
//! orders metadata: then a flush of any file flushes all earlier metadata.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::recorder::{Event, What};

const SECTOR: u64 = 512;

/// Parameters of a power loss.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Operations that began before this event index may be present.
    pub cut: usize,
    /// Percentage of unflushed writes that are present.
    pub kept: usize,
    /// Whether sectors of a write are lost individually.
    pub torn: bool,
    /// Whether metadata changes are kept in order, up to some moment.
    pub ordered: bool,
    /// Whether files have the greatest length they ever had.
    pub long: bool,
}

enum Change<'r> {
    Write(u64, &'r [u8]),
    Length(u64),
    Grow(u64),
}

struct Pending<T> {
    begun: usize,
    ended: usize,
    change: T,
}

#[derive(Default)]
struct File<'r> {
    flushed: Vec<u8>,
    pending: Vec<Pending<Change<'r>>>,
}

/// A rename, an unlink, or a creation: the old name, the new name.
struct Renaming {
    gone: Option<PathBuf>,
    new: Option<(PathBuf, Thing)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Thing {
    Dir,
    File(usize),
}

#[derive(Default)]
struct DiskModel<'r> {
    files: Vec<File<'r>>,
    /// Current names, as the process sees them.
    names: HashMap<PathBuf, Thing>,
    flushed_names: HashMap<PathBuf, Thing>,
    renamings: Vec<Pending<Renaming>>,
}

/// Writes below `root` one possible content of the disk. `roll` returns a random number below its argument.
pub fn lay_out(events: &[Event], loss: Loss, roll: &mut dyn FnMut(usize) -> usize, root: &Path) {
    let mut disk_model = DiskModel::default();
    for event in events.iter().take_while(|event| event.begun < loss.cut) {
        disk_model.see(event, loss);
    }
    disk_model.lose_and_write(loss, roll, root);
}

impl<'r> DiskModel<'r> {
    fn see(&mut self, event: &'r Event, loss: Loss) {
        match &event.what {
            What::Open { path, empties } => {
                if !self.names.contains_key(path) {
                    self.files.push(File::default());
                    let file = Thing::File(self.files.len() - 1);
                    self.rename(event, None, Some((path.clone(), file)));
                } else if *empties {
                    self.change(event, path, Change::Length(0));
                }
            }
            What::MakeDir(path) => self.rename(event, None, Some((path.clone(), Thing::Dir))),
            What::Rename(from, to) => {
                let thing = self.names[from];
                self.rename(event, Some(from.clone()), Some((to.clone(), thing)));
            }
            What::Remove(path) => self.rename(event, Some(path.clone()), None),
            What::Write { path, at, bytes } => self.change(event, path, Change::Write(*at, bytes)),
            What::Length(path, length) => self.change(event, path, Change::Length(*length)),
            What::Grow(path, length) => self.change(event, path, Change::Grow(*length)),
            What::Flush(path) if event.ended < loss.cut => self.flush(path, event.begun, loss),
            What::Flush(_) | What::Answer(_) => {}
        }
    }

    fn change(&mut self, event: &Event, path: &Path, change: Change<'r>) {
        let Some(Thing::File(file)) = self.names.get(path) else {
            panic!("{} is written and was never opened", path.display());
        };
        self.files[*file].pending.push(Pending {
            begun: event.begun,
            ended: event.ended,
            change,
        });
    }

    fn rename(&mut self, event: &Event, gone: Option<PathBuf>, new: Option<(PathBuf, Thing)>) {
        let renaming = Renaming { gone, new };
        renaming.apply(&mut self.names);
        self.renamings.push(Pending {
            begun: event.begun,
            ended: event.ended,
            change: renaming,
        });
    }

    /// Marks everything that ended before `begun` as durable.
    fn flush(&mut self, path: &Path, begun: usize, loss: Loss) {
        let is_dir = match self.names.get(path) {
            Some(Thing::File(file)) => {
                self.files[*file].flush(begun);
                false
            }
            // The root directory of the test is not recorded.
            Some(Thing::Dir) | None => true,
        };
        let pending = std::mem::take(&mut self.renamings);
        for renaming in pending {
            let is_here = is_dir && renaming.change.is_in(path);
            if renaming.ended < begun && (is_here || loss.ordered) {
                renaming.change.apply(&mut self.flushed_names);
            } else {
                self.renamings.push(renaming);
            }
        }
    }

    fn lose_and_write(mut self, loss: Loss, roll: &mut dyn FnMut(usize) -> usize, root: &Path) {
        let last = match roll(3) {
            0 => 0,
            1 => loss.cut,
            _ => self.moment_of_names(roll).unwrap_or(loss.cut),
        };
        let names = roll(101);
        let mut is_kept = |begun: usize| match loss.ordered {
            true => begun < last,
            false => roll(100) < names,
        };
        for renaming in &self.renamings {
            if is_kept(renaming.begun) {
                renaming.change.apply(&mut self.flushed_names);
            }
        }
        let lengths: Vec<Vec<bool>> = self
            .files
            .iter()
            .map(|file| file.pending.iter().map(|p| is_kept(p.begun)).collect())
            .collect();
        let is_there = |path: &Path| {
            let dirs = path.ancestors().skip(1).filter(|dir| *dir != Path::new(""));
            dirs.into_iter()
                .all(|dir| self.flushed_names.get(dir) == Some(&Thing::Dir))
        };
        for (path, thing) in &self.flushed_names {
            match thing {
                Thing::Dir if is_there(path) => {
                    std::fs::create_dir_all(root.join(path)).expect("a directory");
                }
                Thing::File(file) if is_there(path) => {
                    let bytes = self.files[*file].after(loss, &lengths[*file], roll);
                    let path = root.join(path);
                    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
                    std::fs::write(path, bytes).expect("a file");
                }
                _ => {}
            }
        }
    }

    fn moment_of_names(&self, roll: &mut dyn FnMut(usize) -> usize) -> Option<usize> {
        let lengths = self.files.iter().flat_map(|file| &file.pending);
        let lengths = lengths.filter(|pending| !matches!(pending.change, Change::Write(..)));
        let moments = lengths.map(|pending| pending.begun);
        let moments: Vec<usize> = moments
            .chain(self.renamings.iter().map(|pending| pending.begun))
            .collect();
        (!moments.is_empty()).then(|| moments[roll(moments.len())])
    }
}

impl Renaming {
    fn apply(&self, names: &mut HashMap<PathBuf, Thing>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, thing)) = &self.new {
            names.insert(path.clone(), *thing);
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let new = self.new.as_ref().map(|(path, _)| path);
        [self.gone.as_ref(), new]
            .into_iter()
            .flatten()
            .all(|path| path.parent() == Some(dir))
    }
}

impl<'r> File<'r> {
    fn flush(&mut self, begun: usize) {
        let pending = std::mem::take(&mut self.pending);
        for change in pending {
            if change.ended < begun {
                write(&mut self.flushed, &change.change);
            } else {
                self.pending.push(change);
            }
        }
    }

    fn after(&self, loss: Loss, lengths: &[bool], roll: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
        let mut bytes = self.flushed.clone();
        let mut longest = bytes.len();
        for (pending, is_kept) in self.pending.iter().zip(lengths) {
            match &pending.change {
                Change::Write(at, written) => {
                    longest = longest.max(*at as usize + written.len());
                    lose(&mut bytes, *at, written, loss, roll);
                }
                _ if !is_kept => {}
                length => {
                    write(&mut bytes, length);
                    longest = bytes.len();
                }
            }
        }
        if loss.long {
            bytes.resize(longest.max(bytes.len()), 0);
        }
        bytes
    }
}

fn write(bytes: &mut Vec<u8>, change: &Change) {
    match *change {
        Change::Length(length) => bytes.resize(length as usize, 0),
        Change::Grow(length) => bytes.resize(bytes.len().max(length as usize), 0),
        Change::Write(at, written) => {
            let (at, end) = (at as usize, at as usize + written.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[at..end].copy_from_slice(written);
        }
    }
}

/// Writes the parts of a write that survive.
fn lose(
    bytes: &mut Vec<u8>,
    at: u64,
    written: &[u8],
    loss: Loss,
    roll: &mut dyn FnMut(usize) -> usize,
) {
    let mut is_lost = roll(100) >= loss.kept;
    let mut done = 0;
    while done < written.len() {
        let here = at + done as u64;
        let sector = (SECTOR - here % SECTOR) as usize;
        let end = written.len().min(done + sector);
        if loss.torn && done > 0 {
            is_lost = roll(100) >= loss.kept;
        }
        if !is_lost {
            write(bytes, &Change::Write(here, &written[done..end]));
        }
        done = end;
    }
}
