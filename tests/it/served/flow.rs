//! An answer as it is generated: token by token, shown or not, until its end or another one.

use super::obeys::{Answer, Asked};
use super::servers::{Failure, Server};
use super::turns::{Ending, Turn};
use crate::harness::{Script, Step, Tally};
use serde_json::{Value, json};
use std::time::Duration;

/// A plain answer is generated in so many tokens at a time.
const STRIDE: u64 = 10;

/// Words of a wide answer that no connection keeps.
const HASTY: u64 = 400;

pub struct Flow<'a> {
    pub server: &'a Server,
    pub turn: &'a Turn,
    pub asked: &'a Asked,
    tally: Tally,
    script: Script,
    words: u64,
    pub generated: u64,
    /// It has ended before its end.
    pub is_over: bool,
}

impl<'a> Flow<'a> {
    pub fn new(server: &'a Server, turn: &'a Turn, asked: &'a Asked, tally: &Tally) -> Flow<'a> {
        Flow {
            server,
            turn,
            asked,
            tally: tally.clone(),
            script: Script::new(),
            words: 0,
            generated: 0,
            is_over: false,
        }
    }

    pub fn script(self) -> Script {
        self.script
    }

    pub fn begin_stream(&mut self) {
        let headers = [("content-type", "text/event-stream")];
        self.script = std::mem::take(&mut self.script).head(200, &headers);
    }

    pub fn generate(&mut self, tokens: u64) {
        // The time until the connections are full is nothing to wait for.
        if self.turn.padding == 0 || self.words > HASTY {
            let pace = Duration::from_millis(self.server.pace);
            self.script.steps.push(Step::Wait(pace));
        }
        self.script
            .steps
            .push(Step::Generate(tokens, self.tally.clone()));
        self.generated += tokens;
    }

    /// An answer that nobody sees or counts.
    pub fn discard(&mut self, tokens: u64) {
        self.generate(tokens);
        self.generated -= tokens;
    }

    /// One more word, unless the answer ends before it.
    pub fn word(&mut self) -> bool {
        let ends = match self.turn.ending {
            Ending::BreaksOff(after) | Ending::Stalls(after) | Ending::Fails(after) => {
                self.words == after
            }
            Ending::Whole | Ending::Unparsed => false,
        };
        if ends {
            self.is_over = true;
            return false;
        }
        self.words += 1;
        self.generate(1);
        true
    }

    /// Thoughts that nobody sees.
    pub fn think(&mut self, tokens: u64) {
        let mut left = tokens;
        while left > 0 {
            let now = left.min(STRIDE);
            self.generate(now);
            left -= now;
            if !self.server.comment.is_empty() {
                self.bytes(format!("{}\n\n", self.server.comment));
            }
        }
    }

    pub fn bytes(&mut self, text: String) {
        self.script.steps.push(Step::Bytes(text.into_bytes()));
    }

    pub fn event(&mut self, value: &Value) {
        self.bytes(format!("data: {value}\n\n"));
    }

    /// Named by its type, as some APIs do.
    pub fn named(&mut self, value: &Value) {
        let kind = value["type"].as_str().unwrap_or_default().to_owned();
        self.bytes(format!("event: {kind}\ndata: {value}\n\n"));
    }

    pub fn padding(&self) -> String {
        "x".repeat(self.turn.padding)
    }

    /// What is left to do where it did not come to its end; a failure is told as `failure` says.
    pub fn end(&mut self, failure: impl FnOnce(&mut Flow<'a>)) {
        match self.turn.ending {
            Ending::BreaksOff(_) => self.script.steps.push(Step::Cut),
            Ending::Stalls(_) => self.script.steps.push(Step::Stall),
            _ => failure(self),
        }
    }

    /// All of an answer that is not streamed, until `body` or another end of it.
    pub fn plain(&mut self, body: &Value) {
        let most = match self.turn.ending {
            Ending::BreaksOff(words) | Ending::Stalls(words) | Ending::Fails(words) => words,
            Ending::Whole | Ending::Unparsed => u64::MAX,
        };
        for answer in &self.asked.answers {
            let tokens = answer.thoughts + (answer.words + answer.arguments).min(most);
            let mut left = tokens;
            while left > 0 {
                let now = left.min(STRIDE);
                self.generate(now);
                left -= now;
            }
        }
        match self.turn.ending {
            Ending::Whole | Ending::Unparsed => self.whole(200, body),
            _ => self.end(|flow| flow.whole(500, &error())),
        }
    }

    fn whole(&mut self, status: u16, body: &Value) {
        self.script.steps.extend(Script::json(status, body).steps);
    }

    /// All is generated, and the error quotes it.
    pub fn unparsed(&mut self, status: u16, member: &str, around: &str) {
        let (mut all, mut text) = (0, String::new());
        for answer in &self.asked.answers {
            all += answer.tokens();
            text += &words(answer.words);
        }
        self.generate(all);
        let mut error = error();
        error["error"][member] = json!(around.replace("{}", &text));
        self.whole(status, &error);
    }

    /// As the servers of chats say that a stream has failed.
    pub fn fail_as_chat(&mut self) {
        match self.server.failure {
            Failure::EmptyChunk => {
                self.event(&json!({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": null}]}));
            }
            Failure::Event | Failure::EventAndDone => self.event(&error()),
        }
        if self.server.failure == Failure::EventAndDone {
            self.bytes("data: [DONE]\n\n".to_owned());
        }
    }
}

pub fn error() -> Value {
    json!({"error": {"message": "It has failed", "type": "server_error", "code": "failed"}})
}

pub fn words(count: u64) -> String {
    "word ".repeat(usize::try_from(count).unwrap_or_default())
}

/// Arguments of so many words.
pub fn arguments(answer: &Answer) -> String {
    format!("{{\"a\":\"{}\"}}", words(answer.arguments))
}
