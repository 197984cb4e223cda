//! Answers of `audio/transcriptions` and `audio/translations`, kept and given again.
//!
//! A transcript with segments or words, or as plain text, is never given as a stream: these have no such
//! form.

use super::events;
use super::tree::{self, Members};
use super::{Replay, Verdict};
use serde_json::{Value, json};

/// [`Replay`] of the calls that take a recording.
pub(crate) struct TranscriptAnswers;

/// Members of a transcript that a stream has too, in its last event.
const KNOWN: &[&str] = &["text", "usage", "logprobs"];

/// Members of an event that are not part of the transcript.
const FRAME: &[&str] = &["type", "sequence_number", "obfuscation"];

impl Replay for TranscriptAnswers {
    /// Plain text is what `response_format` asked for with `text`, `srt` or `vtt`, so it must not look like
    /// a page or like malformed JSON.
    fn judge(&self, answer: &[u8]) -> Verdict {
        let starts = answer.trim_ascii().first();
        let is_fit = match starts {
            None | Some(b'<' | b'[') => false,
            Some(b'{') => tree::object(answer).is_some_and(|answer| is_text(&answer)),
            Some(_) => str::from_utf8(answer).is_ok(),
        };
        match is_fit {
            true => Verdict::Whole,
            false => Verdict::Unfit,
        }
    }

    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let (mut deltas, mut done) = (String::new(), None);
        events::read(stream, |event| {
            let kind = event.get("type")?.as_str()?;
            match kind {
                "transcript.text.delta" if done.is_none() => {
                    deltas.push_str(event.get("delta")?.as_str()?);
                }
                "transcript.text.done" if done.is_none() => done = Some(event),
                _ => return None,
            }
            Some(())
        })?;
        let mut answer = done?;
        answer.retain(|name, value| !FRAME.contains(&name.as_str()) && !is_no_error(name, value));
        let text = answer.get("text")?.as_str()?;
        if !are_known(&answer) || !(deltas.is_empty() || deltas == text) {
            return None;
        }
        tree::write(answer)
    }

    fn stream(&self, answer: &[u8], _: bool) -> Option<Vec<u8>> {
        let answer = tree::object(answer)?;
        let text = answer.get("text")?.as_str()?;
        if !are_known(&answer) {
            return None;
        }
        let mut out = Vec::new();
        let delta = json!({"delta": text});
        events::push_data(&mut out, &events::typed("transcript.text.delta", delta));
        let done = Value::Object(answer);
        events::push_data(&mut out, &events::typed("transcript.text.done", done));
        Some(out)
    }
}

fn is_text(answer: &Members) -> bool {
    answer.get("text").is_some_and(Value::is_string)
}

fn is_no_error(name: &str, value: &Value) -> bool {
    name == "error" && !tree::is_error(Some(value))
}

fn are_known(answer: &Members) -> bool {
    let mut members = answer.iter();
    members.all(|(name, value)| KNOWN.contains(&name.as_str()) || value.is_null())
}

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod tests;
