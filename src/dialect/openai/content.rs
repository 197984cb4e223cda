//! What a conversation counts in a prompt: its texts, and the images and files between them.
//!
//! A string counts its bytes and every other value its raw length. Only what really is an image or a
//! file counts otherwise: neither its address nor its bytes say what a provider makes of it. What is
//! not understood must never count less than its bytes.

use super::sound::Length;
use crate::dialect::call::{Bounds, Unreadable};
use crate::dialect::extras::{has_scheme, not_stored};
use crate::dialect::object::{self, Object};
use crate::dialect::stranger::Strangers;
use crate::json;
use crate::rules::amount::Tokens;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

/// The members of a part that a provider may read, whatever its type.
const PART: &[&str] = &[
    "type",
    "text",
    "refusal",
    "detail",
    "annotations",
    "logprobs",
    "image_url",
    "file",
    "file_id",
    "file_url",
    "file_data",
    "filename",
];

/// The members that say which file is meant.
const FILE: &[&str] = &["file_id", "file_url", "file_data", "filename"];

/// What servers put between the parts of a message: a line's end.
const JOINT: u64 = 1;

/// The longest usual role: a frame has room for it.
const ROLE: u64 = 9;

/// Bytes of a file, as it is written, that are taken for a page.
const PAGE: u64 = 50_000;

/// How a PDF begins, in base64.
const PDF: &str = "JVBERi0";

/// Pages of what is only named.
const NAMED_PAGES: u64 = 20;

/// Base64 as forgiving readers take it.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A string counts with its text; of anything else it is not known how a model reads it.
pub fn weight(value: &RawValue) -> Tokens {
    let text = value.get();
    let bytes = match text.as_bytes() {
        b"null" | b"[]" => 0,
        [b'"', ..] => text.len() - 2,
        _ => text.len(),
    };
    Tokens::new(bytes as u64)
}

/// A member that nobody knows: a text could stand in its name too.
pub fn stray(name: &str, value: &RawValue) -> Tokens {
    Tokens::new(name.len() as u64).plus(weight(value))
}

/// The known members of that name, together.
pub fn weights(object: &Object<'_>, names: &[&str]) -> Tokens {
    let values = names.iter().filter_map(|name| object.value(name));
    values.map(weight).sum()
}

/// What a role has beyond the usual.
pub fn role(object: &Object<'_>) -> Tokens {
    weights(object, &["role"]).minus(Tokens::new(ROLE))
}

/// What a body says of itself, which some servers show to a model. LocalAI runs tools that it names.
pub fn metadata(body: &Object<'_>, strangers: &mut Strangers) -> Tokens {
    let Some(value) = body.value("metadata") else {
        return Tokens::ZERO;
    };
    json::each_member(value.get().as_bytes(), |name, _| {
        if name.starts_with("mcp_") || name.starts_with("localai_") {
            strangers.name("metadata", name);
        }
    });
    weight(value)
}

/// What is named, and stands in the provider's own store or anywhere else.
pub fn named(bounds: &Bounds) -> Tokens {
    Tokens::new(bounds.page).times(NAMED_PAGES)
}

/// A message's content, or what a tool gave: a text, a part, or a list of either.
pub fn whole(
    value: &RawValue,
    bounds: &Bounds,
    strangers: &mut Strangers,
) -> Result<Tokens, Unreadable> {
    let mut sum = Tokens::ZERO;
    let mut is_first = true;
    let mut each = |value: &RawValue| {
        if !std::mem::take(&mut is_first) {
            sum = sum.plus(Tokens::new(JOINT));
        }
        sum = sum.plus(match value.get().as_bytes()[0] {
            b'{' => part(value, bounds, strangers)?,
            b'[' => {
                let why = "A list of content must not hold another";
                return Err(Unreadable(why.to_owned()));
            }
            _ => weight(value),
        });
        Ok(())
    };
    if value.get().starts_with('[') {
        object::list(value, "content", each)?;
    } else {
        each(value)?;
    }
    Ok(sum)
}

