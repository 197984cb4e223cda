//! Durable directories: a file's name survives a power loss once its directory was fsynced.
//!
//! Flushing a directory says nothing about the contents of its files, which need an fsync of their own.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

/// Creates `dir` and its missing parents, and flushes the parent of each new directory.
pub fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = above(dir);
    if above.components().any(|part| part != Component::CurDir) {
        make(above)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => flush(above),
    }
}

/// Calls fsync on `dir`, so that files created or renamed in it keep their names after a power loss.
pub fn flush(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some file systems have nothing to flush for a directory and reject the fsync.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        flushed => flushed,
    }
}

/// Returns the parent of `path`; `.` for a bare file name.
pub fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    }
}
