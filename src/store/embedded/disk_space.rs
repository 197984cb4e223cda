//! Free disk space, and a reserve file for the case that the disk is full.
//!
//! The 16 MiB reserve is created when the store opens. When the disk is full it is deleted, so that requests
//! in progress can still be settled. It is created again once there is space.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Size of the reserve file in bytes.
const RESERVE_BYTES: u64 = 16 << 20;
/// Free bytes below which the disk counts as full: redb must never run into a full disk itself.
const MIN_FREE_BYTES: u64 = 2 << 20;
/// Bytes that a commit may write in addition to its changes.
const COMMIT_OVERHEAD_BYTES: u64 = 256 << 10;
/// Free bytes that only the ledger may use: enough to recover from a full disk, and for hours of commits.
const LEDGER_BYTES: u64 = 64 << 20;

pub(crate) struct DiskSpace {
    dir: PathBuf,
    reserve: PathBuf,
}

impl DiskSpace {
    pub fn new(dir: &Path) -> DiskSpace {
        DiskSpace {
            dir: dir.to_owned(),
            reserve: dir.join("reserve"),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the free bytes of the disk. If `statvfs` fails, [`u64::MAX`]: a failed write will tell.
    fn free(&self) -> u64 {
        statvfs(&self.dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub(crate) fn is_low(&self) -> bool {
        self.free() < MIN_FREE_BYTES
    }

    /// Whether there is space to commit `bytes` of changes.
    pub(crate) fn has_for(&self, bytes: usize) -> bool {
        self.free() >= COMMIT_OVERHEAD_BYTES + 4 * bytes as u64
    }

    /// Whether there is space for `bytes` that the ledger can do without.
    pub(crate) fn has_to_spare(&self, bytes: usize) -> bool {
        self.free() >= LEDGER_BYTES + bytes as u64
    }

    /// Whether there is space for the reserve and for further changes.
    pub(crate) fn is_back(&self) -> bool {
        let kept = fs::metadata(&self.reserve).map_or(0, |reserve| reserve.len());
        self.free() >= RESERVE_BYTES.saturating_sub(kept) + 2 * MIN_FREE_BYTES
    }

    pub(crate) fn make_reserve(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let mut file = options.open(&self.reserve)?;
        if file.metadata()?.len() == RESERVE_BYTES {
            return Ok(());
        }
        let made = match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Err(error) if !is_full(&error.into()) => {
                // A file system that does not support `fallocate` may still keep what is written.
                let block = vec![0; 1 << 20];
                (0..RESERVE_BYTES >> 20).try_for_each(|_| file.write_all(&block))
            }
            made => made.map_err(Into::into),
        };
        if made.is_err() {
            self.give_reserve_back();
        }
        made
    }

    pub(crate) fn give_reserve_back(&self) {
        match fs::remove_file(&self.reserve) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!(
                    "Cannot delete {}, space that was reserved for a full disk: {error}. Delete it by hand",
                    self.reserve.display()
                );
            }
            _ => {}
        }
    }
}

pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
