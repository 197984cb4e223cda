//! Redaction of an endpoint's credentials in its provider's answers.
//!
//! Providers, and proxies before them, quote requests in their errors, the key in its header and the query of
//! the URL included. They quote in any spelling: plain, escaped for JSON, a URL or HTML, or as base64.
//! The client must never read a credential.

mod spelling;

use super::config::Endpoint;
use crate::tables::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem::{self, Finder};
use spelling::Plain;
use std::fmt;
use std::ops::Range;

/// Length in bytes below which a credential is not redacted: it is hardly secret, and could be a word of an
/// answer.
const MIN_SECRET_BYTES: usize = 16;
/// Length in bytes, without escapes, below which a credential is searched for only as it is written.
const MIN_PLAIN_BYTES: usize = 8;
/// Replacement for a credential.
const REDACTED: &[u8] = b"***";
/// Bytes of an answer that are unescaped at a time.
const UNESCAPE_WINDOW_BYTES: usize = 64 << 10;
/// Characters at either end of a credential that could be unescaped together with the bytes around it, as `%`
/// and `41`.
const EDGE_CHARS: usize = 4;

/// The credentials of one endpoint, ready to be searched for in an answer.
#[derive(Default)]
pub struct Credentials {
    wanted: Vec<Pattern>,
    /// Longest word of each wanted text. A body without any of them holds no credential, unless an escape
    /// hides one.
    anchors: Vec<Finder<'static>>,
}

/// Prints no credential.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// A text to be redacted.
struct Pattern {
    written: Vec<u8>,
    plain: Vec<u8>,
    shape: SecretShape,
}

#[derive(Clone, Copy)]
enum SecretShape {
    /// The credential itself.
    Whole,
    /// The part of the credential's base64 that does not depend on the bytes around the credential. `before`
    /// and `behind`: neighbouring characters that have bits of the credential too.
    Base64 { before: usize, behind: usize },
}

impl Credentials {
    /// Collects the keys and the query values of the `url` of an endpoint.
    pub fn of(endpoint: &Endpoint) -> Credentials {
        let keys = endpoint.keys().map(Secret::expose);
        let query = endpoint
            .url
            .as_ref()
            .and_then(|url| url.path_and_query.split_once('?'));
        let values = query.into_iter().flat_map(|(_, query)| query.split('&'));
        let values = values.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let all = keys.chain(values);
        let mut credentials = Credentials::default();
        for text in all.filter(|text| text.len() >= MIN_SECRET_BYTES) {
            credentials.add(text.as_bytes());
        }
        credentials
    }

    fn add(&mut self, text: &[u8]) {
        let read = spelling::plain(text);
        self.anchor(read.longest_word(text));
        let plain = read.bytes;
        for offset in 0..3 {
            self.add_base64(text, offset);
            if plain != text {
                self.add_base64(&plain, offset);
            }
        }
        self.wanted.push(Pattern {
            written: text.to_owned(),
            plain,
            shape: SecretShape::Whole,
        });
    }

    /// Adds the base64 of a text that begins at byte `offset` of a group of three.
    fn add_base64(&mut self, text: &[u8], offset: usize) {
        let skipped = (3 - offset) % 3;
        let Some(rest) = text.get(skipped..) else {
            return;
        };
        let whole = rest.len() / 3 * 3;
        let standard = STANDARD_NO_PAD.encode(&rest[..whole]);
        if standard.len() < MIN_SECRET_BYTES {
            return;
        }
        let shape = SecretShape::Base64 {
            before: [0, 3, 2][offset],
            behind: [0, 2, 3][rest.len() - whole],
        };
        let words = standard.split(['+', '/']);
        self.anchor(
            words
                .max_by_key(|word| word.len())
                .unwrap_or_default()
                .as_bytes(),
        );
        let for_urls = standard.replace('+', "-").replace('/', "_");
        let is_one = for_urls == standard;
        for text in [standard, for_urls].into_iter().skip(usize::from(is_one)) {
            self.wanted.push(Pattern {
                plain: text.clone().into_bytes(),
                written: text.into_bytes(),
                shape,
            });
        }
    }

    fn anchor(&mut self, word: &[u8]) {
        self.anchors.push(Finder::new(word).into_owned());
    }

