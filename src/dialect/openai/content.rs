//! Counts the content of a conversation for the prompt's upper bound: texts, images, files and sound.
//!
//! A string counts its bytes and every other value the length of its JSON. Only a genuine image or file
//! counts otherwise, because neither its URL nor its bytes tell what a provider makes of it. A part that is
//! not understood must never count less than its bytes.

use super::sound::Length;
use crate::dialect::call::{Bounds, Unreadable};
use crate::dialect::extras::{has_scheme, not_stored};
use crate::dialect::object::{self, Object};
use crate::dialect::unknown_members::UnknownMembers;
use crate::json;
use crate::rules::amount::Tokens;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

/// Members of a content part that a provider may read, whatever the part's `type`.
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

/// Members that identify a file, in an `input_file` part or in a `file` object.
const FILE: &[&str] = &["file_id", "file_url", "file_data", "filename"];

/// Tokens for the line end that servers put between two parts of a message.
const SEPARATOR_TOKENS: u64 = 1;

/// Bytes of the longest usual role, `assistant` or `developer`. The framing tokens cover it.
const LONGEST_ROLE_BYTES: u64 = 9;

/// Bytes of `file_data`, as written, that count as one page.
pub(crate) const BYTES_PER_PAGE: u64 = 50_000;

/// First characters of a PDF_BASE64_PREFIX (`%PDF_BASE64_PREFIX-`) in base64.
const PDF_BASE64_PREFIX: &str = "JVBERi0";

/// Pages counted for a file that the body only refers to, for example by `file_url`.
const REFERENCED_FILE_PAGES: u64 = 20;

/// Base64 decoder that accepts missing padding and trailing bits, as lenient readers do.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Returns the upper bound of a value's tokens: a string's bytes without the quotes, else the length of its
/// JSON, because it is not known how a model reads it. `null` and `[]` are free.
pub fn weight(value: &RawValue) -> Tokens {
    let text = value.get();
    let bytes = match text.as_bytes() {
        b"null" | b"[]" => 0,
        [b'"', ..] => text.len() - 2,
        _ => text.len(),
    };
    Tokens::new(bytes as u64)
}

/// Returns the upper bound of an unknown member. Its name counts too: a text could stand in it.
pub fn stray(name: &str, value: &RawValue) -> Tokens {
    Tokens::new(name.len() as u64).plus(weight(value))
}

/// Sums the [`weight`] of the members `names` that are present.
pub(crate) fn weights(object: &Object<'_>, names: &[&str]) -> Tokens {
    let values = names.iter().filter_map(|name| object.value(name));
    values.map(weight).sum()
}

/// Returns the tokens by which `role` exceeds a usual one (`LONGEST_ROLE_BYTES` bytes).
pub fn role(object: &Object<'_>) -> Tokens {
    weights(object, &["role"]).minus(Tokens::new(LONGEST_ROLE_BYTES))
}

/// Counts the body's `metadata`, which some servers show to a model. Records `mcp_*` and `localai_*` entries
/// as unknown members, because LocalAI runs the tools that they name.
pub(crate) fn metadata(body: &Object<'_>, unknown_members: &mut UnknownMembers) -> Tokens {
    let Some(value) = body.value("metadata") else {
        return Tokens::ZERO;
    };
    json::each_member(value.get().as_bytes(), |name, _| {
        if name.starts_with("mcp_") || name.starts_with("localai_") {
            unknown_members.record("metadata", name);
        }
    });
    weight(value)
}

/// Returns the upper bound of a file that a body only refers to, in the provider's store or anywhere else.
pub fn named(bounds: &Bounds) -> Tokens {
    Tokens::new(bounds.page).times(REFERENCED_FILE_PAGES)
}

