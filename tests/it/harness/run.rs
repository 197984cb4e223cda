//! Runs a client program to its end within a time limit, then kills its whole process group: a launcher
//! killed alone would leave the real program behind.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::process::Process;
use super::wait::within;

/// Timeout for the last output: it is in the pipes already, but an orphan may hold these open.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Runs it without terminal and input; exceeding `limit` fails the test with the output so far.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Output {
    // Its own process group, so that one signal reaches all of it.
    command.process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let process = Process::spawn(command);
    let (stdout, stderr) = process.take_output();
    let (stdout, stderr) = (reading(stdout), reading(stderr));
    let status = process.wait(limit);
    if status.is_none() {
        kill_group(process.pid());
    }
    let all_read = || (stdout.is_finished() && stderr.is_finished()).then_some(());
    assert!(
        within(LAST_LINES, all_read).is_some(),
        "{command:?} left a process behind that holds its output"
    );
    let [stdout, stderr] =
        [stdout, stderr].map(|reader| reader.join().expect("a reader that does not panic"));
    let Some(status) = status else {
        let said = [stdout, stderr].concat();
        panic!(
            "{command:?} did not end within {limit:?}: {}",
            String::from_utf8_lossy(&said)
        );
    };
    Output {
        status,
        stdout,
        stderr,
    }
}

fn reading(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// Kills the group; its leader is not reaped yet, so the ID cannot be reused.
pub fn kill_group(leader: u32) {
    let _ = Command::new("sh")
        .args(["-c", "kill -s KILL -- \"-$1\"", "sh"])
        .arg(leader.to_string())
        .status();
}
