//! The built gateway as a child process: start, logs, signals, kill.
//!
//! The gateway gets a clean environment, an ephemeral port and nothing else of this machine.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use resullm::api;
use serde_json::{Value, json};

use super::clock;
use super::http::{Client, Request, Response, Streaming};
use super::process::Process;
use super::setup::Setup;
use super::wait::{eventually, within};

/// Chat completions of tenant `abc`.
pub const CHAT_PATH: &str = "/abc/v1/chat/completions";

const PROGRAM: &str = env!("CARGO_BIN_EXE_resullm");
/// Contained in both log formats.
const LISTENING: &str = "Listening on http://127.0.0.1:";
const START: Duration = Duration::from_secs(10);
const LOG: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(60);
/// Timeout for the last log lines: they are in the pipes already, but an orphan may hold these open.
const LAST_LINES: Duration = Duration::from_secs(2);

pub struct Gateway {
    // Drop order: the process ends before its directory is removed.
    process: Process,
    logs: Logs,
    port: u16,
    setup: Setup,
}

impl Gateway {
    /// Starts a gateway and waits until it listens; otherwise the test fails with its log.
    #[track_caller]
    pub fn start(setup: Setup) -> Gateway {
        let (process, logs) = spawn(&setup);
        let port = within(START, || {
            // The state is read before the log, so that lines written just before the exit are found.
            let ended = !process.is_alive();
            logs.port().map(Some).or(ended.then_some(None))
        });
        let Some(Some(port)) = port else {
            logs.wait_end();
            panic!(
                "the gateway did not start ({:?}):\n{}",
                process.exit_status(),
                logs.text()
            );
        };
        Gateway {
            process,
            logs,
            port,
            setup,
        }
    }

    /// Runs a gateway that is expected to exit: its status, its log lines and the elapsed time.
    #[track_caller]
    pub fn run_to_end(setup: Setup) -> (ExitStatus, Vec<String>, Duration) {
        let begun = Instant::now();
        let (process, logs) = spawn(&setup);
        let Some(status) = process.wait(END) else {
            panic!("the gateway is still running:\n{}", logs.text());
        };
        let took = begun.elapsed();
        logs.wait_end();
        (status, logs.lines(), took)
    }

