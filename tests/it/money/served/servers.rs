//! The stand-ins: the members each server obeys, the output it shows, and its usage format.
//!
//! Written from the servers' sources and documentation. They report like the real ones; some of these report
//! less than they generate.

mod table;

use super::loose::Names;
pub use table::SERVERS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Chat,
    Completions,
    Responses,
    Messages,
    /// Gemini's `generateContent`.
    Content,
}

impl Api {
    pub fn path(self) -> &'static str {
        match self {
            Api::Chat => "chat/completions",
            Api::Completions => "completions",
            Api::Responses => "responses",
            Api::Messages => "messages",
            Api::Content => "models/m:generateContent",
        }
    }

    /// Texts of which an answer has one where it ends well.
    pub fn ends(self) -> &'static [&'static str] {
        match self {
            Api::Chat | Api::Completions => &["\"finish_reason\":\""],
            Api::Responses => &["\"status\":\"completed\"", "\"status\":\"incomplete\""],
            Api::Messages => &["\"stop_reason\":\""],
            Api::Content => &["\"finishReason\":\""],
        }
    }
}

/// Reasoning of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thought {
    Never,
    /// Not shown.
    Hidden,
    /// Shown in this member of the delta.
    Shown(&'static str),
    /// Shown in a content part.
    InParts,
}

/// Position of the usage in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// In a last chunk without choices, if requested.
    IfAsked,
    /// In a last chunk without choices, always.
    Always,
    /// Beside the choice with the finish reason.
    AtTheEnd,
    /// Inside the choice with the finish reason.
    InChoice,
    /// In `x_groq`, and in its own chunk if requested.
    Groq,
    /// Running counts in every chunk.
    Running,
    /// Zeros in every chunk, the real counts in the last.
    Noughts,
}

/// Counting of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    All,
    /// Only the first of several answers; in a stream each separately.
    First,
    /// Only the last of several answers.
    Last,
    /// One token less than generated, where the limit cut the answer.
    OneLess,
    /// Reasoning tokens only in `total_tokens`.
    ThoughtsInTotal,
    /// Intermediate passes only in `iterations`.
    Iterations,
}

/// Failure of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error event.
    Event,
    /// An error event and `[DONE]`.
    EventAndDone,
    /// An empty chunk and nothing more.
    EmptyChunk,
}

#[derive(Debug)]
pub struct Server {
    /// Name of its endpoint.
    pub name: &'static str,
    /// `server` in the config.
    pub kind: &'static str,
    pub model: &'static str,
    pub api: Api,
    pub names: Names,
    /// Limit members; the first one present applies.
    pub limits: &'static [&'static str],
    /// The greatest limit applies instead.
    pub is_generous: bool,
    /// Two limits are refused.
    pub wants_one_limit: bool,
    /// Member that disables every limit.
    pub voids: &'static str,
    /// Reasoning is not bounded by the limit.
    pub thinks_beyond: bool,
    /// Members for the number of answers; the first one present applies.
    pub many: &'static [&'static str],
    /// Several answers are only available without streaming.
    pub many_plain_only: bool,
    pub thought: Thought,
    pub usage: Usage,
    pub counts: Counts,
    pub failure: Failure,
    /// The content is a list of parts.
    pub has_parts: bool,
    /// SSE comment during reasoning.
    pub comment: &'static str,
    /// Sends a first chunk without choices, and content filter results with each choice.
    pub filters: bool,
    pub has_done: bool,
    /// Tokens that its template adds to a prompt.
    pub template: u64,
    /// Members that it requires.
    pub asked_with: &'static str,
    /// Milliseconds per token.
    pub pace: u64,
    /// Answers that it generates, discards and does not count before the final one.
    pub discards: u64,
    /// The only members it accepts; empty: any.
    pub takes: &'static [&'static str],
    /// Status, member and text around the quote, for an error that quotes unparsable output.
    pub quotes: Option<(u16, &'static str, &'static str)>,
}