/// A part of a message's content, or of what a tool gave.
pub fn part(
    value: &RawValue,
    bounds: &Bounds,
    strangers: &mut Strangers,
) -> Result<Tokens, Unreadable> {
    let (mut others, mut sound) = (Tokens::ZERO, Tokens::ZERO);
    let mut is_named = false;
    let mut addresses = Vec::new();
    let mut sounds_address = false;
    let part = Object::read(value.get(), "A part of content", PART, |name, value| {
        others = others.plus(stray(name, value));
        if name == "input_audio" {
            sound = sound.plus(sounds(value, bounds));
        }
        strangers.meet("content", name, value);
        strangers.within(name, value);
        sounds_address |= name == "input_audio" && holds_address(value);
        // Videos and the like, which only some servers know.
        if name.ends_with("_url") {
            is_named = true;
            addresses.push(value);
        }
    })?;
    let known = ["image_url", "file_url"].iter();
    addresses.extend(known.filter_map(|name| part.value(name)));
    for address in addresses {
        check_address(address, strangers)?;
    }
    not_stored(part.value("file_id").is_some())?;
    if sounds_address {
        let why = "input_audio is served here with its data, and not with an address";
        return Err(Unreadable(why.to_owned()));
    }
    let rest = |but: &[&str]| {
        let names = PART.iter().filter(|name| !but.contains(name));
        let values = names.filter_map(|name| part.value(name));
        others.plus(values.map(weight).sum())
    };
    let image = Tokens::new(bounds.image);
    let address = part.value("image_url");
    let kind = part.string("type")?;
    let understood = match kind.as_deref() {
        Some("input_text" | "output_text" | "reasoning_text" | "refusal" | "text") => {
            Some(rest(&["type"]))
        }
        Some("input_image") if address.is_none_or(is_of_image) => {
            let detail = part.value("detail").and_then(object::string);
            let image = bounds.image_in(detail.as_deref());
            Some(image.plus(rest(&["type", "image_url"])))
        }
        Some("image_url") => {
            let seen = address.map(|address| addressed(address, bounds));
            let seen = seen.transpose()?.flatten();
            seen.map(|seen| seen.plus(rest(&["type", "image_url"])))
        }
        Some("input_file") => {
            let rest = rest(&[&["type"], FILE].concat());
            Some(file(&part, bounds)?.plus(rest))
        }
        Some("file") => match part.value("file") {
            Some(value) if value.get().starts_with('{') => {
                let mut strays = Tokens::ZERO;
                let read = Object::read(value.get(), "file", FILE, |name, value| {
                    strays = strays.plus(stray(name, value));
                    strangers.meet("file", name, value);
                })?;
                not_stored(read.value("file_id").is_some())?;
                if let Some(address) = read.value("file_url") {
                    check_address(address, strangers)?;
                }
                let file = file(&read, bounds)?.plus(strays);
                Some(file.plus(rest(&["type", "file"])))
            }
            _ => None,
        },
        _ => None,
    };
    let has_file = ["file", "file_url"]
        .iter()
        .any(|name| part.value(name).is_some());
    let (is_image, is_file) = match kind.as_deref().filter(|_| understood.is_some()) {
        Some("input_image" | "image_url") => (true, false),
        Some("input_file" | "file") => (false, true),
        _ => (false, false),
    };
    // Some servers look for what a part holds, and not at its type.
    is_named |= has_file && !is_file;
    let unseen = match address.filter(|_| !is_image) {
        _ if is_named => named(bounds),
        Some(_) => image,
        None => Tokens::ZERO,
    };
    let seen = match understood {
        Some(understood) => understood.plus(unseen),
        // Read as it stands, or else for what it names.
        None => weight(value).max(unseen),
    };
    Ok(seen.plus(sound))
}

