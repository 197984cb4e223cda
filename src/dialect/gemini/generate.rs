//! `generateContent` and `streamGenerateContent`: parses a call, rewrites it for an endpoint, meters its answer.

use super::spelling::either;
use super::{answer, prompt, tools};
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{Edit, Object};
use crate::dialect::replay::Replay;
use crate::dialect::replay::gemini::GeminiAnswers;
use crate::dialect::{Dialect, Meter};

/// Generates content, whole or as a stream.
pub(crate) struct Generate {
    is_stream: bool,
}

pub(crate) static GENERATE: Generate = Generate { is_stream: false };
pub(crate) static STREAM: Generate = Generate { is_stream: true };

const PLAIN_PATH: &str = "models/{model}:generateContent";
const STREAM_PATH: &str = "models/{model}:streamGenerateContent";

impl Dialect for Generate {
    fn api(&self) -> Api {
        Api::Gemini
    }

    fn path(&self) -> &'static str {
        match self.is_stream {
            true => STREAM_PATH,
            false => PLAIN_PATH,
        }
    }

    fn kept_as(&self) -> &'static str {
        PLAIN_PATH
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (object, facts) = prompt::read(body.bytes, bounds)?;
        no_model(&object)?;
        Ok(Call {
            model: body.model.map(str::to_owned),
            stream: self.is_stream,
            wants_usage: true,
            limit: facts.limit,
            answers: facts.answers,
            can_pass_unchanged: !object.flag("store")?,
            prompt: facts.prompt,
            unknown_members: facts.unknown_members,
            extras: facts.extras,
            hides: facts.thinks,
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        let body = Object::body(body.bytes, prompt::KNOWN, |_, _| {})?;
        let mut edit = Edit::new(&body);
        if let Some(limit) = changes.limit {
            let tokens = limit.tokens.to_string();
            match either(&body, prompt::GENERATION_CONFIG)? {
                Some(value) => {
                    let known = prompt::CONFIG;
                    let config = Object::read(value.get(), "generationConfig", known, |_, _| {})?;
                    let name = match config.written("max_output_tokens") {
                        Some(_) => "max_output_tokens",
                        None => "maxOutputTokens",
                    };
                    edit.set_within(value, &config, name, &tokens);
                }
                None => {
                    let name = match body.written("generation_config") {
                        Some(_) => "generation_config",
                        None => "generationConfig",
                    };
                    edit.set(name, &format!("{{\"maxOutputTokens\":{tokens}}}"));
                }
            }
        }
        // A stored call would be in the operator's account.
        if body.flag("store")? {
            edit.set("store", "false");
        }
        tools::edit(&mut edit, &body, changes)?;
        Ok(edit.apply())
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        answer::meter(answer)
    }

    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(answer::CandidateStream::new(call))
    }

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&GeminiAnswers)
    }
}

/// Refuses a model in the body: the path names it, and readers could differ in the one that counts.
pub(super) fn no_model(body: &Object<'_>) -> Result<(), Unreadable> {
    match body.value("model") {
        None => Ok(()),
        Some(_) => Err(Unreadable(
            "model stands in the path of this call, and must not stand in its body too".to_owned(),
        )),
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
