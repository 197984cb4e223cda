//! Panics, told as log lines: where, and in the program's own words alone.
//!
//! What a panic says often quotes what it stumbled over, such as the text that could not be cut; that
//! may be a prompt or a key. Words that were put together when it happened are therefore kept back.

use std::any::Any;
use std::panic::{self, PanicHookInfo};

/// From here on a panic is one line in the log, wherever it happens.
pub fn follow() {
    panic::set_hook(Box::new(
        |panic| log::error!(target: "resullm", "{}", told(panic)),
    ));
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    format!("Panic at {place}: {}", words(panic.payload()))
}

/// The message, where the program has it word for word.
pub fn words(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("its words may quote what was asked, and are kept back")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_program_itself_are_told() {
        let caught = |panics: fn()| panic::catch_unwind(panics).unwrap_err();
        let own = caught(|| panic!("a defect"));
        assert_eq!(words(&*own), "a defect");
        let quoting = caught(|| {
            let text = "ä secret".to_owned();
            let _ = &text[1..];
        });
        assert!(quoting.downcast_ref::<String>().unwrap().contains("secret"));
        assert!(!words(&*quoting).contains("secret"));
    }
}
