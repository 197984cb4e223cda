//! What one request has come to so far: its names, its hold, its meter.
//!
//! It is kept outside the pipeline's own stack, so that whatever ends the request - its end, an
//! error, a client that leaves, a panic - what is due can still be told and settled.

use crate::dialect::call::{Api, Claim, Delivered, HostedCalls, Reading, Served, Usage};
use crate::dialect::extras::Hosted;
use crate::dialect::prompt;
use crate::proxy::admission::token_counter::INLINE_BYTES;
use crate::proxy::downstream::cors::Grant;
use crate::proxy::limits::body_memory::Share;
use crate::proxy::limits::refused_work::Work;
use crate::rules::amount::Tokens;
use crate::rules::charge::{self, Basis, Bound, Charge, End, Evidence, Sizes};
use crate::rules::config::{Endpoint, TextProviders};
use crate::rules::price::Rate;
use crate::rules::tenant::TenantId;
use crate::rules::window::Pace;
use crate::store::leases::Lease;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use bytes::Bytes;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Balance that is held for this request. It has one end: [`crate::proxy::settlement::settle::Settler::settle`].
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

/// What a call costs, as far as that is known before its answer.
#[derive(Default)]
pub struct Terms {
    pub rate: Rate,
    /// The rates of all models: an answer may have parts of another.
    pub rates: Option<Arc<Tenant>>,
    /// More tokens than the provider counts for the prompt.
    pub prompt: Tokens,
    /// What is in that bound beyond the bytes of the body.
    pub beyond: Tokens,
    /// The prompt's text, where it is kept to be counted if nobody else does.
    pub text: Option<Bytes>,
    /// The vocabulary at hand is the model's own.
    pub is_exact: bool,
    /// The call costs nothing.
    pub free: bool,
    /// No text is generated.
    pub no_text: bool,
    /// Where the provider reports nothing.
    pub unreported: Option<Usage>,
    /// An answer shows all that is generated, as far as it has come.
    pub shows_all: bool,
    /// Several answers are asked for.
    pub has_many: bool,
    /// The provider reports the usage of one answer of several.
    pub reports_one: bool,
    pub sizes: Sizes,
    pub hosted: Hosted,
}

/// What was seen of an answer so far.
#[derive(Default)]
struct Seen {
    claim: Claim,
    is_absurd: bool,
    is_final: bool,
    failed: bool,
    has_content: bool,
    /// Models that the answer says it is of.
    served: Served,
    /// Calls of tools that the provider ran itself.
    hosted_calls: HostedCalls,
    /// Bytes of generated text.
    bytes: u64,
    least: Tokens,
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
    /// None before admission.
    pub group: Option<Arc<str>>,
    pub call: &'static str,
    pub model: Option<String>,
    /// Who is to answer; empty until that is known.
    pub endpoint: String,
    /// What was taken out of its body and its headers, by name.
    pub removed: Vec<String>,
    /// What is left of the balance and of the window, as far as is known.
    pub left: Option<Tokens>,
    pub pace: Option<Pace>,
    pub hold: Option<Hold>,
    /// Of the room for bodies, where it keeps large ones.
    pub share: Option<Share>,
    /// The provider has the request; from now on it may cost something.
    pub accepted: bool,
    pub terms: Terms,
    seen: Seen,
    pub complete: bool,
    /// What is charged, once the answer is over.
    pub charge: Option<Charge>,
    /// Evidence of an answer that is over, whose texts are too long to be counted here.
    uncounted: Option<Uncounted>,
    /// What was done for it before it was refused.
    pub work: Work,
    /// When the journal last heard of it.
    pub noted: Instant,
    /// The answer is a stream of events, which can say what went wrong.
    pub speaks_events: bool,
    pub status: u16,
    pub started: Instant,
    /// How much of the time since then went by waiting: for the provider, or for the call's own body.
    pub waited: Duration,
}

/// Where a provider gives no number: English text has about four bytes a token.
const BYTES_PER_TOKEN: u64 = 4;

