//! Describes the machine of a run, and finds programs' versions and the project root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Machine data in the results; `descriptors` is the limit of open files per process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub cores: usize,
    pub cpu: String,
    pub kernel: String,
    pub memory_mb: u64,
    pub descriptors: u64,
}

impl Machine {
    pub fn look(descriptors: u64) -> Machine {
        Machine {
            date: first_line(Command::new("date").args(["-u", "+%Y-%m-%d"])),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "?".to_owned()),
            kernel: first_line(Command::new("uname").args(["-sr"])),
            memory_mb: field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
            descriptors,
        }
    }
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Returns the first non-empty line that a program prints to standard output or standard error.
pub fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return "?".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("?").trim().to_owned()
}

/// Returns the project root, whose `target/` holds the release build.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