/// A provider fetches what stands anywhere, but nothing of its own disk or of the operator's account.
fn check_address(value: &RawValue, strangers: &mut Strangers) -> Result<(), Unreadable> {
    let mut address = object::string(value);
    if value.get().starts_with('{') {
        let known = &["url", "detail"];
        let object = Object::read(value.get(), "An address", known, |name, value| {
            strangers.meet("image_url", name, value);
        })?;
        address = object.value("url").and_then(object::string);
    }
    match address {
        Some(address) if is_open(&address) => Ok(()),
        _ => {
            let why = "Images and files are served here from http, https and data addresses alone";
            Err(Unreadable(why.to_owned()))
        }
    }
}

/// An address that leads nowhere but into the open, or holds all that it leads to.
fn is_open(address: &str) -> bool {
    has_scheme(address.trim_start(), &["http", "https", "data"])
}

/// Seconds of a recording that stands in a part, from its container: silence takes no bytes.
fn sounds(sound: &RawValue, bounds: &Bounds) -> Tokens {
    let mut longest = 0;
    let mut each = |value: &[u8]| {
        let text = json::text(value);
        let data = text.rsplit(',').next().unwrap_or_default();
        if let Ok(file) = STANDARD.decode(data.trim()) {
            longest = longest.max(Length::of(&file).most);
        }
    };
    let text = sound.get().as_bytes();
    if !json::each_member(text, |_, value| each(value)) {
        each(text);
    }
    Tokens::new(longest).times(bounds.sound_second)
}

/// Whether there is an address where the bytes of a sound should be.
fn holds_address(sound: &RawValue) -> bool {
    let mut is_address = false;
    json::each_member(sound.get().as_bytes(), |_, value| {
        is_address |= json::text(value).contains(':');
    });
    is_address || object::string(sound).is_some_and(|text| text.contains(':'))
}

/// What an `image_url` counts if it holds an image's address: the image, and all besides.
fn addressed(value: &RawValue, bounds: &Bounds) -> Result<Option<Tokens>, Unreadable> {
    if !value.get().starts_with('{') {
        return Ok(None);
    }
    let mut others = Tokens::ZERO;
    let known = &["url", "detail"];
    let image = Object::read(value.get(), "image_url", known, |name, value| {
        others = others.plus(stray(name, value));
    })?;
    let is_image = image.value("url").is_some_and(is_of_image);
    let detail = image.value("detail").and_then(object::string);
    let tokens = bounds.image_in(detail.as_deref());
    let beside = others.plus(weights(&image, &["detail"]));
    Ok(is_image.then(|| tokens.plus(beside)))
}

/// Whether an address may be an image's: it does not hold the bytes of anything else.
fn is_of_image(address: &RawValue) -> bool {
    let Some(address) = object::string(address) else {
        return false;
    };
    let starts_with = |start: &str| {
        let head = address.trim_start().get(..start.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    starts_with("data:image/") || !starts_with("data:")
}

fn file(part: &Object<'_>, bounds: &Bounds) -> Result<Tokens, Unreadable> {
    let filename = part.string("filename")?.unwrap_or_default();
    let mut sum = Tokens::new(filename.len() as u64);
    let data = part.value("file_data");
    let text = data.and_then(object::string).unwrap_or_default();
    // Some servers take an address for the file's own bytes, and fetch it.
    let is_address = text.contains("://") && !text.trim_start().starts_with("data:");
    if is_address && !is_open(&text) {
        let why = "file_data is served here from http and https addresses alone";
        return Err(Unreadable(why.to_owned()));
    }
    if is_address || part.value("file_url").is_some() {
        sum = sum.plus(named(bounds));
    }
    if let Some(data) = data {
        let length = weight(data);
        let pages = length.count().div_ceil(PAGE).max(1);
        let pages = Tokens::new(bounds.page).times(pages);
        // Only of a PDF is it known that it is made of pages; another may be text from end to end.
        let is_pdf = text
            .strip_prefix("data:application/pdf;base64,")
            .unwrap_or(&text)
            .starts_with(PDF)
            && filename.to_ascii_lowercase().ends_with(".pdf");
        sum = sum.plus(if is_pdf { pages } else { pages.max(length) });
    }
    Ok(sum)
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
