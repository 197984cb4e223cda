//! Tap: takes a copy of an answer for the cache, if others may be given it.

use super::entry::{About, KeptAnswer};
use super::flights::{Landing, Lead};
use super::plan::{Plan, WHO_ASKS};
use crate::dialect::replay::Verdict;
use crate::json;
use crate::rules::amount::Tokens;
use crate::rules::money::Amount;
use crate::rules::redact::Credentials;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// Types of transcripts that are no JSON.
const TEXTS: &[&str] = &["text/plain", "text/vtt", "application/x-subrip", "text/srt"];

/// Whether an answer repeats what its request said of its caller, as Responses do: it is not kept, because the next
/// caller's is not in the key either.
fn names_its_caller(body: &[u8]) -> bool {
    let mut names = false;
    json::each_member(body, |name, value| {
        names |= WHO_ASKS.contains(&name) && !matches!(value, b"null" | b"{}" | b"\"\"");
    });
    names
}

/// Answer that ends a call, as far as the tap needs it.
pub(crate) struct Ended<'a> {
    pub endpoint: &'a str,
    pub model: Option<&'a str>,
    /// Cost of the answer, without attempts before it.
    pub cost: Tokens,
    /// The same in money.
    pub amount: Option<Amount>,
    pub currency: Option<&'a str>,
}

pub(crate) struct Tap {
    pub plan: Box<Plan>,
    /// Flight of the call: its waiters get the answer as soon as it is taken.
    pub lead: Lead,
    /// Whether an answer may be text, as transcripts are.
    pub takes_text: bool,
    pub most_bytes: usize,
    pub taken: OnceLock<Arc<KeptAnswer>>,
}

impl Tap {
    /// Longest answer that is taken; the events of a stream may have eight times as many bytes.
    pub(crate) fn most_stream_bytes(&self) -> usize {
        self.most_bytes.saturating_mul(8)
    }

    /// Takes a successful answer that was read whole.
    pub(crate) fn take_whole(&self, content_type: &str, body: &Bytes, ended: &Ended<'_>) {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let is_text = || {
            let is_known = TEXTS.iter().any(|text| kind.eq_ignore_ascii_case(text));
            self.takes_text && is_known && !body.is_empty() && std::str::from_utf8(body).is_ok()
        };
        if kind.eq_ignore_ascii_case("application/json") {
            self.take_json(body.clone(), ended);
        } else if is_text() {
            self.take(content_type, body.clone(), ended);
        }
    }

    /// Takes the events of a stream that has ended well, unless the whole quotes a credential that its events had in
    /// pieces.
    pub(crate) fn take_stream(&self, events: &[u8], credentials: &Credentials, ended: &Ended<'_>) {
        if let Some(body) = self.plan.replay.assemble(events)
            && credentials.redact(&body).is_none()
        {
            self.take_json(body.into(), ended);
        }
    }

    /// Gives up an answer that is too long: nobody waits for it any more.
    pub(crate) fn give_up(&self) {
        self.lead.land(Landing::Unfit);
    }

    fn take_json(&self, body: Bytes, ended: &Ended<'_>) {
        if names_its_caller(&body) {
            return;
        }
        match self.plan.replay.judge(&body) {
            Verdict::Whole => {}
            Verdict::CallsTools if self.plan.takes_tools => {}
            _ => return,
        }
        self.take("application/json", body, ended);
    }

    fn take(&self, content_type: &str, body: Bytes, ended: &Ended<'_>) {
        if body.len() > self.most_bytes || !self.plan.keeps(ended.endpoint, ended.model) {
            return;
        }
        let entry = Arc::new(KeptAnswer {
            about: About {
                content_type: content_type.to_owned(),
                cost: ended.cost,
                amount: ended.amount,
                currency: ended.currency.map(str::to_owned),
                endpoint: ended.endpoint.to_owned(),
                length: body.len(),
            },
            body,
        });
        self.lead.land(Landing::Answer(entry.clone()));
        // Ignored: there is one answer for each call.
        let _ = self.taken.set(entry);
    }
}
