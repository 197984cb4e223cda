//! Generation of an answer: token by token, shown or hidden, up to its end or a failure.

use super::obeys::{Answer, Asked};
use super::servers::{Failure, Server};
use super::turns::{Ending, Turn};
use crate::harness::{Script, Step, Tally};
use serde_json::{Value, json};
use std::time::Duration;

/// Tokens per step of a plain answer.
const STRIDE: u64 = 10;

/// Words of a large answer, more than connections buffer.
const HASTY: u64 = 400;

pub struct Flow<'a> {
    pub server: &'a Server,
    pub turn: &'a Turn,
    pub asked: &'a Asked,
    tally: Tally,
    script: Script,
    words: u64,
    pub generated: u64,
    /// The answer ended early.
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
        // No pacing until the connection's buffers are full.
        if self.turn.padding == 0 || self.words > HASTY {
            let pace = Duration::from_millis(self.server.pace);
            self.script.steps.push(Step::Wait(pace));
        }
        self.script
            .steps
            .push(Step::Generate(tokens, self.tally.clone()));
        self.generated += tokens;
    }

    /// Generates an answer that is neither shown nor counted.
    pub fn discard(&mut self, tokens: u64) {
        self.generate(tokens);
        self.generated -= tokens;
    }

    /// Generates one word, unless the answer has ended early.
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

    /// Generates hidden reasoning.
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

    /// Sends an event that is named after its `type`.
    pub fn named(&mut self, value: &Value) {
        let kind = value["type"].as_str().unwrap_or_default().to_owned();
        self.bytes(format!("event: {kind}\ndata: {value}\n\n"));
    }

    pub fn padding(&self) -> String {
        "x".repeat(self.turn.padding)
    }

    /// ID of the answer; a long one in the first event of a large answer.
    pub fn id(&self) -> String {
        match self.words {
            0 | 1 => format!("id{}", self.padding()),
            _ => "id".to_owned(),
        }
    }

    /// Ends an answer that stopped early; a failure is sent with `failure`.
    pub fn end(&mut self, failure: impl FnOnce(&mut Flow<'a>)) {
        match self.turn.ending {
            Ending::BreaksOff(_) => self.script.steps.push(Step::Cut),
            Ending::Stalls(_) => self.script.steps.push(Step::Stall),
            _ => failure(self),
        }
    }

    /// Generates a plain answer up to `body` or an early end.
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

    /// Generates everything, then fails with an error that quotes it.
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

    /// Reports a failure in the format of chat streams.
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

/// Tool arguments with the answer's number of words.
pub fn arguments(answer: &Answer) -> String {
    format!("{{\"a\":\"{}\"}}", words(answer.arguments))
}
