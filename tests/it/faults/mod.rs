//! Faults and attacks.
//!
//! Each test is one or more cases of a table: the fault, a measured figure, and pass or fail. `make test`
//! runs short forms; `make faults` runs them at full length and prints the table.

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
mod sentinel;
mod streams;
mod timing;
mod urls;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The short amount in `make test`, the long one in `make faults`.
pub fn many<T>(short: T, long: T) -> T {
    if std::env::var_os("FAULTS_LONG").is_some() {
        long
    } else {
        short
    }
}

/// Runs one case of the table: `run` returns the figure or panics.
pub fn case(name: &str, run: impl FnOnce() -> String) {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(figure) => row(name, &figure, "pass"),
        Err(panic) => {
            row(name, "-", "FAIL");
            resume_unwind(panic);
        }
    }
}

/// Appends a row to the file in `FAULTS_TABLE` and prints it.
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
        // A single write keeps the rows of parallel tests whole.
        table.write_all(format!("{row}\n").as_bytes()).unwrap();
    }
}
