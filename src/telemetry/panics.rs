//! Panic hook: logs a panic as one line with its source location, and its message only if that is a string
//! literal.
//!
//! A formatted panic message often quotes the data at fault, such as a text that was sliced inside a
//! character. That data may be a prompt or a key, so formatted messages (`String` payloads) are withheld.

use std::any::Any;
use std::panic::{self, PanicHookInfo};

/// Installs the panic hook for the whole process.
pub fn follow() {
    panic::set_hook(Box::new(
        |panic| log::error!(target: "resullm", "{}", told(panic)),
    ));
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    format!("Panic at {place}: {}", safe_message(panic.payload()))
}

/// Returns the message of a panic if it is a literal of the program, otherwise a fixed sentence.
pub fn safe_message(payload: &(dyn Any + Send)) -> &'static str {
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
        assert_eq!(safe_message(&*own), "a defect");
        let quoting = caught(|| {
            let text = "ä secret".to_owned();
            let _ = &text[1..];
        });
        assert!(quoting.downcast_ref::<String>().unwrap().contains("secret"));
        assert!(!safe_message(&*quoting).contains("secret"));
    }
}