    pub fn client(&self) -> Client {
        Client::new(self.addr())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn admin_token(&self) -> &str {
        self.setup.token()
    }

    /// All lines so far, of stdout and stderr.
    pub fn logs(&self) -> Vec<String> {
        self.logs.lines()
    }

    /// Waits for a line that contains the text, and returns it.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        let found = within(LOG, || {
            let lines = self.logs.lines();
            lines.into_iter().find(|line| line.contains(text))
        });
        match found {
            Some(line) => line,
            None => panic!("no line with {text:?} in:\n{}", self.logs.text()),
        }
    }

    pub fn count_logs(&self, text: &str) -> usize {
        let lines = self.logs.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Sends a signal by its name without `SIG`: `TERM`, `INT`, `QUIT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    #[track_caller]
    pub fn wait_exit(&self, timeout: Duration) -> ExitStatus {
        let Some(status) = self.process.wait(timeout) else {
            panic!("still running after {timeout:?}:\n{}", self.logs.text());
        };
        self.logs.wait_end();
        status
    }

    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Sends SIGKILL.
    pub fn kill9(&self) {
        self.process.kill();
    }

    /// Resident memory in KiB.
    #[track_caller]
    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the state of a living process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.and_then(|rest| rest.split_whitespace().next());
        figure
            .and_then(|kib| kib.parse().ok())
            .expect("VmRSS in kB")
    }
}

/// Runs a subcommand in the same clean environment.
#[track_caller]
pub fn resullm(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = clean_command();
    command.args(args).envs(env.iter().copied());
    command
        .stdin(Stdio::null())
        .output()
        .expect("the built program runs")
}

/// Mints an anonymous key.
#[track_caller]
pub fn mint(gateway: &Gateway, tenant: &str) -> String {
    let path = format!("/{tenant}/auth/anonymous");
    let response = gateway.client().request("POST", &path).send();
    assert_eq!(response.status, 200, "{}", response.text());
    match serde_json::from_slice::<api::NewKey>(&response.body) {
        Ok(minted) => minted.api_key,
        Err(error) => panic!("no key in {} ({error})", response.text()),
    }
}

/// `auth/me` of tenant `abc` for a key.
pub fn me(gateway: &Gateway, key: &str) -> Value {
    ask_me(gateway, key).json()
}

/// `tokensLeft` and `tokensFree` of a key of tenant `abc`: they differ by the open holds.
#[track_caller]
pub fn balance(gateway: &Gateway, key: &str) -> (u64, u64) {
    let me = ask_me(gateway, key);
    assert_eq!(me.status, 200, "{}", me.text());
    let me: api::Me = serde_json::from_slice(&me.body).unwrap();
    (me.tokens_left.count(), me.tokens_free.count())
}

fn ask_me(gateway: &Gateway, key: &str) -> Response {
    gateway
        .client()
        .request("GET", "/abc/auth/me")
        .bearer(key)
        .send()
}

/// Tokens of a key of tenant `abc` that are charged, as soon as no hold is left on it.
#[track_caller]
pub fn spent(gateway: &Gateway, key: &str, granted: u64) -> u64 {
    eventually(Duration::from_secs(10), "it is settled", || {
        let (left, free) = balance(gateway, key);
        (left == free).then_some(granted - left)
    })
}

/// A chat completion of at most three tokens.
pub fn small_call() -> Value {
    json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 3})
}

/// One chat completion, not streamed unless the JSON says so.
#[track_caller]
pub fn chat(gateway: &Gateway, tenant: &str, key: &str, call: &Value) -> Response {
    chat_request(gateway, tenant, key, call).send()
}

/// One chat completion whose answer is read piece by piece.
#[track_caller]
pub fn chat_streaming(
    gateway: &Gateway,
    tenant: &str,
    key: &str,
    call: &Value,
) -> Streaming<'static> {
    chat_request(gateway, tenant, key, call).send_streaming()
}

pub fn chat_request(gateway: &Gateway, tenant: &str, key: &str, call: &Value) -> Request<'static> {
    gateway
        .client()
        .request("POST", &format!("/{tenant}/v1/chat/completions"))
        .bearer(key)
        .json(call)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.setup.offset().is_some() {
            self.process.kill();
            clock::clean_up(self.process.pid());
        }
    }
}

fn clean_command() -> Command {
    cleaned(Command::new(PROGRAM))
}

fn cleaned(mut command: Command) -> Command {
    command.env_clear();
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

#[track_caller]
fn spawn(setup: &Setup) -> (Process, Logs) {
    let config = setup.write_config();
    let mut command = match setup.wrapper() {
        None => clean_command(),
        Some(mut command) => {
            command.arg(PROGRAM);
            cleaned(command)
        }
    };
    command
        .arg("--config")
        .arg(config)
        .env("PORT", "0")
        .envs(
            setup
                .environment()
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(setup.offset().into_iter().flat_map(clock::off_by))
        .current_dir(setup.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let process = Process::spawn(&mut command);
    let (stdout, stderr) = process.take_output();
    (process, Logs::read(stdout, stderr))
}

struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
    readers: [JoinHandle<()>; 2],
}

impl Logs {
    fn read(stdout: impl Read + Send + 'static, stderr: impl Read + Send + 'static) -> Logs {
        let lines = Arc::default();
        let readers = [collect(stdout, &lines), collect(stderr, &lines)];
        Logs { lines, readers }
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    fn text(&self) -> String {
        self.lines().join("\n")
    }

    fn port(&self) -> Option<u16> {
        self.lines().iter().find_map(|line| {
            let (_, rest) = line.split_once(LISTENING)?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        })
    }

    fn wait_end(&self) {
        within(LAST_LINES, || {
            let done = self.readers.iter().all(JoinHandle::is_finished);
            done.then_some(())
        });
    }
}

fn collect(output: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        // Bytes, because invalid UTF-8 must not end the reading.
        while output
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(text);
            line.clear();
        }
    })
}
