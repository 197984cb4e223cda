//! What the gateway must know of a call and of its answer, whatever API they are written in.

pub use crate::rules::charge::Claim;
pub use crate::rules::price::Usage;

pub use super::delivered::{Delivered, HostedCalls};
use crate::json;
use crate::rules::amount::Tokens;
use crate::rules::config::Kind;
use crate::rules::families::Detail;

/// The provider APIs, by the shape of their errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    OpenAi,
    Anthropic,
}

impl Api {
    pub fn is_spoken_by(self, kind: Kind) -> bool {
        match kind {
            Kind::Demo => true,
            Kind::OpenAi => self == Api::OpenAi,
            Kind::Anthropic => self == Api::Anthropic,
        }
    }
}

/// A body as it came.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    pub content_type: Option<&'a str>,
}

impl<'a> Body<'a> {
    pub fn json(bytes: &'a [u8]) -> Body<'a> {
        Body {
            bytes,
            content_type: Some("application/json"),
        }
    }
}

/// The most that something may cost whose size its bytes do not show. The operator's to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens of one image in a prompt.
    pub image: u64,
    /// Tokens of one whose `detail` is asked for. `None`: as any image.
    pub detail: Option<Detail>,
    /// Tokens of one page of a document, its picture included.
    pub page: u64,
    /// Tokens of one image that is generated.
    pub image_answer: u64,
    /// Tokens of one second of sound, in either direction.
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
    /// Tokens of an image that is asked for in that detail.
    pub fn image_in(&self, detail: Option<&str>) -> Tokens {
        Tokens::new(match (detail, self.detail) {
            (Some("low"), Some(known)) => known.low,
            (Some("high"), Some(known)) => known.high,
            _ => self.image,
        })
    }
}

/// A call, read from its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What its answer may have at most, where no limit in the body says so: nothing is generated, or
    /// what is generated has a size of its own.
    pub answer: Option<Tokens>,
    /// Members of its body whose effect depends on the server that reads them.
    pub strangers: Vec<String>,
    /// Hosted tools, and what changes the price.
    pub extras: Extras,
    /// It asks for something to be generated that its answer does not show.
    pub hides: bool,
    /// It is not charged: it only counts against the window.
    pub free: bool,
    /// What counts for the whole call where the provider reports nothing, and its text cannot tell.
    pub unreported: Option<Usage>,
    /// What a second of sound costs where the provider reports seconds.
    pub sound_second: u64,
    /// Tokens of the prompt beyond the bytes of its body: what its server adds, normalises or prints anew.
    pub beyond: Tokens,
    /// Callers choose under which name a provider caches their prompts.
    pub cache_key: Option<String>,
    /// Its body can leave as it came, where the endpoint changes nothing.
    pub is_fit: bool,
}

/// More tools than any provider runs itself.
const MOST_HOSTED: usize = 128;

/// Hosted tools, and what changes the price, by name as a body asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Tools that the provider runs itself, each with the most calls that the client allows of it.
    pub hosted: Vec<(String, Option<u64>)>,
    /// Hosted tools whose calls nothing in the body bounds.
    pub unbounded: Vec<String>,
    /// All hosted tools share that number of calls.
    pub shared: Option<u64>,
    /// A call is made whatever the model wants, and its answer does not show it.
    pub unshown: bool,
    /// One of these is to be called, whatever the model wants.
    pub forced: Vec<String>,
    /// Members that change the price, or have more generated than is asked for.
    pub dear: Vec<String>,
}

impl Extras {
    pub fn hosted(&mut self, name: String, calls: Option<u64>) -> Result<(), Unreadable> {
        if self.hosted.len() == MOST_HOSTED {
            let why = format!("More than {MOST_HOSTED} tools that the provider would run itself");
            return Err(Unreadable(why));
        }
        self.hosted.push((name, calls));
        Ok(())
    }
}

/// What must be different in the body that leaves for the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    pub model: Option<&'a str>,
    pub limit: Option<Limit>,
    /// What is taken out, by name: hosted tools, and what is dear.
    pub removed: &'a [String],
    /// The most calls of the hosted tools that stay.
    pub calls: Option<u64>,
    /// The name under which the provider caches the prompt, instead of the caller's.
    pub cache_key: Option<&'a str>,
}

impl Changes<'_> {
    /// The endpoint changes nothing.
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

/// The most tokens one answer may have, and the name this endpoint knows that limit by where the
/// client gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub tokens: u64,
    pub name: &'static str,
    /// Written also beside one of another name, which this endpoint may not know.
    pub always: bool,
}

/// Why a call cannot be read: a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// Names of models that an answer says it is of, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served(Vec<String>);

/// More models than take turns in one answer; of more the latest are kept.
const MOST_SERVED: usize = 16;

/// The longest name that is kept, in bytes.
const LONGEST_SERVED: usize = 256;

impl Served {
    /// Takes a name as it was written, with its quotes.
    pub fn take(&mut self, value: &[u8]) {
        if !value.starts_with(b"\"") || value.len() > LONGEST_SERVED {
            return;
        }
        let name = json::text(value);
        if name.is_empty() || self.0.iter().any(|known| **known == *name) {
            return;
        }
        if self.0.len() == MOST_SERVED {
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

/// What a meter has seen of an answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the provider reports.
    pub claim: Claim,
    /// The claim is of the whole answer, and not of what had been generated when it was made. That of a
    /// complete answer is, whether it is said here or not.
    pub is_final: bool,
    pub delivered: Delivered,
    pub served: Served,
    /// Calls of tools that the provider reports to have run itself.
    pub hosted_calls: HostedCalls,
    /// The answer said itself that it is complete. Nothing is passed on after that.
    pub complete: bool,
    /// The provider reported a failure.
    pub failed: bool,
    /// Something came after the answer's end, or had no end itself: it was not passed on.
    pub overran: bool,
}

impl Reading {
    /// What is charged for is reported, or nothing was.
    pub fn reports(&mut self, claim: Option<Claim>) {
        if let Some(claim) = claim {
            self.claim.update(claim);
        }
    }
}

#[cfg(test)]
impl Reading {
    /// What is reported of input and output both.
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
        served.take(format!("\"{}\"", "x".repeat(LONGEST_SERVED)).as_bytes());
        let kept = ["a", "bc", "d", "e", "f"];
        assert_eq!(served.iter().collect::<Vec<_>>(), kept);
        for number in 0..MOST_SERVED {
            served.take(format!("\"m{number}\"").as_bytes());
        }
        assert_eq!(served.iter().count(), MOST_SERVED);
        assert_eq!(served.iter().next(), Some("m0"));
    }
}
