//! A client program that runs to its end, which must come in time. What it has started by then goes
//! with it: launchers that are killed alone leave the real program behind.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::process::Process;
use super::wait::within;

/// What an ended program wrote is in the pipes already; a process it left behind may hold them open.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Neither a terminal nor an input; an end later than `limit` fails the test with all that was said.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Output {
    // A group of its own, so that one signal reaches all of it.
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

/// The leader is not reaped yet, so that the number cannot belong to another group.
fn kill_group(leader: u32) {
    let _ = Command::new("sh")
        .args(["-c", "kill -s KILL -- \"-$1\"", "sh"])
        .arg(leader.to_string())
        .status();
}
