//! Debian's headless Chromium as a child process, driven by the DevTools protocol.
//!
//! The messages go through pipes, as JSON that a zero byte ends, so the browser opens no port. Each page has storage of
//! its own, and reaches 127.0.0.1 and no other address. All processes of the browser end with its guard.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::dir::TempDir;
use super::process::{Process, program};
use super::run::kill_group;
use super::wait::within;

const PATIENCE: Duration = Duration::from_secs(30);
/// Root has no sandbox, and the pages are the project's own.
const FLAGS: [&str; 9] = [
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];
/// Commands are read from descriptor 3 and answered on 4.
const WITH_PIPES: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >&2";
const SAID: &str = "stderr.txt";

pub struct Browser {
    // Drop order: the process ends before its directory is removed.
    process: Process,
    connection: Mutex<Connection>,
    dir: TempDir,
}

struct Connection {
    commands: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    /// Events of the pages, in their order.
    events: Vec<Value>,
}

impl Browser {
    #[track_caller]
    pub fn start() -> Browser {
        let dir = TempDir::new();
        let said = File::create(dir.file(SAID)).expect("a file for what the browser says");
        let mut command = Command::new("sh");
        command
            .args(["-c", WITH_PIPES])
            .arg(program("chromium-headless-shell"))
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", dir.file("profile").display()))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", dir.path())
            .env("TMPDIR", dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said);
        let process = Process::spawn(&mut command);
        let (commands, answers) = process.take_pipes();
        let connection = Mutex::new(Connection {
            commands,
            messages: read(answers),
            last_id: 0,
            events: Vec::new(),
        });
        Browser {
            process,
            connection,
            dir,
        }
    }

    /// Opens a page with no cookies and an empty storage.
    #[track_caller]
    pub fn open(&self, url: &str) -> Page<'_> {
        let context = self.must(None, "Target.createBrowserContext", &json!({}));
        let target = self.must(
            None,
            "Target.createTarget",
            &json!({"url": "about:blank", "browserContextId": context["browserContextId"]}),
        );
        let attached = self.must(
            None,
            "Target.attachToTarget",
            &json!({"targetId": target["targetId"], "flatten": true}),
        );
        let page = Page {
            browser: self,
            session: attached["sessionId"].as_str().unwrap().to_owned(),
        };
        for domain in ["Page", "Network", "Runtime", "Log"] {
            page.must(&format!("{domain}.enable"), &json!({}));
        }
        page.go(url);
        page
    }

    /// Parameters of all events of this name so far, from all pages.
    pub fn events(&self, name: &str) -> Vec<Value> {
        // Events come in their order, so those before this answer are here with it.
        self.must(None, "Browser.getVersion", &json!({}));
        let connection = self.connection();
        let named = connection
            .events
            .iter()
            .filter(|event| event["method"] == name);
        named.map(|event| event["params"].clone()).collect()
    }

    /// Method and address of every request of a page, preflights and redirects included.
    pub fn asked_for(&self) -> Vec<String> {
        let sent = self.events("Network.requestWillBeSent").into_iter();
        let word = |event: &Value, name: &str| event["request"][name].as_str().unwrap().to_owned();
        sent.map(|event| format!("{} {}", word(&event, "method"), word(&event, "url")))
            .collect()
    }

    #[track_caller]
    fn must(&self, session: Option<&str>, method: &str, params: &Value) -> Value {
        match self.command(session, method, params) {
            Ok(result) => result,
            Err(why) => panic!("{method} {params}: {why}"),
        }
    }

    fn command(
        &self,
        session: Option<&str>,
        method: &str,
        params: &Value,
    ) -> Result<Value, String> {
        let mut connection = self.connection();
        connection.last_id += 1;
        let id = connection.last_id;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let deadline = Instant::now() + PATIENCE;
        // A browser that has ended shows as a missing answer.
        let _ = connection
            .commands
            .write_all(format!("{message}\0").as_bytes());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(answer) = connection.messages.recv_timeout(left) else {
                let said = std::fs::read_to_string(self.dir.file(SAID)).unwrap_or_default();
                panic!("no answer to {message}; the browser said:\n{said}");
            };
            if answer["id"] == id {
                return match answer.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(answer["result"].clone()),
                };
            }
            connection.events.push(answer);
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are of its group; the leader is reaped afterwards, so the ID cannot be reused.
        kill_group(self.process.pid());
    }
}

fn read(answers: ChildStdout) -> Receiver<Value> {
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        let mut answers = BufReader::new(answers);
        let mut message = Vec::new();
        while answers
            .read_until(0, &mut message)
            .is_ok_and(|count| count > 0)
        {
            message.pop();
            let Ok(value) = serde_json::from_slice(&message) else {
                return;
            };
            if sender.send(value).is_err() {
                return;
            }
            message.clear();
        }
    });
    messages
}

pub struct Page<'b> {
    browser: &'b Browser,
    session: String,
}

impl Page<'_> {
    #[track_caller]
    pub fn go(&self, url: &str) {
        let gone = self.must("Page.navigate", &json!({"url": url}));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
    }

    /// Value of an expression, awaited where it is a promise.
    #[track_caller]
    pub fn evaluate(&self, expression: &str) -> Value {
        match self.try_evaluate(expression) {
            Ok(value) => value,
            Err(why) => panic!("{expression}: {why}"),
        }
    }

    /// Waits until an expression is true, also over redirects.
    #[track_caller]
    pub fn wait(&self, expression: &str) {
        let is_true = format!("Boolean({expression})");
        let found = within(PATIENCE, || {
            let value = self.try_evaluate(&is_true);
            (value == Ok(Value::Bool(true))).then_some(())
        });
        if found.is_none() {
            let shown = self.try_evaluate("location.href + '\\n' + document.body.innerText");
            panic!("waited {PATIENCE:?} in vain for {expression} on {shown:?}");
        }
    }

    /// Waits until the element with this ID has exactly this text.
    #[track_caller]
    pub fn wait_text(&self, id: &str, text: &str) {
        self.wait(&format!(
            "document.getElementById({}).textContent === {}",
            json!(id),
            json!(text)
        ));
    }

    #[track_caller]
    pub fn text(&self, id: &str) -> String {
        let text = self.evaluate(&format!(
            "document.getElementById({}).textContent",
            json!(id)
        ));
        text.as_str().unwrap().to_owned()
    }

    /// Clicks the element with this ID as soon as a person could.
    #[track_caller]
    pub fn click(&self, id: &str) {
        let element = format!("document.getElementById({})", json!(id));
        self.wait(&format!(
            "{element} && !{element}.disabled && !{element}.hidden"
        ));
        self.evaluate(&format!("{element}.click()"));
    }

    #[track_caller]
    pub fn fill(&self, id: &str, text: &str) {
        self.evaluate(&format!(
            "document.getElementById({}).value = {}",
            json!(id),
            json!(text)
        ));
    }

    pub fn address(&self) -> String {
        let address = self.evaluate("location.href");
        address.as_str().unwrap().to_owned()
    }

    /// Addresses of the history, to which a person can go back.
    #[track_caller]
    pub fn history(&self) -> Vec<String> {
        let history = self.must("Page.getNavigationHistory", &json!({}));
        let entries = history["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["url"].as_str().unwrap().to_owned())
            .collect()
    }

    fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let session = Some(self.session.as_str());
        let answer = self.browser.command(session, "Runtime.evaluate", &params)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    #[track_caller]
    fn must(&self, method: &str, params: &Value) -> Value {
        self.browser.must(Some(&self.session), method, params)
    }
}
