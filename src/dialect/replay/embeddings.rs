//! Answers of `embeddings`, which are never streamed. The vectors are checked to be JSON, and not kept in
//! memory.

use super::{Replay, Verdict, tree};
use crate::json;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// [`Replay`] of `POST embeddings`.
pub(crate) struct EmbeddingAnswers;

/// Members of an answer that decide whether it is one.
#[derive(Deserialize)]
struct Vectors {
    data: Vec<IgnoredAny>,
    #[serde(default)]
    error: Value,
}

impl Replay for EmbeddingAnswers {
    fn judge(&self, answer: &[u8]) -> Verdict {
        let is_readable = str::from_utf8(answer).is_ok() && json::is_flat(answer, json::MAX_DEPTH);
        let is_object = answer.trim_ascii_start().starts_with(b"{");
        if !is_readable || !is_object {
            return Verdict::Unfit;
        }
        match serde_json::from_slice::<Vectors>(answer) {
            Ok(answer) if !answer.data.is_empty() && !tree::is_error(Some(&answer.error)) => {
                Verdict::Whole
            }
            _ => Verdict::Unfit,
        }
    }

    fn assemble(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn stream(&self, _: &[u8], _: bool) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_vectors_is_whole_and_never_streamed() {
        let whole = br#" {"object":"list","data":[{"embedding":[0.5,-1e-3]}],"error":null} "#;
        assert_eq!(EmbeddingAnswers.judge(whole), Verdict::Whole);
        assert_eq!(EmbeddingAnswers.stream(whole, true), None);
        assert_eq!(EmbeddingAnswers.assemble(whole), None);
        let deep = format!(r#"{{"data":[{}1{}]}}"#, "[".repeat(200), "]".repeat(200));
        for unfit in [
            "",
            "[[1]]",
            r#"{"data":[]}"#,
            r#"{"data":{}}"#,
            r#"{"data":[1],"error":{"message":"no"}}"#,
            r#"{"data":[1]"#,
            r#"{"data":[1,]}"#,
            r#"{"data":[1]} x"#,
            &deep,
        ] {
            assert_eq!(
                EmbeddingAnswers.judge(unfit.as_bytes()),
                Verdict::Unfit,
                "{unfit}"
            );
        }
    }
}
