//! `POST audio/transcriptions`, `audio/translations` and `audio/speech`.
//!
//! A request does not tell how long its recording is: [`Length`] bounds it from the bytes of the file. Sound
//! in a response is relayed and never decoded.

use super::events::EventMeter;
use super::multipart::Form;
use super::said;
use super::sound::{self, Length, MAX_SPOKEN_TOKENS_PER_SECOND};
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{
    Api, Body, Bounds, Call, Changes, Delivered, Reading, Unreadable, Usage,
};
use crate::dialect::claim::number;
use crate::dialect::object::{self, Object};
use crate::dialect::replay::{Replay, transcript::TranscriptAnswers};
use crate::dialect::{Dialect, Meter, prompt};
use crate::json;
use crate::rules::amount::Tokens;
use std::borrow::Cow;

/// Form fields that must be plain text, spelled exactly like this and written once ([`Form::read`]).
const FORM: &[&str] = &["model", "stream", "response_format", "language", "prompt"];

/// Form fields that no model reads, so that they do not count as prompt.
const SETTINGS: &[&str] = &["model", "stream", "response_format", "temperature"];

/// Form fields that choose a transcript's timestamps. They are known, but count as prompt.
const TIMESTAMP_FIELDS: &[&str] = &["timestamp_granularities[]", "timestamp_granularities"];

/// Form fields that hold a recording, even without a `filename`.
const FILES: &[&str] = &["file"];

/// Values of `response_format` whose answer is an object that has a place for `usage`. Any other, such as
/// `text`, `srt` and `vtt`, has none.
const JSON_FORMATS: &[&str] = &["json", "verbose_json", "diarized_json"];

/// Upper bound of the transcript tokens beyond the speech: a model generates some even for a recording in
/// which it then hears nothing.
const EXTRA_TRANSCRIPT_TOKENS: u64 = 200;

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
    let text = form.length_without(SETTINGS) + prompt::message_frames(1);
    let spoken = length.most * MAX_SPOKEN_TOKENS_PER_SECOND + EXTRA_TRANSCRIPT_TOKENS;
    let format = form.field("response_format")?;
    Ok(Call {
        answers_in_text: format.is_some_and(|format| !JSON_FORMATS.contains(&format)),
        unknown_members: form.unknown_members(&[FORM, FILES, SETTINGS, TIMESTAMP_FIELDS])?,
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

/// Members of a transcript that repeat its `text` in pieces, or that are metadata.
const TRANSCRIPT_METADATA: &[&str] = &["segments", "words", "task", "language", "logprobs"];

/// Meters a transcript: a JSON object with `text`, or else plain text that counts whole.
fn meter(call: &Call, answer: &[u8]) -> Reading {
    let mut reading = Reading {
        complete: true,
        is_final: true,
        ..Reading::default()
    };
    if call.answers_in_text {
        reading.delivered.unreadable(answer);
        return reading;
    }
    let mut lasted = None;
    let whole = json::each_member(answer, |name, value| match name {
        "text" => said::text(value, &mut reading.delivered),
        "usage" => reading.reports(sound::usage(value, call.sound_second)),
        // `verbose_json` reports the recording's seconds, as a number or as a string.
        "duration" => lasted = number(value),
        "model" if is_frame(&["model"], name, value) => reading.served.take(value),
        name if TRANSCRIPT_METADATA.contains(&name) => {}
        _ => unsure(value, &mut reading.delivered),
    });
    if !whole {
        reading.delivered = Delivered::default();
        reading.delivered.unreadable(answer);
    }
    if reading.claim.is_empty() {
        reading.reports(lasted.map(|seconds| sound::of_seconds(seconds, call.sound_second)));
    }
    sound::raise(&mut reading, call.sound_second);
    reading
}

/// [`Dialect`] of the calls that take a recording; they differ in their path alone.
pub struct RecordingCall(&'static str);

pub(crate) const TRANSCRIPTIONS: RecordingCall = RecordingCall("audio/transcriptions");
pub(crate) const TRANSLATIONS: RecordingCall = RecordingCall("audio/translations");

impl Dialect for RecordingCall {
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

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&TranscriptAnswers)
    }
}

/// Members of `audio/speech` that the gateway itself reads or writes.
const KNOWN_SPEECH_MEMBERS: &[&str] = &["model", "input", "instructions", "stream_format"];

/// Members of `audio/speech` that no model reads.
const NOT_PROMPT_SPEECH_MEMBERS: &[&str] = &[
    "model",
    "stream_format",
    "voice",
    "response_format",
    "speed",
];

/// Upper bound of the sound tokens for one byte of `input`. Sound has about 20 tokens a second, and speaking
/// a byte takes far less than a second, even if it is a digit or is spoken slowly.
const MAX_SOUND_TOKENS_PER_BYTE: u64 = 20;

/// Usual length of a token in bytes, to estimate `instructions` where no usage is reported.
const BYTES_PER_TOKEN: u64 = 4;

/// [`Dialect`] of `POST audio/speech`.
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
        let (body, others, unknown_members) = Object::prompt(
            body.bytes,
            KNOWN_SPEECH_MEMBERS,
            NOT_PROMPT_SPEECH_MEMBERS,
            &[],
        )?;
        let input = body.string("input")?.unwrap_or_default();
        let instructions = body.string("instructions")?.unwrap_or_default();
        let written = |name| body.value(name).map_or(0, |text| text.get().len() as u64);
        let text = written("input") + written("instructions") + others.count();
        let guess = (instructions.len() as u64).div_ceil(BYTES_PER_TOKEN);
        Ok(Call {
            unknown_members: unknown_members.names()?,
            can_pass_unchanged: true,
            model: body.string("model")?.map(Cow::into_owned),
            stream: body.string("stream_format")?.as_deref() == Some("sse"),
            answers: 1,
            prompt: Tokens::new(text + prompt::message_frames(1)),
            answer: Some(Tokens::new(input.len() as u64).times(MAX_SOUND_TOKENS_PER_BYTE)),
            unreported: Some(input_alone(Tokens::new(
                input.chars().count() as u64 + guess,
            ))),
            sound_second: bounds.sound_second,
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        object::rewrite_model(body.bytes, KNOWN_SPEECH_MEMBERS, changes)
    }

    /// Reports no `usage`: the response is sound, which has none.
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
