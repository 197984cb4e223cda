//! The reader programs: they print their interpretation of each body, one line in and one line out.
//!
//! They are started once. Each answers for several parsers; a missing or malformed line fails the test.

use crate::harness::process::Process;
use crate::harness::project::{in_project, not_installed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

/// A body as sent to a provider.
#[derive(Clone, Debug)]
pub struct Sent {
    pub is_form: bool,
    pub content_type: Vec<u8>,
    pub bytes: Vec<u8>,
}

impl Sent {
    fn line(&self) -> String {
        let kind = if self.is_form { "form" } else { "json" };
        let content_type = STANDARD.encode(&self.content_type);
        format!("{kind} {content_type} {}\n", STANDARD.encode(&self.bytes))
    }
}

struct Child {
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Bodies sent before the first answer is read: few enough for a pipe's buffer.
const BATCH: usize = 256;

impl Child {
    fn start(command: &mut Command) -> Child {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        let input = child.stdin.take().expect("a pipe for the input");
        let output = child.stdout.take().expect("a pipe for the output");
        Child {
            _process: Process::of(child),
            input,
            output: BufReader::new(output),
        }
    }

    fn ask(&mut self, sent: &[Sent]) -> Vec<Vec<Value>> {
        let Child { input, output, .. } = self;
        thread::scope(|scope| {
            scope.spawn(|| {
                for batch in sent.chunks(BATCH) {
                    let lines: String = batch.iter().map(Sent::line).collect();
                    input
                        .write_all(lines.as_bytes())
                        .expect("a reader that reads");
                }
            });
            let answer = |sent: &Sent| {
                let mut line = String::new();
                let read = output.read_line(&mut line).expect("text");
                assert!(
                    read > 0,
                    "a reader has ended at {}",
                    sent.bytes.escape_ascii()
                );
                match serde_json::from_str(&line) {
                    Ok(answers) => answers,
                    Err(error) => panic!("{error}: {line} for {}", sent.bytes.escape_ascii()),
                }
            };
            sent.iter().map(answer).collect()
        })
    }
}

/// All reader programs.
pub struct Readers(Vec<Child>);

impl Readers {
    pub fn start() -> Readers {
        let program = |path: &str| {
            let path = in_project(path);
            if !path.exists() {
                not_installed(&path);
            }
            path
        };
        let script = |name: &str| in_project("tests/readers").join(name);
        let [built, source] = [
            program(".tools/readers-go/readers.go"),
            script("readers.go"),
        ]
        .map(|path| fs::read(path).expect("a source"));
        assert!(
            built == source,
            "the program in .tools/readers-go is of another source: tests/tools/install-readers.sh builds it again"
        );
        let go = Command::new(program(".tools/readers-go/readers"));
        let mut python = Command::new(program(".tools/readers/bin/python"));
        python.arg(script("readers.py"));
        let mut older = Command::new(program(".tools/readers-older/bin/python"));
        older.arg(script("readers.py")).arg(" (older)");
        let mut node = Command::new("node");
        let package = program(".tools/readers-node/package.json");
        node.arg(script("readers.mjs")).arg(package);
        let commands = [go, python, older, node];
        Readers(
            commands
                .into_iter()
                .map(|mut command| Child::start(&mut command))
                .collect(),
        )
    }

    /// Interpretations of each body by every reader.
    pub fn ask(&mut self, sent: &[Sent]) -> Vec<Vec<Value>> {
        let mut all = vec![Vec::new(); sent.len()];
        thread::scope(|scope| {
            let asked: Vec<_> = self
                .0
                .iter_mut()
                .map(|child| scope.spawn(|| child.ask(sent)))
                .collect();
            for child in asked {
                let answers = child.join().expect("answers");
                for (all, answers) in all.iter_mut().zip(answers) {
                    all.extend(answers);
                }
            }
        });
        all
    }
}
