//! Directories whose entries survive a loss of power: the name of a file is on the disk once its directory was
//! flushed, whatever was flushed of the file itself.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

/// Makes a directory and those above it.
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

pub fn flush(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some file systems have nothing to flush there.
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

pub fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    }
}
