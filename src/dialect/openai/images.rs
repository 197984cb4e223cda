//! `POST images/generations`, `images/edits` and `images/variations`.
//!
//! Only the newer models report usage. The cost of older ones follows from `n`, the number of images that the
//! caller asks for. The images themselves are skipped, never decoded.

use super::events::EventMeter;
use super::multipart::Form;
use super::usage;
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable, Usage};
use crate::dialect::object::{self, Object};
use crate::dialect::{Dialect, Meter, prompt};
use crate::rules::amount::Tokens;
use std::borrow::Cow;

/// Members or form fields that the gateway itself reads or writes.
const KNOWN: &[&str] = &["model", "prompt", "n", "stream"];

/// Fields that no model reads. Every other field counts as prompt.
const SETTINGS: &[&str] = &[
    "model",
    "n",
    "stream",
    "size",
    "quality",
    "style",
    "background",
    "moderation",
    "response_format",
    "output_format",
    "output_compression",
    "partial_images",
    "input_fidelity",
    "user",
];

/// Form fields that hold an image, even without a `filename`.
const FILES: &[&str] = &["image", "image[]", "mask"];

/// Usual length of a token in bytes, to estimate a prompt where no usage is reported.
const BYTES_PER_TOKEN: u64 = 4;

/// Builds the facts that all three calls share. `text` are the bytes and `images` the number of images in the
/// prompt.
fn call(n: Option<u64>, text: u64, images: u64, bounds: &Bounds) -> Call {
    let generated = Tokens::new(n.unwrap_or(1).max(1)).times(bounds.image_answer);
    let shown = Tokens::new(bounds.image).times(images);
    let guess = Tokens::new(text.div_ceil(BYTES_PER_TOKEN));
    Call {
        answers: 1,
        prompt: Tokens::new(text + prompt::message_frames(1)).plus(shown),
        answer: Some(generated),
        unreported: Some(Usage {
            uncached_input: guess,
            output: generated,
            ..Usage::default()
        }),
        ..Call::default()
    }
}

/// [`Dialect`] of `POST images/generations`.
pub(crate) struct Generations;

impl Dialect for Generations {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "images/generations"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (body, others, unknown_members) = Object::prompt(body.bytes, KNOWN, SETTINGS, &[])?;
        let text = body
            .value("prompt")
            .map_or(0, |text| text.get().len() as u64)
            + others.count();
        Ok(Call {
            unknown_members: unknown_members.names()?,
            can_pass_unchanged: true,
            model: body.string("model")?.map(Cow::into_owned),
            stream: body.flag("stream")?,
            ..call(body.number("n", 1)?, text, 0, bounds)
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        object::rewrite_model(body.bytes, KNOWN, changes)
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        usage::of_answer(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(EventMeter::default())
    }
}

fn read_form(body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
    let form = Form::read(body, KNOWN, FILES)?;
    let images = form.files().count() as u64;
    Ok(Call {
        unknown_members: form.unknown_members(&[KNOWN, FILES, SETTINGS])?,
        model: form.field("model")?.map(str::to_owned),
        stream: form.flag("stream")?,
        ..call(
            form.count("n")?,
            form.length_without(SETTINGS),
            images,
            bounds,
        )
    })
}

fn rewrite_form(body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    Form::read(body, KNOWN, FILES)?.with_model(changes.model)
}

/// [`Dialect`] of the calls that send images to the model; they differ in their path alone.
pub struct Changed(&'static str);

pub(crate) const EDITS: Changed = Changed("images/edits");
pub(crate) const VARIATIONS: Changed = Changed("images/variations");

impl Dialect for Changed {
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

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        usage::of_answer(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(EventMeter::default())
    }
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
