//! Clock skew by libfaketime: only the wall clock is shifted, not the monotonic one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::http::Response;
use super::process::{library_dirs, missing};

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Environment that shifts a process's clock by `+1h` or `-1h`.
#[track_caller]
pub fn off_by(offset: &str) -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", library().to_string_lossy().into_owned()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[track_caller]
fn library() -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/faketime");
    let places = [unpacked.as_path(), Path::new("/")];
    let dirs = places.into_iter().flat_map(library_dirs);
    let mut files = dirs.map(|dir| dir.join(LIBRARY));
    match files.find(|file| file.is_file()) {
        Some(file) => file,
        None => missing("libfaketimeMT.so.1"),
    }
}

/// Removes the files that libfaketime leaves behind.
pub fn clean_up(pid: u32) {
    for kind in ["faketime_shm", "sem.faketime_sem"] {
        let _ = std::fs::remove_file(format!("/dev/shm/{kind}_{pid}"));
    }
}

/// Seconds by which the responder's `Date` is ahead of this process; at most half a day.
#[track_caller]
pub fn ahead(answer: &Response) -> i64 {
    const DAY: i64 = 86_400;
    let date = answer.header("date").expect("a date");
    let time = date.split(' ').nth(4).expect("a time of day");
    let parts = time
        .split(':')
        .map(|part| part.parse::<i64>().expect("a number"));
    let theirs = parts.fold(0, |sum, part| 60 * sum + part);
    let ours = SystemTime::now().duration_since(UNIX_EPOCH);
    let ours = i64::try_from(ours.expect("after 1970").as_secs()).expect("before the end");
    (theirs - ours + DAY / 2).rem_euclid(DAY) - DAY / 2
}
