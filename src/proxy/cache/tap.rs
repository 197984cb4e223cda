//! Tap: takes a copy of an answer for the cache, if others may be given it.

use super::entry::{About, KeptAnswer};
use super::flights::{Landing, Lead};
use super::plan::Plan;
use crate::dialect::replay::Verdict;
use crate::rules::amount::Tokens;
use crate::rules::money::Amount;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// Types of transcripts that are no JSON.
const TEXTS: &[&str] = &["text/plain", "text/vtt", "application/x-subrip", "text/srt"];

/// Answer that ends a call, as far as the tap needs it.
pub(crate) struct Ended<'a> {
    pub endpoint: &'a str,
    pub model: Option<&'a str>,
    /// Cost of the answer, without attempts before it.
    pub cost: Tokens,
    /// The same in money.
    pub amount: Option<Amount>,
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
    /// Longest answer that is taken; the events of a stream may have as many bytes as ten times.
    pub(crate) fn most_stream_bytes(&self) -> usize {
        self.most_bytes.saturating_mul(10)
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

    /// Takes the events of a stream that has ended well.
    pub(crate) fn take_stream(&self, events: &[u8], ended: &Ended<'_>) {
        if let Some(body) = self.plan.replay.assemble(events) {
            self.take_json(body.into(), ended);
        }
    }

    fn take_json(&self, body: Bytes, ended: &Ended<'_>) {
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
