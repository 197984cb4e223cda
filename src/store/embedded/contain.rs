//! The database may panic where its file is damaged. That must end neither the process nor the
//! flusher: it is an error like any other, and the file is named by whoever asked.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static QUIET: Once = Once::new();

/// Runs what asks the database. A panic in it becomes an error and is not printed.
///
/// Nothing of ours is left half done by it: what is in memory changes after the database has answered.
pub fn contained<T, E: Into<redb::Error>>(
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
        let fine: Result<u8, redb::Error> = contained(|| Ok::<u8, redb::Error>(1));
        assert_eq!(fine.unwrap(), 1);
        let bytes: Vec<u8> = Vec::new();
        let broken = contained(|| Ok::<u8, redb::Error>(bytes[1]));
        assert!(matches!(broken, Err(redb::Error::Corrupted(_))));
    }
}
