//! What one request has come to so far: its names, its hold, its meter.
//!
//! It is kept outside the pipeline's own stack, so that whatever ends the request - its end, an
//! error, a client that leaves, a panic - what is due can still be told and settled.

use super::cors::Grant;
use super::room::Share;
use crate::dialect::call::{Api, Reading, Usage};
use crate::dialect::tokens;
use crate::rules::amount::Tokens;
use crate::rules::price::Rate;
use crate::rules::tenant::TenantId;
use crate::rules::window::Pace;
use crate::store::leases::Lease;
use crate::store::name::AccountName;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Balance that is held for this request. It has one end: [`super::settle::Settler::settle`].
#[must_use]
pub struct Hold {
    pub account: AccountName,
    pub id: String,
    pub held: Tokens,
    /// The purse it is held against, where it is one of this instance's own.
    pub lease: Option<Arc<Lease>>,
    /// Just before it was asked for.
    pub taken: Instant,
}

pub struct Exchange {
    /// The caller's own ID for the request, or ours.
    pub request_id: String,
    /// The shape that refusals have; `None` on local routes.
    pub api: Option<Api>,
    pub tenant: Option<TenantId>,
    /// What its answer says to browsers; `None`: nothing.
    pub cors: Option<Grant>,
    /// Whose it is, without saying the key, and the group whose limits it has.
    pub account: String,
    pub group: Arc<str>,
    pub call: &'static str,
    pub model: Option<String>,
    /// Who is to answer; empty until that is known.
    pub endpoint: String,
    /// What is left of the balance and of the window, as far as is known.
    pub left: Option<Tokens>,
    pub pace: Option<Pace>,
    pub hold: Option<Hold>,
    /// Of the room for bodies, where it keeps large ones.
    pub share: Option<Share>,
    /// The provider has the request; from now on it may cost something.
    pub accepted: bool,
    /// What is charged for the prompt where the provider does not say.
    pub prompt: Tokens,
    /// What its tokens cost.
    pub rate: Rate,
    /// The call costs nothing.
    pub free: bool,
    /// What it costs where the provider reports nothing.
    pub unreported: Option<Tokens>,
    pub usage: Option<Usage>,
    /// The input side, where a provider reports that first.
    pub input: Option<Usage>,
    /// Tokens of what was generated, where they had to be counted.
    pub counted: Option<Tokens>,
    /// Bytes that were generated.
    pub text: u64,
    pub complete: bool,
    /// When the journal last heard of it.
    pub noted: Instant,
    /// What was settled.
    pub cost: Option<Tokens>,
    /// The answer is a stream of events, which can say what went wrong.
    pub speaks_events: bool,
    pub status: u16,
    pub started: Instant,
    /// How much of the time since then went by waiting: for the provider, or for the call's own body.
    pub waited: Duration,
}

/// Where a provider gives no number: English text has about four bytes a token.
const BYTES_PER_TOKEN: u64 = 4;

/// No token of any tokenizer in use stands for more text than this, runs of spaces included.
const LONGEST_TOKEN: u64 = 128;

/// How many tokens so many bytes are likely to be.
pub fn likely(bytes: Tokens) -> Tokens {
    Tokens::new(bytes.count().div_ceil(BYTES_PER_TOKEN))
}

impl Exchange {
    /// The provider sends more than it was asked for, beyond any doubt.
    pub fn exceeds_its_hold(&self) -> bool {
        let output = match self.usage {
            Some(usage) => usage.output,
            None => Tokens::new(self.text / LONGEST_TOKEN),
        };
        let certain = self.rate.for_output(output);
        self.hold.as_ref().is_some_and(|hold| certain > hold.held)
    }

    pub fn new(request_id: String) -> Exchange {
        Exchange {
            request_id,
            api: None,
            tenant: None,
            cors: None,
            account: String::new(),
            group: Arc::default(),
            call: "",
            model: None,
            endpoint: String::new(),
            left: None,
            pace: None,
            hold: None,
            share: None,
            accepted: false,
            prompt: Tokens::ZERO,
            rate: Rate::default(),
            free: false,
            unreported: None,
            usage: None,
            input: None,
            counted: None,
            text: 0,
            complete: false,
            noted: Instant::now(),
            cost: None,
            speaks_events: false,
            status: 0,
            started: Instant::now(),
            waited: Duration::ZERO,
        }
    }

    /// What the meter has seen by now.
    pub fn read(&mut self, reading: &Reading) {
        self.usage = reading.usage;
        self.input = reading.input;
        self.text = reading.text.bytes;
        self.complete = reading.complete;
    }

    /// What was generated is known only by its text: its tokens are counted. Once, at the end.
    pub fn count(&mut self, reading: &Reading) {
        self.read(reading);
        if self.usage.is_none() && self.accepted && !reading.text.kept.is_empty() {
            let kept = reading.text.kept.len() as u64;
            let tokens = tokens::count(&reading.text.kept);
            // What was too long to keep is likely to be as dense as what was kept.
            self.counted = Some(Tokens::new(
                tokens.saturating_mul(reading.text.bytes) / kept.max(1),
            ));
        }
    }

    /// What this request has cost by now.
    pub fn due(&self) -> Tokens {
        if !self.accepted || self.free {
            return Tokens::ZERO;
        }
        if let Some(usage) = self.usage {
            return self.rate.cost(&usage);
        }
        if let Some(unreported) = self.unreported {
            return unreported;
        }
        let input = self.input.unwrap_or(Usage {
            uncached_input: likely(self.prompt),
            ..Usage::default()
        });
        let output = self
            .counted
            .unwrap_or_else(|| likely(Tokens::new(self.text)));
        self.rate.cost(&Usage { output, ..input })
    }
}
