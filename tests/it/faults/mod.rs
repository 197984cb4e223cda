//! Faults and attackers: what must hold when things break or someone breaks them.
//!
//! Each test here is one or more cases of a table: what was done to the gateway, the figure that came
//! of it, and whether that passes. `make test` runs them short; `make faults` runs them at full length
//! and prints the table.

mod bytes;
mod clock;
mod disk;
mod egress;
mod failover;
mod http;
mod isolation;
mod mints;
mod multiplexed;
mod overload;
mod power;
mod redis;
mod routes;
mod secrets;
mod streams;
mod timing;
mod urls;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How much of something: little in `make test`, all of it in `make faults`.
pub fn many<T>(short: T, long: T) -> T {
    if std::env::var_os("FAULTS_LONG").is_some() {
        long
    } else {
        short
    }
}

/// One row of the table. `run` says the figure, or panics.
pub fn case(name: &str, run: impl FnOnce() -> String) {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(figure) => row(name, &figure, "pass"),
        Err(panic) => {
            row(name, "-", "FAIL");
            resume_unwind(panic);
        }
    }
}

/// Into the file that `make faults` names; and onto the test's own output.
#[expect(
    clippy::print_stdout,
    reason = "that of a test is shown where it fails"
)]
fn row(name: &str, figure: &str, verdict: &str) {
    let row = format!("{name} | {figure} | {verdict}");
    println!("fault: {row}");
    if let Some(path) = std::env::var_os("FAULTS_TABLE") {
        let mut options = std::fs::OpenOptions::new();
        let mut table = options.append(true).create(true).open(path).unwrap();
        // One write, so that rows of tests that run side by side stay whole.
        table.write_all(format!("{row}\n").as_bytes()).unwrap();
    }
}