/// How many tokens so many bytes are likely to be.
pub fn likely(bytes: Tokens) -> Tokens {
    Tokens::new(bytes.count().div_ceil(BYTES_PER_TOKEN))
}

impl Exchange {
    pub fn new(request_id: String) -> Exchange {
        let now = Instant::now();
        Exchange {
            request_id,
            api: None,
            tenant: None,
            cors: None,
            account: String::new(),
            group: None,
            call: "",
            model: None,
            endpoint: String::new(),
            removed: Vec::new(),
            left: None,
            pace: None,
            hold: None,
            share: None,
            accepted: false,
            terms: Terms::default(),
            seen: Seen::default(),
            complete: false,
            charge: None,
            uncounted: None,
            work: Work::default(),
            noted: now,
            speaks_events: false,
            status: 0,
            started: now,
            waited: Duration::ZERO,
        }
    }

    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    /// Takes over what the meter has seen by now.
    pub fn observe(&mut self, reading: &Reading) {
        self.complete = reading.complete;
        let (claim, is_absurd) = reading.claim.clone().credible();
        let mut served = std::mem::take(&mut self.seen.served);
        if self.has_rates() && served != reading.served {
            served.clone_from(&reading.served);
        }
        self.seen = Seen {
            served,
            claim,
            is_absurd,
            is_final: reading.is_final || reading.complete,
            failed: reading.failed,
            has_content: !reading.delivered.is_empty() || reading.delivered.unsure > 0,
            hosted_calls: reading.hosted_calls.max(reading.delivered.hosted),
            bytes: reading.delivered.bytes,
            least: reading.delivered.least(),
        };
    }

    /// What the provider reports, as far as it has.
    pub fn usage(&self) -> Usage {
        self.seen.claim.usage()
    }

    /// The provider has said so, in its status or in an answer.
    pub fn has_failed(&self, is_success: bool) -> bool {
        !is_success || self.seen.failed
    }

    /// The provider sends more than it was asked for, beyond any doubt: the cost of its output, and the hold.
    pub fn exceeds_its_hold(&self) -> Option<(Tokens, Tokens)> {
        let output = self.seen.claim.usage().output.max(self.seen.least);
        let certain = self.rate().for_output(output);
        let held = self.hold.as_ref()?.held;
        (certain > held).then_some((certain, held))
    }

    /// A provider that is cut off now has shown what it generated, and what it has read can be told.
    pub fn may_be_cut(&self) -> bool {
        let terms = &self.terms;
        let knows_prompt = terms.text.is_some() || self.seen.claim.input.is_some();
        terms.free || (terms.shows_all && terms.unreported.is_none() && knows_prompt)
    }

    /// The provider's claim covers the whole answer: nothing is waited for any more.
    pub fn is_accounted_for(&self) -> bool {
        self.complete || (self.seen.is_final && self.seen.claim.output.is_some())
    }

    /// The answer is over, as `reading` has it. A charge that is settled stays as it is.
    pub fn conclude(&mut self, reading: &Reading) {
        self.observe(reading);
        self.decide(&reading.delivered);
    }

    /// The provider broke off, and its client has nothing of it: a failure, unless something was seen.
    pub fn broke_off(&mut self, reading: &Reading) {
        self.observe(reading);
        self.seen.failed |= !self.seen.has_content && self.seen.claim.total().is_zero();
        self.decide(&reading.delivered);
    }

    fn decide(&mut self, delivered: &Delivered) {
        if self.hold.is_none() {
            return;
        }
        let texts = Texts::of(&self.terms, Some(delivered));
        let probe = Probe {
            texts,
            is_asked: Cell::new(false),
        };
        let charge = self.judge(true, &probe);
        let uncounted = probe.is_asked.get().then(|| texts.uncounted());
        self.charge = Some(charge);
        self.uncounted = uncounted;
    }

    /// Texts that must be counted before it is known what is charged.
    pub fn uncounted(&mut self) -> Option<Uncounted> {
        self.uncounted.take()
    }

    /// Their tokens are known.
    pub fn counted(&mut self, counted: &Counted) {
        self.charge = Some(self.judge(true, counted));
    }

