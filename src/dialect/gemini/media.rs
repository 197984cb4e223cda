//! Upper bounds of the media in a prompt, whose bytes do not show their tokens.
//!
//! Media without a bound are refused: a video is as long as its container says, and a file of the operator's account is
//! not shown at all.

use super::spelling::{self, Spellings, either};
use crate::dialect::call::{Bounds, Unreadable};
use crate::dialect::extras::has_scheme;
use crate::dialect::object::{self, Object};
use crate::dialect::openai::content;
use crate::dialect::unknown_members::UnknownMembers;
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;

const INLINE_DATA: Spellings = ["inlineData", "inline_data"];
const FILE_DATA: Spellings = ["fileData", "file_data"];
const MIME_TYPE: Spellings = ["mimeType", "mime_type"];
const FILE_URI: Spellings = ["fileUri", "file_uri"];

/// Hosts whose addresses name stored files or videos, with those below them.
const CLOSED_HOSTS: &[&str] = &["googleapis.com", "google.com", "youtube.com", "youtu.be"];

/// Kind of media, by its type.
enum Medium {
    Image,
    Sound,
    Pdf,
    Text,
}

fn medium(kind: &str) -> Result<Medium, Unreadable> {
    let whole = kind.to_ascii_lowercase();
    let kind = whole.split(';').next().unwrap_or_default().trim();
    match kind.split_once('/') {
        Some(("image", _)) => Ok(Medium::Image),
        Some(("audio", _)) => Ok(Medium::Sound),
        Some(("text", _)) => Ok(Medium::Text),
        _ if kind == "application/pdf" => Ok(Medium::Pdf),
        _ if kind == "application/json" => Ok(Medium::Text),
        _ => Err(Unreadable(
            "mimeType must be that of an image, of sound, of a text or of a PDF: the tokens of other media are not \
             shown by their bytes"
                .to_owned(),
        )),
    }
}

/// Bounds `inlineData` and `fileData` of a part. `image`: tokens of an image.
pub(super) fn of_part(
    part: &Object<'_>,
    image: Tokens,
    bounds: &Bounds,
    unknown_members: &mut UnknownMembers,
) -> Result<Tokens, Unreadable> {
    let mut sum = Tokens::ZERO;
    if let Some(data) = either(part, INLINE_DATA)? {
        sum = sum.plus(inline(data, image, bounds, unknown_members)?);
    }
    if let Some(file) = either(part, FILE_DATA)? {
        sum = sum.plus(remote(file, image, bounds, unknown_members)?);
    }
    Ok(sum)
}

fn inline(
    value: &RawValue,
    image: Tokens,
    bounds: &Bounds,
    unknown_members: &mut UnknownMembers,
) -> Result<Tokens, Unreadable> {
    let known = &[
        "mimeType",
        "mime_type",
        "data",
        "displayName",
        "display_name",
    ];
    let mut beside = Tokens::ZERO;
    let blob = Object::read(value.get(), "inlineData", known, |name, value| {
        beside = beside.plus(content::stray(name, value));
        unknown_members.record_unless_null("inlineData", name, value);
    })?;
    let name = either(&blob, ["displayName", "display_name"])?;
    beside = beside.plus(name.map_or(Tokens::ZERO, content::weight));
    let data = blob.value("data");
    let length = data.map_or(0, |data| data.get().len());
    let tokens = match medium(&spelling::word(&blob, MIME_TYPE)?)? {
        Medium::Image => image,
        Medium::Sound => sound(data, bounds),
        Medium::Pdf => {
            let pages = (length as u64).div_ceil(content::BYTES_PER_PAGE).max(1);
            Tokens::new(bounds.page).times(pages)
        }
        Medium::Text => Tokens::new(length as u64),
    };
    Ok(tokens.plus(beside))
}

/// Returns the tokens of a recording, by its seconds as its container bounds them.
fn sound(data: Option<&RawValue>, bounds: &Bounds) -> Tokens {
    let text = data.and_then(object::string).unwrap_or_default();
    // Protocol Buffers take both alphabets.
    let text = text.replace('-', "+").replace('_', "/");
    let seconds = content::seconds(&text).unwrap_or(text.len() as u64);
    Tokens::new(seconds).times(bounds.sound_second)
}

/// Bounds `fileData`, which names an image or a document on the open network.
fn remote(
    value: &RawValue,
    image: Tokens,
    bounds: &Bounds,
    unknown_members: &mut UnknownMembers,
) -> Result<Tokens, Unreadable> {
    let known = &[
        "mimeType",
        "mime_type",
        "fileUri",
        "file_uri",
        "displayName",
        "display_name",
    ];
    let file = Object::read(value.get(), "fileData", known, |name, value| {
        unknown_members.record_unless_null("fileData", name, value);
    })?;
    if !is_open(&spelling::word(&file, FILE_URI)?) {
        return Err(Unreadable(
            "fileData is served here for http and https addresses of the open network alone: send the file itself as \
             inlineData"
                .to_owned(),
        ));
    }
    let tokens = match medium(&spelling::word(&file, MIME_TYPE)?)? {
        Medium::Image => image,
        Medium::Pdf => content::named(bounds),
        Medium::Sound | Medium::Text => {
            return Err(Unreadable(
                "fileData is served here for images and PDFs alone: send the file itself as inlineData"
                    .to_owned(),
            ));
        }
    };
    Ok(tokens.max(content::weight(value)))
}

fn is_open(address: &str) -> bool {
    let is_closed = |host: &str| {
        let mut hosts = CLOSED_HOSTS.iter();
        hosts.any(|closed| {
            let rest = host.strip_suffix(closed);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    let Some((_, rest)) = address.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    let host = host.to_ascii_lowercase();
    // Readers of addresses differ about anything else.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    has_scheme(address, &["http", "https"])
        && !host.is_empty()
        && host.bytes().all(is_plain)
        && !host.ends_with('.')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !address.contains('\\')
        && !is_closed(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_files_and_videos_are_not_open() {
        for (address, expected) in [
            ("https://example.com/a.png", true),
            ("HTTP://example.com/a.png?x=1", true),
            ("gs://bucket/a.png", false),
            ("files/abc", false),
            (
                "https://generativelanguage.googleapis.com/v1beta/files/abc",
                false,
            ),
            ("https://www.YouTube.com/watch?v=1", false),
            ("https://youtu.be/1", false),
            ("https://notyoutube.com/1", true),
            ("https://example.com@youtu.be/1", false),
            ("https://youtu.be./1", false),
            ("https://youtu.be\\.example.com/1", false),
            ("https://[::1]/a.png", false),
            ("https://example.com:8443/a.png", true),
            ("https:youtu.be/1", false),
            (" https://example.com/a.png", false),
        ] {
            assert_eq!(is_open(address), expected, "{address}");
        }
    }
}
