//! Answers of `generateContent`, whose candidates hold parts, kept and given again.
//!
//! Every event of a stream has the shape of a whole answer. Texts that follow each other are one part of the whole.

use super::events;
use super::tree::{self, Members, Merge, add};
use super::{Replay, Verdict};
use serde_json::{Value, json};

/// [`Replay`] of `generateContent`.
pub(crate) struct GeminiAnswers;

/// Members of a candidate whose pieces are lists.
const LISTS: &[&str] = &["groundingAttributions"];

impl Replay for GeminiAnswers {
    fn judge(&self, answer: &[u8]) -> Verdict {
        let Some(answer) = tree::object(answer) else {
            return Verdict::Unfit;
        };
        let blocked = answer
            .get("promptFeedback")
            .and_then(|feedback| feedback.get("blockReason"));
        match answer.get("candidates") {
            _ if blocked.is_some_and(|reason| !reason.is_null()) => Verdict::Refused,
            Some(Value::Array(candidates)) if !candidates.is_empty() => candidates
                .iter()
                .map(candidate)
                .fold(Verdict::Whole, Verdict::max),
            _ => Verdict::Unfit,
        }
    }

    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let mut assembly = CandidateAssembly::default();
        events::read(stream, |event| assembly.event(event))?;
        tree::write(assembly.whole()?)
    }

    fn stream(&self, answer: &[u8], _: bool) -> Option<Vec<u8>> {
        let answer = tree::object(answer)?;
        let mut out = Vec::new();
        events::push_data(&mut out, &Value::Object(answer));
        Some(out)
    }
}

fn candidate(candidate: &Value) -> Verdict {
    let stop = match tree::text(candidate, "finishReason") {
        Some("STOP") => Verdict::Whole,
        Some("MAX_TOKENS") => Verdict::Truncated,
        Some(
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY",
        ) => Verdict::Refused,
        _ => Verdict::Unfit,
    };
    let parts = candidate
        .get("content")
        .and_then(|content| content.get("parts"));
    match parts {
        Some(Value::Array(parts)) => parts.iter().map(part).fold(stop, Verdict::max),
        _ => stop.max(Verdict::Refused),
    }
}

fn part(part: &Value) -> Verdict {
    let has = |name: &str| part.get(name).is_some();
    match () {
        () if has("functionCall") || has("executableCode") || has("codeExecutionResult") => {
            Verdict::CallsTools
        }
        () if tree::text(part, "text").is_some() || has("inlineData") => Verdict::Whole,
        () => Verdict::Unfit,
    }
}

/// Answer that is put together from events.
#[derive(Default)]
struct CandidateAssembly {
    answer: Members,
    candidates: Vec<(u64, Members)>,
}

impl CandidateAssembly {
    fn event(&mut self, event: Members) -> Option<()> {
        for (name, value) in event {
            match (name.as_str(), value) {
                ("candidates", Value::Array(candidates)) => {
                    for candidate in candidates {
                        self.candidate(candidate)?;
                    }
                }
                (_, value) => add(&mut self.answer, name, value, Merge::Last)?,
            }
        }
        Some(())
    }

    fn candidate(&mut self, candidate: Value) -> Option<()> {
        let Value::Object(candidate) = candidate else {
            return None;
        };
        let place = match candidate.get("index") {
            None => 0,
            Some(place) => place.as_u64()?,
        };
        let known = self.candidates.iter().position(|(at, _)| *at == place);
        let at = known.unwrap_or(self.candidates.len());
        if known.is_none() {
            self.candidates.push((place, Members::new()));
        }
        let (_, whole) = &mut self.candidates[at];
        for (name, value) in candidate {
            match (name.as_str(), value) {
                ("content", Value::Object(content)) => add_content(whole, content)?,
                (list, value) if LISTS.contains(&list) => add(whole, name, value, Merge::List)?,
                (_, value) => add(whole, name, value, Merge::Last)?,
            }
        }
        Some(())
    }

