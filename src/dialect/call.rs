//! Facts of a call ([`Call`]) and of its answer ([`Reading`]), the same whatever API they are written in.
//!
//! [`Call::prompt`] and [`Call::answer`] are upper bounds and must never be too low: a hold rests on them.

pub use crate::rules::charge::Claim;
pub use crate::rules::price::Usage;

pub use super::delivered::{Delivered, HostedCalls};
use crate::json;
use crate::rules::amount::Tokens;
use crate::rules::config::Kind;
use crate::rules::families::Detail;
use serde_json::value::RawValue;

/// APIs of providers, told apart by the shape of their errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Api {
    /// Returns the first segment of the paths of its calls.
    pub fn version(self) -> &'static str {
        match self {
            Api::OpenAi | Api::Anthropic => "v1",
            Api::Gemini => "v1beta",
        }
    }

    pub fn is_spoken_by(self, kind: Kind) -> bool {
        match kind {
            // Its calls are translated for the demo.
            Kind::Demo => self != Api::Gemini,
            Kind::OpenAi => self == Api::OpenAi,
            Kind::Anthropic => self == Api::Anthropic,
            Kind::Gemini => self == Api::Gemini,
        }
    }
}

/// Request body as received, with what the rest of the request says of it.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    /// Value of the `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Model in the request's path, where an API names it there.
    pub model: Option<&'a str>,
}

impl<'a> Body<'a> {
    pub fn json(bytes: &'a [u8]) -> Body<'a> {
        Body {
            bytes,
            content_type: Some("application/json"),
            model: None,
        }
    }
}

/// Upper bounds, in tokens, of content whose bytes do not show its size. Operators set them as
/// `bounds.image`, `bounds.image_answer` and `bounds.sound_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens of one image in a prompt.
    pub image: u64,
    /// Tokens of an image whose `detail` is `low` or `high`. `None`: every image counts as `image`.
    pub detail: Option<Detail>,
    /// Tokens of one page of a document, the picture of the page included.
    pub page: u64,
    /// Tokens of one generated image.
    pub image_answer: u64,
    /// Tokens of one second of sound, in a prompt or an answer.
    pub sound_second: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            image: 4_000,
            detail: None,
            page: 4_000,
            image_answer: 8_000,
            sound_second: 50,
        }
    }
}

impl Bounds {
    /// Returns the bound of an image with this `detail`. Values other than `low` and `high` count as `image`.
    pub(crate) fn image_in(&self, detail: Option<&str>) -> Tokens {
        Tokens::new(match (detail, self.detail) {
            (Some("low"), Some(known)) => known.low,
            (Some("high"), Some(known)) => known.high,
            _ => self.image,
        })
    }
}

/// Facts of a call, parsed from its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub model: Option<String>,
    pub stream: bool,
    /// Whether the client itself asked for usage in the stream (`stream_options.include_usage`).
    pub wants_usage: bool,
    /// Maximum number of tokens of one answer, if the body sets it, for example as `max_tokens`.
    pub limit: Option<u64>,
    /// Number of answers that are generated, for example `n`.
    pub answers: u64,
    /// Upper bound of the tokens that the provider will count for the prompt.
    pub prompt: Tokens,
    /// Upper bound of the answer where the body has no `limit`: zero if nothing is generated, or the size
    /// that images and sound have of their own.
    pub answer: Option<Tokens>,
    /// Unknown members of the body, whose effect depends on the server. `members::check` decides about them.
    pub unknown_members: Vec<String>,
    /// Hosted tools, and members that change the price.
    pub extras: Extras,
    /// Whether the body asks for output that is generated but not shown in the answer, such as hidden
    /// thinking.
    pub hides: bool,
    /// Whether the call is free of charge. It still counts against the window.
    pub free: bool,
    /// Usage to charge for the whole call if the provider reports none and the answer's text cannot show it.
    /// `None`: the delivered output is counted.
    pub unreported: Option<Usage>,
    /// Whether the answer is text alone, as a transcript in `srt` is. A `usage` in it is the model's text.
    pub answers_in_text: bool,
    /// Tokens charged for one second of sound if the provider reports seconds instead of tokens.
    pub sound_second: u64,
    /// Value of `prompt_cache_key`: callers choose the name under which a provider caches their prompts.
    pub cache_key: Option<String>,
    /// Whether the body may be forwarded as received when [`Changes::are_none`].
    pub can_pass_unchanged: bool,
}

/// Maximum number of hosted tools in one body. No provider has as many.
const MAX_HOSTED_TOOLS: usize = 128;

/// Hosted tools, and members that change the price, by the names that a body uses for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Tools that the provider runs itself, each with the client's limit of calls, such as `max_uses`.
    pub hosted: Vec<(String, Option<u64>)>,
    /// Hosted tools for which the body can set no limit of calls.
    pub unbounded: Vec<String>,
    /// Limit of calls that all hosted tools share (`max_tool_calls`).
    pub shared: Option<u64>,
    /// Whether one call is made in any case and not shown in the answer (`web_search_options`).
    pub has_unshown_call: bool,
    /// Hosted tools one of which `tool_choice` forces the model to call.
    pub forced: Vec<String>,
    /// Members that change the price, or cause more output than is asked for, such as `service_tier`.
    pub surcharged: Vec<String>,
}

