//! Known deviations of the charge, with reason and amount.
//!
//! Each row must be needed by every server and turn that it names, or the tests fail.

use super::ground::Outcome;
use super::pairs::{Client, Pair};
use super::servers::{Api, Counts};

/// Bound of a deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Charge of zero; each generated answer fits the hold.
    Free,
    /// At most this many tokens below the generated ones, and never above the hold.
    Under(u64),
    /// At most this many tokens above the hold, charged as far as the balance allows.
    Over(u64),
}

#[derive(Debug)]
pub struct Exception {
    /// Empty: all servers.
    pub servers: &'static [&'static str],
    pub turns: &'static [&'static str],
    /// `Some(true)`: streams only; `Some(false)`: plain answers only.
    pub streams: Option<bool>,
    /// `Some(false)`: clients that ask in the server's own API only.
    pub translated: Option<bool>,
    /// `Some`: this client only.
    pub client: Option<Client>,
    /// Odd members of the body that need the exception.
    pub odd: &'static [&'static str],
    pub bound: Bound,
    pub why: &'static str,
}

const ANY: Exception = Exception {
    servers: &[],
    turns: &[],
    streams: None,
    translated: None,
    client: None,
    odd: &[],
    bound: Bound::Free,
    why: "",
};

pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        turns: &["breaks off at once"],
        why: "a provider that breaks off before it has delivered anything costs nothing",
        ..ANY
    },
    Exception {
        turns: &["breaks off"],
        streams: Some(false),
        why: "of a plain answer that breaks off nothing is delivered",
        ..ANY
    },
    Exception {
        turns: &["fails"],
        streams: Some(false),
        why: "an error costs what it carries",
        ..ANY
    },
    Exception {
        servers: &[
            "anything",
            "openai-thinks",
            "azure-thinks",
            "openrouter-hides",
            "groq-hides",
            "openai-responses",
            "claude-omits",
            "claude-compacts",
        ],
        turns: &["fails"],
        streams: Some(true),
        bound: Bound::Under(120),
        why: "a stream that fails costs what it has shown, and not what was thought before",
        ..ANY
    },
    Exception {
        servers: &["dashscope"],
        turns: &["long"],
        bound: Bound::Over(4_800),
        why: "its limit does not bound what it thinks",
        ..ANY
    },
    // The bodies that need this cannot be carried.
    Exception {
        servers: &["xai"],
        turns: &["long"],
        translated: Some(false),
        bound: Bound::Over(4_800),
        why: "its limit does not bound what it thinks",
        ..ANY
    },
    Exception {
        servers: &["xai", "dashscope"],
        turns: &["thinks long"],
        bound: Bound::Over(5_000),
        why: "their limit does not bound what they think",
        ..ANY
    },
    Exception {
        servers: &["claude-compacts"],
        turns: &["long", "thinks long"],
        bound: Bound::Over(5_020),
        why: "a compaction reads the prompt once more, and no limit bounds its summary",
        ..ANY
    },
    Exception {
        servers: &["ollama-gpt-oss"],
        turns: &["long", "thinks long"],
        bound: Bound::Over(70),
        why: "a template adds words to the prompt that no body shows",
        ..ANY
    },
    Exception {
        servers: &["ollama-gpt-oss"],
        turns: &["short"],
        translated: Some(false),
        bound: Bound::Over(70),
        why: "a template adds words to the prompt that no body shows",
        ..ANY
    },
    Exception {
        servers: &["mistral"],
        odd: &["safe_prompt", "prompt_mode"],
        bound: Bound::Over(40),
        why: "it has a text of its own read that no body shows",
        ..ANY
    },
    Exception {
        servers: &["lmstudio"],
        turns: &["long", "thinks long"],
        bound: Bound::Under(1),
        why: "it reports one token less where its limit has ended an answer",
        ..ANY
    },
    Exception {
        servers: &["localai-again"],
        turns: &[
            "short",
            "tool",
            "named tool",
            "long",
            "thinks long",
            "fails",
        ],
        bound: Bound::Under(1_600),
        why: "it reports the last of up to five answers that it generates",
        ..ANY
    },
    Exception {
        servers: &["tgi-tools"],
        turns: &["short", "tool", "named tool", "long", "thinks long"],
        bound: Bound::Under(400),
        why: "it reports the second of the two answers that it generates",
        ..ANY
    },
];

impl Exception {
    pub fn covers(&self, pair: &Pair) -> bool {
        let has = |list: &[&str], word: &str| list.is_empty() || list.contains(&word);
        has(self.servers, pair.server.name)
            && has(self.turns, pair.turn.name)
            && has(self.odd, &pair.odd)
            && self.translated.is_none_or(|is| is == pair.is_translated())
            && self.streams.is_none_or(|streams| streams == pair.streams)
            && self.client.is_none_or(|client| client == pair.client)
    }

    fn allows(&self, pair: &Pair, outcome: &Outcome) -> bool {
        let Outcome { charged, held, .. } = *outcome;
        let truth = outcome.truth();
        match self.bound {
            Bound::Free => charged == 0 && truth <= held * (1 + pair.server.discards),
            Bound::Under(tokens) => charged + tokens >= truth && charged <= held,
            Bound::Over(tokens) => charged >= truth.min(held) && truth <= held + tokens,
        }
    }
}

/// Whether the promise is kept.
pub fn is_kept(outcome: &Outcome) -> bool {
    outcome.charged >= outcome.truth() && outcome.charged <= outcome.held
}

/// Whether an answer is read to its end by a client that wants nothing odd: it fits its hold, and its tools have names.
fn is_usual(pair: &Pair) -> bool {
    let fits = ["short", "named tool"].contains(&pair.turn.name);
    // A stream has arguments that are no object, and Gemini's API has no other.
    let is_carried = pair.asks != Api::Content || !pair.streams || pair.turn.arguments == 0;
    fits && (is_carried || !pair.is_translated())
        && pair.odd.is_empty()
        && pair.client == Client::Reads
}

/// Whether a usual answer costs no more than its server generated and read.
fn is_exact(pair: &Pair, outcome: &Outcome) -> bool {
    let again = match pair.server.counts {
        // A compaction reads the prompt once more.
        Counts::Iterations => outcome.read,
        _ => 0,
    };
    outcome.charged <= outcome.truth() + again
}

pub fn is_allowed(pair: &Pair, outcome: &Outcome) -> bool {
    // A normal body always reaches the provider, which reads it, and no body does so twice.
    if outcome.calls > 1 || (pair.odd.is_empty() && outcome.read == 0) {
        return false;
    }
    if pair.is_refused {
        return outcome.status == 400 && outcome.calls == 0 && outcome.charged == 0;
    }
    if is_usual(pair) && !(outcome.is_whole && is_exact(pair, outcome)) {
        return false;
    }
    let mut exceptions = EXCEPTIONS.iter();
    is_kept(outcome) || exceptions.any(|each| each.covers(pair) && each.allows(pair, outcome))
}