    /// What is charged. Without a concluded reading nobody knows what else there was.
    pub fn charge(&self) -> Charge {
        match &self.charge {
            _ if !self.accepted || self.terms.free => Charge::NOTHING,
            Some(charge) => charge.clone(),
            None => self.judge(false, &Texts::of(&self.terms, None).count()),
        }
    }

    /// `is_over`: all that was delivered has been seen.
    fn judge(&self, is_over: bool, bound: &impl Bound) -> Charge {
        let (terms, seen) = (&self.terms, &self.seen);
        let end = match () {
            () if seen.failed => End::Failed,
            () if seen.is_final && is_over => End::Whole,
            () => End::Cut,
        };
        let evidence = Evidence {
            claim: Some(&seen.claim),
            end,
            // Some servers report one answer of several: the claim must cover every word of them.
            least: match terms.unreported {
                // Its size is its own, whatever is said in it.
                Some(_) => Tokens::ZERO,
                None => seen.least.times(1 + u64::from(terms.has_many)),
            },
            has_content: seen.has_content,
            has_prompt: !terms.prompt.is_zero(),
            shows_all: terms.shows_all && is_over,
            reports_one: terms.reports_one,
            is_absurd: seen.is_absurd,
            unreported: terms.unreported,
        };
        let held = self.hold.as_ref().map_or(Tokens::ZERO, |hold| hold.held);
        let rate_of = |model: &str| {
            self.prices().map_or(terms.rate, |(text, endpoint)| {
                text.rate(endpoint, Some(model))
            })
        };
        let mut charge = charge::charge(&evidence, held, self.rate(), rate_of, bound);
        if matches!(charge.basis, Basis::Reported | Basis::Counted) {
            charge.cost = charge.cost.plus(self.hosted());
        }
        charge
    }

    /// The prices of its tenant, and who answers.
    /// Models may cost otherwise than they are counted.
    fn has_rates(&self) -> bool {
        let text = self
            .terms
            .rates
            .as_ref()
            .and_then(|tenant| tenant.config.text.as_ref());
        text.is_some_and(|text| !text.rates.is_empty())
    }

    fn prices(&self) -> Option<(&TextProviders, &Endpoint)> {
        let text = self.terms.rates.as_ref()?.config.text.as_ref()?;
        let mut endpoints = text.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.name == self.endpoint)?;
        Some((text, endpoint))
    }

    /// The rate of what was asked for, or of what answered where that is dearer. Providers write names as
    /// they like, so only a rate that is named for one counts.
    fn rate(&self) -> Rate {
        let mut rate = self.terms.rate;
        if !self.seen.served.is_empty()
            && let Some((text, endpoint)) = self.prices()
        {
            let served = self.seen.served.iter();
            let named = served.filter_map(|model| text.named_rate(endpoint.server, model));
            rate = named.fold(rate, Rate::dearest);
        }
        rate
    }

    /// What the calls of hosted tools cost beside what is charged for what they had the model read.
    fn hosted(&self) -> Tokens {
        let (terms, seen) = (&self.terms, &self.seen);
        if terms.hosted.prices.is_empty() {
            return Tokens::ZERO;
        }
        let calls = |name: &str| match name {
            "web_search" => seen.hosted_calls.searches.max(terms.hosted.unshown),
            _ => seen.hosted_calls.fetches,
        };
        let prices = terms.hosted.prices.iter();
        let all: Tokens = prices.map(|(name, price)| price.times(calls(name))).sum();
        let read = seen.claim.input.unwrap_or_default();
        let rate = self.rate();
        let more = rate.cost(&read).minus(rate.most_for_prompt(terms.prompt));
        // No more are made than the request allows, whatever is said of them.
        all.min(terms.hosted.held).minus(more)
    }

    /// What this request is known to have cost by now, should nobody be left to say more.
    pub fn known(&self) -> Tokens {
        let (terms, seen) = (&self.terms, &self.seen);
        if !self.accepted || terms.free {
            return Tokens::ZERO;
        }
        if let Some(unreported) = terms.unreported {
            return self.rate().cost(&unreported);
        }
        let input = seen.claim.input.unwrap_or(Usage {
            uncached_input: likely(terms.prompt),
            ..Usage::default()
        });
        let output = likely(Tokens::new(seen.bytes)).max(seen.claim.usage().output);
        self.rate().cost(&Usage { output, ..input })
    }
}

