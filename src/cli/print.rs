//! The output of commands: text on standard output, errors as `[ERROR] ` lines on standard error.

use super::table::{harmless, harmless_lines};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Prints a text of our own.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints a text with values of others, JSON or CSV: to a terminal without what it acts on, else byte for byte.
pub(super) fn print_whole(text: &str) -> ExitCode {
    match std::io::stdout().is_terminal() {
        true => print(&harmless_lines(text)),
        false => print(text),
    }
}

/// Prints a remark to standard error, which is not part of the answer.
pub(super) fn note(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Prints `[ERROR] ` lines to standard error; used before [`telemetry::log::start`](crate::telemetry::log::start) and by
/// commands that do not log.
pub(super) fn fail(text: &str) -> ExitCode {
    let mut err = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "[ERROR] {}", harmless(line));
    }
    ExitCode::FAILURE
}