/// Counts a message's `content`, or a tool's `output`: a string, a part, or a list of either.
pub(crate) fn whole(
    value: &RawValue,
    bounds: &Bounds,
    unknown_members: &mut UnknownMembers,
) -> Result<Tokens, Unreadable> {
    let mut sum = Tokens::ZERO;
    let mut is_first = true;
    let mut each = |value: &RawValue| {
        if !std::mem::take(&mut is_first) {
            sum = sum.plus(Tokens::new(SEPARATOR_TOKENS));
        }
        sum = sum.plus(match value.get().as_bytes()[0] {
            b'{' => part(value, bounds, unknown_members)?,
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

/// Counts one part of a message's `content` or of a tool's `output`.
pub(crate) fn part(
    value: &RawValue,
    bounds: &Bounds,
    unknown_members: &mut UnknownMembers,
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
        unknown_members.record_unless_null("content", name, value);
        unknown_members.record_inside(name, value);
        sounds_address |= name == "input_audio" && holds_address(value);
        // `video_url` and the like, which only some servers support.
        if name.ends_with("_url") {
            is_named = true;
            addresses.push(value);
        }
    })?;
    let known = ["image_url", "file_url"].iter();
    addresses.extend(known.filter_map(|name| part.value(name)));
    for address in addresses {
        check_address(address, unknown_members)?;
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
                    unknown_members.record_unless_null("file", name, value);
                })?;
                not_stored(read.value("file_id").is_some())?;
                if let Some(address) = read.value("file_url") {
                    check_address(address, unknown_members)?;
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
    // Some servers look at the members of a part and ignore its `type`.
    is_named |= has_file && !is_file;
    let unseen = match address.filter(|_| !is_image) {
        _ if is_named => named(bounds),
        Some(_) => image,
        None => Tokens::ZERO,
    };
    let seen = match understood {
        Some(understood) => understood.plus(unseen),
        // A server may read the part as text or fetch the file that it refers to: the greater counts.
        None => weight(value).max(unseen),
    };
    Ok(seen.plus(sound))
}

/// Refuses every URL but `http`, `https` and `data`. A provider must not read a file from its own disk or
/// from the operator's account (`file:`, `gs:`, `s3:`).
fn check_address(value: &RawValue, unknown_members: &mut UnknownMembers) -> Result<(), Unreadable> {
    let mut address = object::string(value);
    if value.get().starts_with('{') {
        let known = &["url", "detail"];
        let object = Object::read(value.get(), "An address", known, |name, value| {
            unknown_members.record_unless_null("image_url", name, value);
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

/// Whether an address is on the open network (`http`, `https`) or holds its own content (`data`).
fn is_open(address: &str) -> bool {
    has_scheme(address.trim_start(), &["http", "https", "data"])
}

/// Returns the seconds of a recording in base64, as its container bounds them. `None`: it is no base64.
pub(crate) fn seconds(base64: &str) -> Option<u64> {
    let file = STANDARD.decode(base64.trim()).ok()?;
    Some(Length::of(&file).most)
}

/// Returns the tokens of the longest recording in `input_audio`, by its seconds as the container bounds them:
/// silence takes no bytes.
fn sounds(sound: &RawValue, bounds: &Bounds) -> Tokens {
    let mut longest = 0;
    let mut each = |value: &[u8]| {
        let text = json::text(value);
        let data = text.rsplit(',').next().unwrap_or_default();
        longest = longest.max(seconds(data).unwrap_or(0));
    };
    let text = sound.get().as_bytes();
    if !json::each_member(text, |_, value| each(value)) {
        each(text);
    }
    Tokens::new(longest).times(bounds.sound_second)
}

/// Whether `input_audio` holds a URL in place of the data of a recording.
fn holds_address(sound: &RawValue) -> bool {
    let mut is_address = false;
    json::each_member(sound.get().as_bytes(), |_, value| {
        is_address |= json::text(value).contains(':');
    });
    is_address || object::string(sound).is_some_and(|text| text.contains(':'))
}

/// Returns the tokens of an `image_url` object: the image, and every other member. `None`: its `url` is not
/// an image's.
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

/// Whether a URL may be an image's: any but a `data:` URL of another media type.
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
    // Some servers accept a URL in `file_data` and fetch it.
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
        let pages = length.count().div_ceil(BYTES_PER_PAGE).max(1);
        let pages = Tokens::new(bounds.page).times(pages);
        // Only a PDF_BASE64_PREFIX surely consists of pages; any other file may be text throughout, so its bytes count.
        let is_pdf = text
            .strip_prefix("data:application/pdf;base64,")
            .unwrap_or(&text)
            .starts_with(PDF_BASE64_PREFIX)
            && filename.to_ascii_lowercase().ends_with(".pdf");
        sum = sum.plus(if is_pdf { pages } else { pages.max(length) });
    }
    Ok(sum)
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
