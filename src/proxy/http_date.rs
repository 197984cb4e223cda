//! The `date` header, formatted once a second by each thread.

use crate::rules::amount::Millis;
use crate::rules::date;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static DATE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
}

/// Passes the current header line, with its end, to `write`.
pub(crate) fn with_date(write: impl FnOnce(&[u8])) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    DATE.with_borrow_mut(|(second, line)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            *line = format!("date: {}\r\n", date::imf(Millis::from(now))).into_bytes();
        }
        write(line);
    });
}
