//! Checks that hold for any bytes, one for each parser of untrusted input.
//!
//! `fuzz/` runs them under a fuzzer; `tests/it/fuzz.rs` runs them on random and mutated bytes in every test
//! run. A check panics on a violation and returns nothing.

pub mod http;
pub mod mutate;
pub mod reader;
pub mod streams;
pub mod texts;

/// A target: its name, which is also its corpus directory, and its check.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("request", http::request),
    ("answer", http::answer),
    ("path", texts::path),
    ("url", texts::url),
    ("config", texts::config),
    ("settings", texts::settings),
    ("record", texts::record),
    ("json", texts::json),
    ("sse", streams::sse),
    ("meters", streams::meters),
    ("calls", streams::calls),
    ("multipart", streams::multipart),
];

/// Splits the bytes; the first byte selects the split points.
pub fn cut(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return (Vec::new(), bytes);
    };
    let size = match *first {
        0..32 => 1,
        32..64 => 2,
        64..96 => 3,
        96..128 => 7,
        at => usize::from(at - 127) * rest.len().div_ceil(129).max(1),
    };
    (rest.chunks(size.max(1)).collect(), rest)
}
