//! `POST audio/transcriptions`, `audio/translations`, `audio/speech`.
//!
//! A recording's length is not in the call: it is bounded from the file's bytes. Sound that comes
//! back is passed on and never looked at.

use super::events::EventMeter;
use super::multipart::Form;
use super::said;
use super::sound::{self, Length};
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{
    Api, Body, Bounds, Call, Changes, Delivered, Reading, Unreadable, Usage,
};
use crate::dialect::claim::number;
use crate::dialect::object::{self, Object};
use crate::dialect::{Dialect, Meter, prompt};
use crate::json;
use crate::rules::amount::Tokens;
use std::borrow::Cow;

const FORM: &[&str] = &["model", "stream", "response_format", "language", "prompt"];

/// Fields that no model reads.
const NOT_PROMPT: &[&str] = &["model", "stream", "response_format", "temperature"];

/// Fields that say how a transcript is cut.
const HEARD: &[&str] = &["timestamp_granularities[]", "timestamp_granularities"];

/// Fields that hold a recording, however they are sent.
const FILES: &[&str] = &["file"];

/// Nobody speaks more tokens in a second.
const SPOKEN_PER_SECOND: u64 = 10;

/// What an answer has besides, at most: what is generated before nothing was heard.
const SPOKEN_BESIDES: u64 = 200;

fn input_alone(tokens: Tokens) -> Usage {
    Usage {
        uncached_input: tokens,
        ..Usage::default()
    }
}

fn read_form(body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
    let form = Form::read(body, FORM, FILES)?;
    let length = form.files().map(Length::of);
    let length = length.fold(Length::default(), Length::plus);
    let second = Tokens::new(bounds.sound_second);
    let text = form.length_without(NOT_PROMPT) + prompt::message_frames(1);
    let spoken = length.most * SPOKEN_PER_SECOND + SPOKEN_BESIDES;
    Ok(Call {
        strangers: form.strangers(&[FORM, FILES, NOT_PROMPT, HEARD])?,
        model: form.field("model")?.map(str::to_owned),
        stream: form.flag("stream")?,
        answers: 1,
        prompt: second.times(length.most).plus(Tokens::new(text)),
        answer: Some(Tokens::new(spoken)),
        unreported: Some(input_alone(second.times(length.likely))),
        sound_second: bounds.sound_second,
        ..Call::default()
    })
}

fn rewrite_form(body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    Form::read(body, FORM, FILES)?.with_model(changes.model)
}

/// Members of a transcript that repeat its text in pieces, or frame it.
const BESIDE_TEXT: &[&str] = &["segments", "words", "task", "language", "logprobs"];

/// A transcript is JSON, or else itself.
fn meter(call: &Call, answer: &[u8]) -> Reading {
    let mut reading = Reading {
        complete: true,
        is_final: true,
        ..Reading::default()
    };
    let mut lasted = None;
    let whole = json::each_member(answer, |name, value| match name {
        "text" => said::text(value, &mut reading.delivered),
        "usage" => reading.reports(sound::usage(value, call.sound_second)),
        // The wordy format says how long the recording was, as a number or as a string of one.
        "duration" => lasted = number(value),
        "model" if is_frame(&["model"], name, value) => reading.served.take(value),
        name if BESIDE_TEXT.contains(&name) => {}
        _ => unsure(value, &mut reading.delivered),
    });
    if !whole {
        reading.delivered = Delivered::default();
        reading.delivered.unreadable(answer);
    }
    if reading.claim.is_empty() {
        reading.reports(lasted.map(|seconds| sound::of_seconds(seconds, call.sound_second)));
    }
    reading
}

/// The calls that hear a recording, which differ in their paths alone.
pub struct Heard(&'static str);

pub const TRANSCRIPTIONS: Heard = Heard("audio/transcriptions");
pub const TRANSLATIONS: Heard = Heard("audio/translations");

impl Dialect for Heard {
    fn is_form(&self) -> bool {
        true
    }

    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        self.0
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        read_form(body, bounds)
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        rewrite_form(body, changes)
    }

    fn meter(&self, call: &Call, answer: &[u8]) -> Reading {
        meter(call, answer)
    }

    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(EventMeter::new(call.sound_second))
    }
}

const SPEECH: &[&str] = &["model", "input", "instructions", "stream_format"];

/// Members that no model reads.
const NOT_SAID: &[&str] = &[
    "model",
    "stream_format",
    "voice",
    "response_format",
    "speed",
];

/// Sound has about twenty tokens a second, and a byte of text is said in far less than one, even
/// where it is a digit or where it is said slowly.
const SOUND_PER_BYTE: u64 = 20;

const BYTES_PER_TOKEN: u64 = 4;

pub struct Speech;

impl Dialect for Speech {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "audio/speech"
    }

    fn answers_with_sound(&self) -> bool {
        true
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (body, others, strangers) = Object::prompt(body.bytes, SPEECH, NOT_SAID, &[])?;
        let input = body.string("input")?.unwrap_or_default();
        let instructions = body.string("instructions")?.unwrap_or_default();
        let written = |name| body.value(name).map_or(0, |text| text.get().len() as u64);
        let text = written("input") + written("instructions") + others.count();
        let guess = (instructions.len() as u64).div_ceil(BYTES_PER_TOKEN);
        Ok(Call {
            strangers: strangers.names()?,
            is_fit: true,
            model: body.string("model")?.map(Cow::into_owned),
            stream: body.string("stream_format")?.as_deref() == Some("sse"),
            answers: 1,
            prompt: Tokens::new(text + prompt::message_frames(1)),
            answer: Some(Tokens::new(input.len() as u64).times(SOUND_PER_BYTE)),
            unreported: Some(input_alone(Tokens::new(
                input.chars().count() as u64 + guess,
            ))),
            sound_second: bounds.sound_second,
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        object::rewrite_model(body.bytes, SPEECH, changes)
    }

    /// The answer is sound.
    fn meter(&self, _: &Call, _: &[u8]) -> Reading {
        Reading {
            complete: true,
            is_final: true,
            ..Reading::default()
        }
    }

    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(EventMeter::new(call.sound_second))
    }
}

#[cfg(test)]
#[path = "audio_tests.rs"]
mod tests;
