//! Gives a provider's answer again, as JSON or as a stream, whichever form a client asks for.
//!
//! Answers are kept whole, in the form of a call without `stream`. Everything here is strict: an answer that
//! is not understood to its last member is not kept, because a wrong copy would reach many clients.

pub mod chat;
mod choices;
pub mod completions;
pub mod embeddings;
mod events;
pub mod gemini;
pub mod messages;
pub mod responses;
pub mod transcript;
mod tree;

/// How answers of one call are kept, and given again.
pub trait Replay: Sync {
    /// Whether a whole answer may be given to others again.
    fn judge(&self, answer: &[u8]) -> Verdict;

    /// Puts the events of a finished stream together to the whole answer that the provider would have given
    /// without `stream`. `None`: something in it is not understood, so it is not kept.
    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>>;

    /// Writes a whole answer as the stream of events that a client with `stream: true` expects. `None`:
    /// something in it is not understood. `wants_usage`: the client set `stream_options.include_usage`, which
    /// chat and completions alone have.
    fn stream(&self, answer: &[u8], wants_usage: bool) -> Option<Vec<u8>>;
}

/// Fitness of an answer to be given again. The worst verdict on any of its parts, the last one here, is that
/// on the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Whole,
    /// It calls tools.
    CallsTools,
    /// Cut at its limit, such as `length`, `max_tokens`, or an incomplete response with `max_output_tokens`.
    Truncated,
    /// The provider refused or filtered.
    Refused,
    /// An error, not JSON, or a shape that is not understood.
    Unfit,
}

#[cfg(test)]
mod tests;