impl Extras {
    pub fn hosted(&mut self, name: String, calls: Option<u64>) -> Result<(), Unreadable> {
        if self.hosted.len() == MAX_HOSTED_TOOLS {
            let why =
                format!("More than {MAX_HOSTED_TOOLS} tools that the provider would run itself");
            return Err(Unreadable(why));
        }
        self.hosted.push((name, calls));
        Ok(())
    }
}

/// Changes that an endpoint needs in the body before it is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    pub model: Option<&'a str>,
    pub limit: Option<Limit>,
    /// Names from `Extras::hosted` and `Extras::dear` to remove from the body.
    pub removed: &'a [String],
    /// Maximum number of calls of the hosted tools that stay.
    pub calls: Option<u64>,
    /// Name that replaces the caller's `prompt_cache_key` at the provider.
    pub cache_key: Option<&'a str>,
}

impl Changes<'_> {
    /// Whether the endpoint needs no change of the body.
    pub fn are_none(&self) -> bool {
        self.model.is_none()
            && self.limit.is_none()
            && self.removed.is_empty()
            && self.calls.is_none()
            && self.cache_key.is_none()
    }

    pub fn removes(&self, name: &str) -> bool {
        self.removed.iter().any(|removed| removed == name)
    }
}

/// Maximum number of tokens of one answer. `name` is the member that this endpoint knows, written if the
/// client gave no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub tokens: u64,
    pub name: &'static str,
    /// Whether `name` is also written beside a limit of another name, which this endpoint may not know.
    pub always: bool,
}

/// Error: a call cannot be parsed or is not served. The text is a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// Model names that an answer reports in `model`, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served(Vec<String>);

/// Maximum number of model names kept, more than take turns in one answer. Beyond it the oldest is dropped.
const MAX_SERVED_MODELS: usize = 16;

/// Longest model name kept, in bytes with its quotes.
const MAX_MODEL_NAME_BYTES: usize = 256;

impl Served {
    /// Records a model name, given as a raw JSON string with its quotes.
    pub fn take(&mut self, value: &[u8]) {
        if !value.starts_with(b"\"") || value.len() > MAX_MODEL_NAME_BYTES {
            return;
        }
        let name = json::text(value);
        if name.is_empty() || self.0.iter().any(|known| **known == *name) {
            return;
        }
        if self.0.len() == MAX_SERVED_MODELS {
            self.0.remove(0);
        }
        self.0.push(name.into_owned());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Facts of an answer, as far as a meter has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Usage that the provider reports.
    pub claim: Claim,
    /// Whether `claim` covers the whole answer, and not only the output before the report. If `complete` is
    /// set, `claim` covers it whatever this flag says.
    pub is_final: bool,
    pub delivered: Delivered,
    pub served: Served,
    /// Calls of hosted tools that the provider reports to have run.
    pub hosted_calls: HostedCalls,
    /// Whether the answer itself said that it is complete. No output is forwarded after that.
    pub complete: bool,
    /// Whether the provider reported a failure.
    pub failed: bool,
    /// Whether bytes came behind the end of the answer, or an event had no end. They were not forwarded.
    pub overran: bool,
}

impl Reading {
    /// Returns the reading of an answer that counts tokens. Its count is not usage, and is never charged.
    pub(crate) fn of_count(answer: &[u8]) -> Reading {
        Reading {
            claim: Claim::of(Usage::default()),
            is_final: true,
            complete: serde_json::from_slice::<&RawValue>(answer).is_ok(),
            ..Reading::default()
        }
    }

    /// Updates `claim` with a usage report. `None`: nothing was reported, and `claim` stays.
    pub fn reports(&mut self, claim: Option<Claim>) {
        if let Some(claim) = claim {
            self.claim.update(claim);
        }
    }
}

#[cfg(test)]
impl Reading {
    /// Returns the reported usage. `None`: the output was not reported.
    pub fn usage(&self) -> Option<Usage> {
        self.claim.output.map(|_| self.claim.usage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_names_of_an_answer_are_kept_each_once() {
        let mut served = Served::default();
        for name in ["a", "a", "", "b\\u0063", "d", "e", "a", "f"] {
            served.take(format!("\"{name}\"").as_bytes());
        }
        served.take(b"null");
        served.take(format!("\"{}\"", "x".repeat(MAX_MODEL_NAME_BYTES)).as_bytes());
        let kept = ["a", "bc", "d", "e", "f"];
        assert_eq!(served.iter().collect::<Vec<_>>(), kept);
        for number in 0..MAX_SERVED_MODELS {
            served.take(format!("\"m{number}\"").as_bytes());
        }
        assert_eq!(served.iter().count(), MAX_SERVED_MODELS);
        assert_eq!(served.iter().next(), Some("m0"));
    }
}
