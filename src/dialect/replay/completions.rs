//! Answers of `completions`, whose choices say a `text`, kept and given again.

use super::choices::{self, Said};
use super::{Replay, Verdict};
use serde_json::Value;

/// [`Replay`] of `POST completions`.
pub(crate) struct CompletionAnswers;

impl Replay for CompletionAnswers {
    fn judge(&self, answer: &[u8]) -> Verdict {
        choices::judge::<Continuation>(answer)
    }

    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>> {
        choices::assemble::<Continuation>(stream)
    }

    fn stream(&self, answer: &[u8], wants_usage: bool) -> Option<Vec<u8>> {
        choices::stream::<Continuation>(answer, wants_usage)
    }
}

/// Text of one choice.
#[derive(Default)]
struct Continuation(String);

impl Said for Continuation {
    const WHOLE: &str = "text_completion";
    const CHUNK: &str = "text_completion";
    const MEMBER: &str = "text";
    const PIECE: &str = "text";

    fn judge(said: Option<&Value>) -> Verdict {
        match said {
            Some(Value::String(_)) => Verdict::Whole,
            _ => Verdict::Unfit,
        }
    }

    fn add(&mut self, piece: Value) -> Option<()> {
        match piece {
            Value::Null => {}
            Value::String(text) => self.0.push_str(&text),
            _ => return None,
        }
        Some(())
    }

    fn whole(self) -> Value {
        Value::String(self.0)
    }

    fn as_piece(said: Option<Value>) -> Option<Value> {
        said.filter(Value::is_string)
    }

    fn empty_piece() -> Value {
        "".into()
    }
}

#[cfg(test)]
#[path = "completions_tests.rs"]
mod tests;