/// Texts whose tokens nobody has reported.
#[derive(Clone, Copy)]
struct Texts<'a> {
    /// The bound of the prompt, what of it is beyond its bytes, and its text where that is closer.
    prompt: Tokens,
    beyond: Tokens,
    text: Option<&'a Bytes>,
    /// `None`: no text is generated.
    delivered: Option<&'a Delivered>,
    is_exact: bool,
    sizes: Sizes,
}

impl<'a> Texts<'a> {
    fn of(terms: &'a Terms, delivered: Option<&'a Delivered>) -> Texts<'a> {
        Texts {
            prompt: terms.prompt,
            beyond: terms.beyond,
            text: terms.text.as_ref(),
            delivered: delivered.filter(|_| !terms.no_text),
            is_exact: terms.is_exact,
            sizes: terms.sizes,
        }
    }

    fn bytes(&self) -> usize {
        self.text.map_or(0, Bytes::len) + self.delivered.map_or(0, |delivered| delivered.kept.len())
    }

    fn count(&self) -> Counted {
        let prompt = self
            .text
            .and_then(|text| prompt::counted(text, self.is_exact));
        Counted {
            prompt: prompt.map_or(self.prompt, |prompt| {
                prompt.plus(self.beyond).min(self.prompt)
            }),
            output: self.output(|delivered| delivered.most(self.is_exact, &self.sizes)),
        }
    }

    /// No byte is more than a token.
    fn by_bytes(&self) -> Counted {
        Counted {
            prompt: self.prompt,
            output: self.output(|delivered| delivered.most_by_bytes(&self.sizes)),
        }
    }

    fn output(&self, most: impl FnOnce(&Delivered) -> Tokens) -> Tokens {
        self.delivered.map_or(Tokens::ZERO, most)
    }

    fn uncounted(&self) -> Uncounted {
        Uncounted {
            prompt: self.prompt,
            beyond: self.beyond,
            text: self.text.cloned(),
            delivered: self.delivered.cloned(),
            is_exact: self.is_exact,
            sizes: self.sizes,
        }
    }
}

/// The same texts, to be counted elsewhere.
pub struct Uncounted {
    prompt: Tokens,
    beyond: Tokens,
    text: Option<Bytes>,
    delivered: Option<Delivered>,
    is_exact: bool,
    sizes: Sizes,
}

impl Uncounted {
    /// Bytes of generated text.
    pub fn bytes(&self) -> usize {
        let delivered = self.delivered.as_ref();
        delivered.map_or(0, |delivered| delivered.kept.len())
    }

    /// Takes milliseconds where they are long.
    pub fn count(&self) -> Counted {
        let texts = Texts {
            prompt: self.prompt,
            beyond: self.beyond,
            text: self.text.as_ref(),
            delivered: self.delivered.as_ref(),
            is_exact: self.is_exact,
            sizes: self.sizes,
        };
        texts.count()
    }
}

/// Upper bounds of what nobody has reported.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub prompt: Tokens,
    pub output: Tokens,
}

impl Bound for Counted {
    fn prompt(&self) -> Tokens {
        self.prompt
    }

    fn output(&self) -> Tokens {
        self.output
    }
}

/// Counts short texts, and says whether longer ones had to be.
struct Probe<'a> {
    texts: Texts<'a>,
    is_asked: Cell<bool>,
}

impl Probe<'_> {
    fn counted(&self) -> Counted {
        if self.texts.bytes() <= INLINE_BYTES {
            return self.texts.count();
        }
        self.is_asked.set(true);
        self.texts.by_bytes()
    }
}

impl Bound for Probe<'_> {
    fn prompt(&self) -> Tokens {
        self.counted().prompt
    }

    fn output(&self) -> Tokens {
        self.counted().output
    }
}
