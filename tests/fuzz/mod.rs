//! What must hold for any bytes at all: one check for each reader of what others wrote.
//!
//! Written once, used twice: `fuzz/` lets a fuzzer choose the bytes, `tests/it/fuzz.rs` draws and mutates
//! them in every test run. A check panics where something does not hold, and gives nothing back.

pub mod http;
pub mod mutate;
pub mod reader;
pub mod streams;
pub mod texts;

/// A target: its name, which is also that of its folder of seeds, and its check.
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

/// The first byte says where the rest is cut, so that every cut comes up.
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
