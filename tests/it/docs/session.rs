//! A shell in which the commands of one page run, with the page's own directory and network.
//!
//! `tests/pages/session.sh` is its other half. The guard ends the shell, and with its namespace everything that
//! the page has started.

use crate::harness::process::{Process, library_dirs, redis_server};
use crate::harness::project::{in_project, not_installed};
use crate::harness::{TempDir, copy, within};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

/// Files of the repository that pages assume around them.
const ASSUMED: [&str; 4] = ["gateway.yaml", "Cargo.toml", "deploy", "examples"];
const LIMIT: Duration = Duration::from_secs(120);
const PROGRAM: &str = env!("CARGO_BIN_EXE_resullm");

pub struct Session {
    // Drop order: the processes end before their directory is removed.
    shell: Process,
    input: ChildStdin,
    dir: TempDir,
    blocks: usize,
}

/// What came of a block.
pub struct Ran {
    /// Output and errors, as a terminal would show them.
    pub printed: String,
    /// The first command that failed.
    pub failed: Option<Failed>,
}

pub struct Failed {
    pub status: String,
    /// Line within the block, from 1.
    pub line: usize,
    pub command: String,
}

impl Session {
    /// Opens a shell in a fresh directory; `redis` starts a Redis at its usual address.
    pub fn open(redis: bool) -> Result<Session, String> {
        let dir = TempDir::new();
        let (page, state) = (dir.file("page"), dir.file("state"));
        fs::create_dir_all(state.join("bin")).unwrap();
        lay_out(&page);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--pid", "--fork"]);
        command.args([
            "--kill-child",
            "--mount-proc",
            "bash",
            "--noprofile",
            "--norc",
        ]);
        command
            .arg(in_project("tests/pages/session.sh"))
            .current_dir(&page)
            .env_clear()
            .env("PATH", search_path(&state.join("bin")))
            .env("HOME", dir.path())
            .env("PAGES_GATEWAY", PROGRAM)
            .env("PAGES_STATE", &state)
            .env("PAGES_REDIS", if redis { "1" } else { "0" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(state.join("errors")).unwrap());
        let shell = Process::spawn(&mut command);
        let (input, output) = shell.take_pipes();
        let mut line = String::new();
        let _ = BufReader::new(output).read_line(&mut line);
        let session = Session {
            shell,
            input,
            dir,
            blocks: 0,
        };
        if line == "ready\n" {
            return Ok(session);
        }
        Err(format!(
            "the page has no shell of its own: run the tests where user namespaces are allowed ({})",
            session.said()
        ))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.file("page").join(name)
    }

    /// Stops the page's gateways, as the reader is told to.
    pub fn stop_gateways(&mut self) -> Result<(), String> {
        let ran = self.run("stop-gateways\n")?;
        let stopped = ran.failed.is_none();
        stopped.then_some(()).ok_or(ran.printed)
    }

    /// Runs a block to its end; the shell keeps its variables and functions for the next one.
    pub fn run(&mut self, text: &str) -> Result<Ran, String> {
        self.blocks += 1;
        let block = self
            .dir
            .file("state")
            .join(format!("block-{}", self.blocks));
        fs::write(&block, text).unwrap();
        let part = |ending: &str| {
            let bytes = fs::read(format!("{}.{ending}", block.display())).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let asked = writeln!(self.input, "{}", block.display());
        let ended = within(LIMIT, || {
            let done = Path::new(&format!("{}.status", block.display())).is_file();
            (done || !self.shell.is_alive()).then_some(done)
        });
        if asked.is_ok() && ended == Some(true) {
            let failed = part("failed").lines().next().and_then(failure);
            let printed = part("out");
            return Ok(Ran { printed, failed });
        }
        let why = match ended {
            None => format!("it did not end within {LIMIT:?}"),
            _ => "it ended the shell".to_owned(),
        };
        Err(format!("{why}; it printed:\n{}", part("out")))
    }

    fn said(&self) -> String {
        self.shell.kill();
        let state = self.dir.file("state");
        let files = ["errors", "redis.log"].map(|name| state.join(name));
        let texts = files.map(|file| fs::read_to_string(file).unwrap_or_default());
        texts.concat().trim().to_owned()
    }
}

fn failure(line: &str) -> Option<Failed> {
    let mut words = line.splitn(3, ' ');
    Some(Failed {
        status: words.next()?.to_owned(),
        line: words.next()?.parse().ok()?,
        command: words.next()?.to_owned(),
    })
}

/// The directory of the page: what a clone has after the build, as far as pages name it.
fn lay_out(page: &Path) {
    fs::create_dir_all(page.join("target/release")).unwrap();
    for name in ASSUMED {
        copy(&in_project(name), &page.join(name));
    }
    let program = in_project("tests/pages/bin/resullm");
    symlink(program, page.join("target/release/resullm")).unwrap();
    let packages = in_project(".tools/node/node_modules");
    if !packages.is_dir() {
        not_installed(&packages);
    }
    symlink(packages, page.join("node_modules")).unwrap();
}

/// Where a page's commands look for programs: Python with the SDKs, then what `make tools` unpacked, then the system.
fn search_path(own: &Path) -> String {
    let python = in_project(".tools/python/bin");
    if !python.join("python3").exists() {
        not_installed(&python);
    }
    let redis = redis_server();
    let server = PathBuf::from(redis.get_program());
    if server.is_absolute() {
        // An unpacked Redis needs its libraries.
        let root = server.ancestors().nth(3).unwrap_or(&server);
        let libraries = std::env::join_paths(library_dirs(root)).unwrap();
        for name in ["redis-server", "redis-cli"] {
            let real = server.with_file_name(name);
            let text = format!(
                "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
                libraries.display(),
                real.display()
            );
            fs::write(own.join(name), text).unwrap();
            fs::set_permissions(own.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let unpacked = ["curl", "jq"].map(|name| in_project(&format!(".tools/{name}")));
    let system = std::env::var_os("PATH").unwrap_or_default();
    let system = std::env::split_paths(&system);
    let all = [own.to_owned(), python]
        .into_iter()
        .chain(unpacked)
        .chain(system);
    std::env::join_paths(all).unwrap().into_string().unwrap()
}
