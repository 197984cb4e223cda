//! How much room the disk has, and a reserve on it for the day it has none.
//!
//! A file of sixteen mebibytes is made when the store opens. When the disk is full it is given back, so
//! that what is under way can still be settled, and it is made again once there is room for it.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const RESERVE: u64 = 16 << 20;
/// With less than this the disk counts as full: the database must never find out by itself.
const LOW: u64 = 2 << 20;
/// What a commit may write beside what it was asked to.
const COMMIT: u64 = 256 << 10;

pub struct Room {
    dir: PathBuf,
    reserve: PathBuf,
}

impl Room {
    pub fn new(dir: &Path) -> Room {
        Room {
            dir: dir.to_owned(),
            reserve: dir.join("reserve"),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where that cannot be told, there is room until a write says otherwise.
    fn free(&self) -> u64 {
        statvfs(&self.dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub fn is_low(&self) -> bool {
        self.free() < LOW
    }

    /// For a commit of so many bytes.
    pub fn has_for(&self, bytes: usize) -> bool {
        self.free() >= COMMIT + 4 * bytes as u64
    }

    /// There would be room for the reserve and to go on.
    pub fn is_back(&self) -> bool {
        let kept = fs::metadata(&self.reserve).map_or(0, |reserve| reserve.len());
        self.free() >= RESERVE.saturating_sub(kept) + 2 * LOW
    }

    pub fn make_reserve(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let mut file = options.open(&self.reserve)?;
        if file.metadata()?.len() == RESERVE {
            return Ok(());
        }
        let made = match fallocate(&file, FallocateFlags::empty(), 0, RESERVE) {
            Err(error) if !is_full(&error.into()) => {
                // A file system that cannot set room aside may still keep what is written.
                let block = vec![0; 1 << 20];
                (0..RESERVE >> 20).try_for_each(|_| file.write_all(&block))
            }
            made => made.map_err(Into::into),
        };
        if made.is_err() {
            self.give_reserve_back();
        }
        made
    }

    pub fn give_reserve_back(&self) {
        match fs::remove_file(&self.reserve) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!("Cannot delete {}: {error}", self.reserve.display());
            }
            _ => {}
        }
    }
}

pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
