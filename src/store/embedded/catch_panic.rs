//! Turns panics of the database (redb) into errors: it may panic on a damaged file.
//!
//! Such a panic must end neither the process nor the flusher thread. The error does not name the file; the
//! caller adds it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`catching_panics`], where panics are not printed.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static QUIET: Once = Once::new();

/// Runs `ask` on the database. A panic becomes [`redb::Error::Corrupted`] and is not printed.
///
/// A panic leaves none of our state half changed: memory changes only after the database has answered.
pub(crate) fn catching_panics<T, E: Into<redb::Error>>(
    ask: impl FnOnce() -> Result<T, E>,
) -> Result<T, redb::Error> {
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !INSIDE.with(Cell::get) {
                before(info);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(ask));
    INSIDE.set(outer);
    match outcome {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            let first = said.and_then(|said| said.lines().next());
            Err(redb::Error::Corrupted(
                first.unwrap_or("it makes no sense").to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_database_is_an_error() {
        let fine: Result<u8, redb::Error> = catching_panics(|| Ok::<u8, redb::Error>(1));
        assert_eq!(fine.unwrap(), 1);
        let bytes: Vec<u8> = Vec::new();
        let broken = catching_panics(|| Ok::<u8, redb::Error>(bytes[1]));
        assert!(matches!(broken, Err(redb::Error::Corrupted(_))));
    }
}
