//! `countTokens`: the number of tokens of a prompt.
//!
//! The call generates nothing, and neither the gateway nor the provider charges for it. The count in the answer is
//! not usage and must never be settled.

use super::spelling::{Spellings, either};
use super::{answer, generate, prompt, tools};
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{self, Edit, Object};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;

pub(crate) struct CountTokens;

/// A whole call, whose tokens are counted.
const WHOLE: Spellings = ["generateContentRequest", "generate_content_request"];

impl Dialect for CountTokens {
    fn api(&self) -> Api {
        Api::Gemini
    }

    fn path(&self) -> &'static str {
        "models/{model}:countTokens"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let facts = match whole(body.bytes)? {
            Some(call) => {
                let named = named_model(call)?;
                if named.is_some_and(|named| !is_same(&named, body.model.unwrap_or_default())) {
                    return Err(Unreadable(
                        "generateContentRequest.model must be the model in the path".to_owned(),
                    ));
                }
                prompt::read_within(call.get(), bounds)?
            }
            None => {
                let (object, facts) = prompt::read(body.bytes, bounds)?;
                generate::no_model(&object)?;
                facts
            }
        };
        Ok(Call {
            model: body.model.map(str::to_owned),
            answers: 1,
            prompt: facts.prompt,
            unknown_members: facts.unknown_members,
            extras: facts.extras,
            answer: Some(Tokens::ZERO),
            free: true,
            ..Call::default()
        })
    }

    /// Applies all `changes` but the limit: nothing is generated.
    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        let Some(call) = whole(body.bytes)? else {
            let object = Object::body(body.bytes, prompt::KNOWN, |_, _| {})?;
            let mut edit = Edit::new(&object);
            tools::edit(&mut edit, &object, changes)?;
            return Ok(edit.apply());
        };
        let object = Object::body(body.bytes, &WHOLE, |_, _| {})?;
        let inner = Object::read(call.get(), WHOLE[0], prompt::KNOWN, |_, _| {})?;
        let mut edit = Edit::new(&inner);
        if let Some(model) = changes.model.filter(|_| inner.value("model").is_some()) {
            let model = serde_json::Value::from(format!("models/{model}"));
            edit.set("model", &model.to_string());
        }
        tools::edit(&mut edit, &inner, changes)?;
        let written = edit.apply();
        let mut edit = Edit::new(&object);
        edit.replace(call, &String::from_utf8_lossy(&written));
        Ok(edit.apply())
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        Reading::of_count(answer)
    }

    /// Returns a meter, although this call has no streams: if one comes, it is forwarded.
    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(answer::CandidateStream::new(call))
    }
}

/// Returns the call that stands in a body. `None`: the body has the members of a call itself.
fn whole(bytes: &[u8]) -> Result<Option<&RawValue>, Unreadable> {
    let mut other = None;
    let body = Object::body(bytes, &WHOLE, |name, value| {
        if value.get() != "null" {
            other = Some(name);
        }
    })?;
    match (either(&body, WHOLE)?, other) {
        (Some(_), Some(other)) => Err(Unreadable(format!(
            "{other:.40} stands beside generateContentRequest, and only one of them would be counted"
        ))),
        (call, _) => Ok(call),
    }
}

/// Returns the model that a call inside a body names.
fn named_model(call: &RawValue) -> Result<Option<String>, Unreadable> {
    let call = Object::read(call.get(), WHOLE[0], &["model"], |_, _| {})?;
    let model = call.value("model").map(|model| {
        let text = object::string(model).map(std::borrow::Cow::into_owned);
        text.ok_or_else(|| Unreadable("model must be a string".to_owned()))
    });
    model.transpose()
}

/// Whether two names mean one model, with or without `models/`.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |name: &'_ str| name.strip_prefix("models/").unwrap_or(name).to_owned();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::call::{Claim, Usage};

    fn read(body: &str) -> Result<Call, Unreadable> {
        let body = Body {
            model: Some("gemini-2.5-pro"),
            ..Body::json(body.as_bytes())
        };
        CountTokens.read(&body, &Bounds::default())
    }

    #[test]
    fn counting_is_free_and_what_it_counts_is_not_usage() {
        let contents = r#""contents":[{"parts":[{"text":"Hello"}]}]"#;
        let call = read(&format!("{{{contents}}}")).unwrap();
        assert_eq!((call.free, call.answer), (true, Some(Tokens::ZERO)));
        assert_eq!(call.model.as_deref(), Some("gemini-2.5-pro"));
        let within = format!(
            r#"{{"generateContentRequest":{{"model":"models/gemini-2.5-pro",{contents}}}}}"#
        );
        assert_eq!(read(&within).unwrap().prompt, call.prompt);
        let reading = CountTokens.meter(&Call::default(), br#"{"totalTokens":2095}"#);
        assert_eq!(reading.claim, Claim::of(Usage::default()));
        assert!(reading.complete && reading.delivered.is_empty());
    }

    #[test]
    fn a_body_that_could_be_counted_in_two_ways_is_refused() {
        for body in [
            r#"{"generateContentRequest":{"model":"models/other","contents":[]}}"#,
            r#"{"generateContentRequest":{"contents":[]},"contents":[]}"#,
            r#"{"generateContentRequest":{"contents":[]},"generate_content_request":{}}"#,
            r#"{"model":"models/other","contents":[]}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn only_the_model_within_is_changed() {
        let changes = Changes {
            model: Some("b"),
            ..Changes::default()
        };
        for (body, expected) in [
            (r#"{"contents":[ ]}"#, r#"{"contents":[ ]}"#),
            (
                r#"{"generateContentRequest": {"model":"models/a","contents":[]} }"#,
                r#"{"generateContentRequest": {"model":"models/b","contents":[]} }"#,
            ),
        ] {
            let body = Body::json(body.as_bytes());
            let changed = CountTokens.rewrite(&body, &changes).unwrap();
            assert_eq!(String::from_utf8(changed).unwrap(), expected);
        }
    }
}
