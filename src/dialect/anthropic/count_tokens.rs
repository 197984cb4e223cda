//! `POST messages/count_tokens`: the number of tokens of a prompt.
//!
//! The call generates nothing, and neither the gateway nor the provider charges for it. The count in the answer is
//! not usage and must never be settled.

use super::{answer, prompt, tools};
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{Edit, Object};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use std::borrow::Cow;

pub(crate) struct CountTokens;

impl Dialect for CountTokens {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn path(&self) -> &'static str {
        "messages/count_tokens"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (body, facts) = prompt::read(body.bytes, bounds)?;
        Ok(Call {
            model: body.string("model")?.map(Cow::into_owned),
            answers: 1,
            prompt: facts.prompt,
            unknown_members: facts.unknown_members,
            extras: facts.extras,
            hides: facts.hides,
            answer: Some(Tokens::ZERO),
            free: true,
            ..Call::default()
        })
    }

    /// Applies all `changes` but the limit: this call has no `max_tokens` and refuses it.
    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        let body = Object::body(body.bytes, prompt::KNOWN, |_, _| {})?;
        let mut edit = Edit::of(&body, changes);
        tools::edit(&mut edit, &body, changes)?;
        Ok(edit.apply())
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        Reading::of_count(answer)
    }

    /// Returns a meter, although this call has no streams: if one comes, it is forwarded.
    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(answer::StreamMeter::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::call::{Claim, Limit, Usage};

    #[test]
    fn counting_is_free_and_what_it_counts_is_not_usage() {
        let body = br#"{"model":"claude","messages":[{"role":"user","content":"Hello"}]}"#;
        let call = CountTokens
            .read(&Body::json(body), &Bounds::default())
            .unwrap();
        assert_eq!(call.model.as_deref(), Some("claude"));
        assert_eq!((call.free, call.answer), (true, Some(Tokens::ZERO)));
        assert_eq!((call.limit, call.stream), (None, false));
        assert_eq!(call.prompt, Tokens::new(8 + 5));
        let reading = CountTokens.meter(&Call::default(), br#"{"input_tokens":2095}"#);
        assert_eq!(reading.claim, Claim::of(Usage::default()));
        assert!(reading.complete && reading.delivered.is_empty());
        assert!(!CountTokens.meter(&Call::default(), b"{\"input").complete);
    }

    #[test]
    fn only_the_model_is_changed() {
        let body = br#"{"messages":[ ],"model":"a","tools":[]}"#;
        let changes = Changes {
            model: Some("b"),
            limit: Some(Limit {
                tokens: 5,
                name: "max_tokens",
                always: true,
            }),
            ..Changes::default()
        };
        let changed = CountTokens.rewrite(&Body::json(body), &changes).unwrap();
        assert_eq!(changed, br#"{"messages":[ ],"model":"b","tools":[]}"#);
        let same = CountTokens.rewrite(&Body::json(body), &Changes::default());
        assert_eq!(same.unwrap(), body);
    }
}
