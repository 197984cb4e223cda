//! Recording of a process's file operations and responses, in one order, by strace.
//!
//! The process reads another boot ID than the test. An unknown system call that changes files fails the test,
//! because the recording would be incomplete.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::boot::another_boot;
use super::process::program;
use super::wait::within;

/// Timeout for strace to write its last lines.
const LAST_LINES: Duration = Duration::from_secs(20);
const TRACED: &str = "trace=openat,open,creat,mkdir,mkdirat,link,linkat,symlink,symlinkat,rename,renameat,\
    renameat2,unlink,unlinkat,rmdir,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendfile,\
    copy_file_range,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,msync,mmap";

/// Prefix of `x-request-id`, which identifies a request's response.
pub const NAMED: &str = "recorded-";

#[derive(Clone)]
pub struct Recorder {
    file: PathBuf,
    /// Directory of the process and its files.
    root: PathBuf,
}

/// An operation between two moments.
#[derive(Debug)]
pub struct Event {
    pub begun: usize,
    pub ended: usize,
    pub seconds: f64,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// Created if missing; truncated if requested.
    Open {
        path: PathBuf,
        empties: bool,
    },
    MakeDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Write {
        path: PathBuf,
        at: u64,
        bytes: Vec<u8>,
    },
    Length(PathBuf, u64),
    Grow(PathBuf, u64),
    Flush(PathBuf),
    /// The response to this request number.
    Answer(usize),
}

impl Recorder {
    pub fn new(root: &Path) -> Recorder {
        Recorder {
            file: root.join("record"),
            root: root.to_owned(),
        }
    }

    /// A command whose own process is recorded.
    pub fn inside(&self) -> Command {
        let mut command = another_boot(&self.root);
        command
            .arg(program("strace"))
            .args(["-D", "-f", "--seccomp-bpf", "-ttt", "-y", "-xx", "-A"])
            .args(["-s", "100000000", "-e", "signal=none", "-e", TRACED, "-o"])
            .arg(&self.file);
        command
    }

    /// Process ID of the strace that traces `pid`.
    #[track_caller]
    pub fn tracer(pid: u32) -> u32 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        let tracer = line.and_then(|line| line.trim().parse().ok());
        tracer.filter(|tracer| *tracer > 0).expect("strace")
    }

    /// Events of the recording, after the tracer has ended.
    #[track_caller]
    pub fn read(&self, tracer: u32) -> Vec<Event> {
        let ended = within(LAST_LINES, || {
            let status = std::fs::read_to_string(format!("/proc/{tracer}/stat"));
            status
                .map_or(true, |status| status.contains(") Z "))
                .then_some(())
        });
        assert!(ended.is_some(), "strace does not end");
        self.events(&std::fs::read_to_string(&self.file).expect("a record"))
    }

    fn events(&self, text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut open: HashMap<&str, (usize, f64, String)> = HashMap::new();
        let mut places = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let (thread, rest) = line.split_once(' ').expect("a thread");
            let (time, call) = rest.trim_start().split_once(' ').expect("a time");
            let seconds = time.parse().unwrap_or(0.0);
            if call.starts_with("+++") || call.starts_with("---") {
                continue;
            }
            if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
                open.insert(thread, (number, seconds, begun.to_owned()));
                continue;
            }
            let (begun, seconds, call) = match call.strip_prefix("<... ") {
                None => (number, seconds, call.to_owned()),
                Some(rest) => {
                    let (_, rest) = rest.split_once(" resumed>").expect("the rest of a call");
                    let Some((begun, seconds, call)) = open.remove(thread) else {
                        continue;
                    };
                    (begun, seconds, call + rest)
                }
            };
            let Some((call, result)) = call.rsplit_once(" = ") else {
                // The process was killed within the call; strace writes `<detached ...>` or `<Cannot restart
                // ...>`.
                let tail = call.get(call.len().saturating_sub(120)..).unwrap_or(&call);
                assert!(
                    call.ends_with('>'),
                    "line {number}, a call of no result: {tail}"
                );
                continue;
            };
            // The call failed, or its process died within it: nothing or a part of it happened.
            if result.starts_with(['-', '?']) {
                continue;
            }
            let done = call.trim_end().trim_end_matches(')');
            if let Some(what) = self.what(done, result, &mut places) {
                events.push(Event {
                    begun,
                    ended: number,
                    seconds,
                    what,
                });
            }
        }
        events.sort_by_key(|event| event.begun);
        events
    }

    fn what(&self, call: &str, result: &str, places: &mut HashMap<PathBuf, u64>) -> Option<What> {
        let (name, arguments) = call.split_once('(')?;
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let number = |at: usize| arguments[at].parse::<u64>().expect("a number");
        let named = |at: usize| self.below(&text(arguments[at]));
        let behind = |at: usize| self.below(&described(arguments[at])?);
        Some(match name {
            "openat" => {
                let path = self.below(&described(result)?)?;
                let has = |flag: &str| arguments[2].split('|').any(|word| word == flag);
                places.insert(path.clone(), 0);
                if !has("O_CREAT") && !has("O_TRUNC") {
                    return None;
                }
                let empties = has("O_TRUNC");
                What::Open { path, empties }
            }
            "mkdir" => What::MakeDir(named(0)?),
            "rename" => What::Rename(named(0)?, named(1)?),
            "unlink" => What::Remove(named(0)?),
            "ftruncate" => What::Length(behind(0)?, number(1)),
            "fallocate" => What::Grow(behind(0)?, number(2) + number(3)),
            "fsync" | "fdatasync" => What::Flush(behind(0)?),
            "pwrite64" => {
                let path = behind(0)?;
                let at = number(3);
                let mut bytes = bytes(arguments[1]);
                bytes.truncate(result.parse().expect("a length"));
                What::Write { path, at, bytes }
            }
            "write" | "writev" | "sendto" | "sendmsg" => {
                if let Some(answer) = answer(call) {
                    return Some(What::Answer(answer));
                }
                let path = behind(0)?;
                assert_eq!(
                    name,
                    "write",
                    "no one knows how {} is written",
                    path.display()
                );
                let bytes = bytes(arguments[1]);
                let place = places.entry(path.clone()).or_default();
                let at = *place;
                *place += bytes.len() as u64;
                What::Write { path, at, bytes }
            }
            "mmap" if !call.contains("MAP_SHARED") || !call.contains("PROT_WRITE") => return None,
            _ => {
                let root = hex(self.root.as_os_str().as_encoded_bytes());
                assert!(!call.contains(&root), "no one knows what {name} does");
                return None;
            }
        })
    }

    /// Path relative to the process's directory, if it is below it.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let path = self.root.join(path);
        let path: PathBuf = path
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Decodes a quoted argument.
fn bytes(argument: &str) -> Vec<u8> {
    let quoted = argument.trim_matches('"').as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    let bytes = quoted.chunks_exact(4);
    bytes
        .map(|byte| digit(byte[2]) << 4 | digit(byte[3]))
        .collect()
}

fn text(argument: &str) -> String {
    String::from_utf8(bytes(argument)).expect("a path")
}

/// Path of a file descriptor argument.
fn described(argument: &str) -> Option<String> {
    let (_, rest) = argument.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    (path.starts_with("\\x2f") && !rest.contains("deleted")).then(|| text(path))
}

/// Number of the request whose response these bytes begin.
fn answer(call: &str) -> Option<usize> {
    let (before, rest) = call.split_once(&hex(NAMED.as_bytes()))?;
    if !before.contains(&hex(b"HTTP/1.1 ")) {
        return None;
    }
    let (digits, _) = rest.split_once("\\x0d")?;
    text(digits).parse().ok()
}
