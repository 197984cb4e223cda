//! The `date` header, formatted once a second by each thread.

use httpdate::fmt_http_date;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static DATE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
}

/// Passes the current header line, with its end, to `write`.
pub(crate) fn with_date(write: impl FnOnce(&[u8])) {
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    DATE.with_borrow_mut(|(second, line)| {
        if *second != seconds {
            *second = seconds;
            *line = format!("date: {}\r\n", fmt_http_date(now)).into_bytes();
        }
        write(line);
    });
}