    /// Whether any credential occurs in these bytes.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        !self.spans(bytes).is_empty()
    }

    /// Returns the bytes with each credential replaced by `***`. `None`: no credential occurs.
    pub fn redact(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let spans = self.spans(bytes);
        if spans.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut end = 0;
        for span in spans {
            if span.start >= end {
                out.extend_from_slice(&bytes[end..span.start]);
                out.extend_from_slice(REDACTED);
            }
            end = end.max(span.end);
        }
        out.extend_from_slice(&bytes[end..]);
        Some(out)
    }

    /// Returns the positions of all credentials in ascending order; they may overlap.
    fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        let is_hit = |anchor: &Finder<'_>| anchor.find(bytes).is_some();
        if self.wanted.is_empty()
            || bytes.len() < MIN_SECRET_BYTES
            || !(self.anchors.iter().any(is_hit) || spelling::hides_words(bytes))
        {
            return spans;
        }
        for wanted in &self.wanted {
            let found = memmem::find_iter(bytes, &wanted.written);
            if matches!(wanted.shape, SecretShape::Whole) {
                spans.extend(found.map(|at| at..at + wanted.written.len()));
            }
        }
        let longest = self.wanted.iter().map(|wanted| wanted.plain.len()).max();
        let overlap = longest.unwrap_or_default() * spelling::MAX_ESCAPE_BYTES;
        for start in (0..bytes.len()).step_by(UNESCAPE_WINDOW_BYTES) {
            let window = &bytes[start..bytes.len().min(start + UNESCAPE_WINDOW_BYTES + overlap)];
            let plain = spelling::plain(window);
            for wanted in &self.wanted {
                let found = wanted.spans(window, &plain);
                spans.extend(found.map(|span| start + span.start..start + span.end));
            }
        }
        for span in &mut spans {
            widen(bytes, span);
        }
        spans.sort_unstable_by_key(|span| span.start);
        spans
    }
}

impl Pattern {
    fn spans(&self, text: &[u8], plain: &Plain) -> impl Iterator<Item = Range<usize>> {
        let edge = match self.shape {
            SecretShape::Whole => {
                (self.plain.len().saturating_sub(2 * EDGE_CHARS) / 2).min(EDGE_CHARS)
            }
            SecretShape::Base64 { .. } => 0,
        };
        let length = self.plain.len();
        let plain = Some(plain).filter(|_| length >= MIN_PLAIN_BYTES);
        let (head, tail) = (&self.plain[..edge], &self.plain[length - edge..]);
        let core = &self.plain[edge..length - edge];
        let found = plain.into_iter().flat_map(|plain| {
            let found = memmem::find_iter(&plain.bytes, core);
            found.map(move |at| (plain, at))
        });
        found.filter_map(move |(plain, at)| {
            let (mut first, mut last) = (at, at + core.len() - 1);
            if let SecretShape::Base64 { before, behind } = self.shape {
                (first, last) = groups(&plain.bytes, first, last, before, behind);
            }
            let (start, end) = (plain.places[first].0, plain.places[last].1);
            let ahead = &plain.bytes[..first];
            let start = match ahead.ends_with(head) {
                true => plain.places[first - head.len()].0,
                false => begin(text, start, head)?,
            };
            let behind = &plain.bytes[last + 1..];
            let end = match behind.starts_with(tail) {
                true => plain.places[last + tail.len()].1,
                false => finish(text, end, tail)?,
            };
            Some(start..end)
        })
    }
}

/// Extends the range of some base64 by the characters around it that have bits of the same text, and by the
/// padding.
fn groups(text: &[u8], first: usize, last: usize, before: usize, behind: usize) -> (usize, usize) {
    let is_of_it = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let ahead = text[..first].iter().rev().take(before);
    let first = first - ahead.take_while(is_of_it).count();
    let rest = &text[last + 1..];
    let more = rest.iter().take(behind).take_while(is_of_it).count();
    let padding = rest[more..]
        .iter()
        .take(2)
        .take_while(|byte| **byte == b'=');
    (first, last + more + padding.count())
}

/// Returns the start of the spelling of `head` that ends at `end`, even if it was unescaped together with the
/// bytes before it.
fn begin(text: &[u8], end: usize, head: &[u8]) -> Option<usize> {
    let farthest = end.saturating_sub(head.len() * spelling::MAX_ESCAPE_BYTES);
    let mut starts = (farthest..=end).rev();
    starts.find(|start| spelling::plain(&text[*start..end]).bytes == head)
}

/// Returns the end of the spelling of `tail` that begins at `start`, even if it was unescaped together with
/// the bytes behind it.
fn finish(text: &[u8], start: usize, tail: &[u8]) -> Option<usize> {
    let farthest = text
        .len()
        .min(start + tail.len() * spelling::MAX_ESCAPE_BYTES);
    let mut ends = start..=farthest;
    ends.find(|end| spelling::plain(&text[start..*end]).bytes == tail)
}

/// Extends the range over the backslashes of a partly covered escape, so that the remaining text is parsed as
/// before.
fn widen(text: &[u8], span: &mut Range<usize>) {
    if !text[span.start].is_ascii_alphanumeric() {
        let before = text[..span.start].iter().rev();
        span.start -= before.take_while(|byte| **byte == b'\\').count();
    }
    if text[span.end - 1] == b'\\' {
        let after = text[span.end..].iter();
        span.end += after.take_while(|byte| **byte == b'\\').count();
    }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