    /// `None`: a candidate has not ended.
    fn whole(self) -> Option<Members> {
        let mut candidates = self.candidates;
        candidates.sort_by_key(|(place, _)| *place);
        let has_ended = |(_, candidate): &(u64, Members)| candidate.contains_key("finishReason");
        if candidates.is_empty() || !candidates.iter().all(has_ended) {
            return None;
        }
        let candidates = candidates.into_iter().map(|(_, members)| members.into());
        let mut whole = Members::new();
        whole.insert("candidates".to_owned(), Value::Array(candidates.collect()));
        whole.extend(self.answer);
        Some(whole)
    }
}

/// Adds the parts of a piece of a candidate's content.
fn add_content(candidate: &mut Members, content: Members) -> Option<()> {
    let whole = candidate
        .entry("content")
        .or_insert_with(|| json!({"parts": []}));
    let whole = whole.as_object_mut()?;
    for (name, value) in content {
        match (name.as_str(), value) {
            ("parts", Value::Array(pieces)) => {
                let parts = whole.get_mut("parts")?.as_array_mut()?;
                for piece in pieces {
                    add_part(parts, piece)?;
                }
            }
            ("role", value) => add(whole, name, value, Merge::Same)?,
            _ => return None,
        }
    }
    Some(())
}

/// Adds a part. A text goes on from the text before it, a thought from a thought.
fn add_part(parts: &mut Vec<Value>, piece: Value) -> Option<()> {
    let Value::Object(piece) = piece else {
        return None;
    };
    let is_thought = |part: &Members| part.get("thought") == Some(&Value::Bool(true));
    let is_plain = |part: &Members| {
        part.get("text").is_some_and(Value::is_string)
            && part.keys().all(|name| name == "text" || name == "thought")
    };
    if is_plain(&piece)
        && let Some(Value::Object(last)) = parts.last_mut()
        && is_plain(last)
        && is_thought(last) == is_thought(&piece)
        && let (Some(Value::String(whole)), Some(Value::String(more))) =
            (last.get_mut("text"), piece.get("text"))
    {
        whole.push_str(more);
        return Some(());
    }
    let is_empty = is_plain(&piece) && piece.get("text").and_then(Value::as_str) == Some("");
    if !is_empty || parts.is_empty() {
        parts.push(Value::Object(piece));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"mull\",\"thought\":true}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":4,\"totalTokenCount\":4},\"modelVersion\":\"m\",\"responseId\":\"r\"}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"r\"}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}],\"role\":\"model\"},\"index\":0}]}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2,\"totalTokenCount\":6}}\r\n\r\n",
    );

    #[test]
    fn a_stream_is_put_together_to_the_whole_answer() {
        let whole = GeminiAnswers.assemble(STREAM.as_bytes()).unwrap();
        let expected = json!({
            "candidates": [{
                "content": {"parts": [{"text": "mull", "thought": true}, {"text": "Hello"}], "role": "model"},
                "index": 0, "finishReason": "STOP",
            }],
            "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
            "modelVersion": "m", "responseId": "r",
        });
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), expected);
        assert_eq!(GeminiAnswers.judge(&whole), Verdict::Whole);
        let stream = GeminiAnswers.stream(&whole, false).unwrap();
        assert_eq!(GeminiAnswers.assemble(&stream).unwrap(), whole);
    }

    #[test]
    fn what_is_not_whole_is_not_kept() {
        let end = STREAM.rfind("data:").unwrap();
        assert_eq!(GeminiAnswers.assemble(&STREAM.as_bytes()[..end]), None);
        for (answer, verdict) in [
            (json!({"candidates": []}), Verdict::Unfit),
            (
                json!({"promptFeedback": {"blockReason": "SAFETY"}}),
                Verdict::Refused,
            ),
            (json!({"error": {"code": 500}}), Verdict::Unfit),
            (
                json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "MAX_TOKENS"}]}),
                Verdict::Truncated,
            ),
            (
                json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}]}),
                Verdict::CallsTools,
            ),
            (
                json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "OTHER"}]}),
                Verdict::Unfit,
            ),
        ] {
            let judged = GeminiAnswers.judge(answer.to_string().as_bytes());
            assert_eq!(judged, verdict, "{answer}");
        }
    }
}
