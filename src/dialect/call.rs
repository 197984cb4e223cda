//! What the gateway must know of a call and of its answer, whatever API they are written in.

use crate::rules::amount::Tokens;

/// The provider APIs, by the shape of their errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    OpenAi,
    Anthropic,
}

/// A call, read from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub model: Option<String>,
    pub stream: bool,
    /// The client asked for the stream's usage itself.
    pub wants_usage: bool,
    /// The most tokens one answer may have, where the client said so.
    pub limit: Option<u64>,
    /// How many answers are asked for.
    pub answers: u64,
    /// At least as many tokens as the provider will count for the prompt.
    pub prompt: Tokens,
}

/// What must be different in the body that leaves for the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    pub model: Option<&'a str>,
    pub limit: Option<Limit>,
}

/// The most tokens one answer may have, and the name this endpoint knows that limit by where the
/// client gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub tokens: u64,
    pub name: &'static str,
    /// Written also beside one of another name, which this endpoint may not know.
    pub always: bool,
}

/// Tokens as the provider counted them. A part of the input that came from a cache is counted once,
/// whatever the provider's convention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub uncached_input: Tokens,
    pub cache_read: Tokens,
    pub output: Tokens,
}

impl Usage {
    pub fn total(&self) -> Tokens {
        self.uncached_input.plus(self.cache_read).plus(self.output)
    }
}

/// Why a call cannot be read: a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// What a meter has seen of an answer so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the provider reports. Absent is not nought.
    pub usage: Option<Usage>,
    /// Bytes of generated text that passed.
    pub text: u64,
    /// The answer said itself that it is complete.
    pub complete: bool,
}
