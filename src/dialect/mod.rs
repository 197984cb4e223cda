//! READS. Parses, rewrites and meters the providers' wire formats: bytes in, facts out.
//!
//! A [`Dialect`] is the shape of one call of an API; an endpoint is configuration. A new vendor that speaks
//! OpenAI's API is configuration; a new call is one file here and one row in `table.rs`. No I/O and no async:
//! a [`Meter`] is fed bytes and asked for its [`Reading`].

pub mod anthropic;
pub mod beside;
pub mod call;
pub mod canonical;
pub mod claim;
pub mod delivered;
pub mod ends;
pub mod error;
pub mod extras;
pub mod failure;
pub mod gemini;
pub mod growth;
pub mod members;
pub mod object;
pub mod openai;
pub mod prompt;
pub mod replay;
pub mod shown;
pub mod splice;
pub mod sse;
pub mod stream;
pub mod surplus;
pub mod table;
pub mod tokens;
pub mod translate;
pub mod unknown_members;
pub mod words;

use crate::json;
use call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use replay::Replay;

/// One call of a provider's API, such as `POST messages`.
pub trait Dialect: Sync {
    /// Returns the API of the call, which decides the endpoints that serve it and the shape of its errors.
    fn api(&self) -> Api;

    /// Returns the call's path below its version, for example `chat/completions`.
    fn path(&self) -> &'static str;

    /// Returns the path by which answers of this call are kept: calls that differ only in the form of their answers
    /// share them.
    fn kept_as(&self) -> &'static str {
        self.path()
    }

    /// Whether request bodies are `multipart/form-data` with files, and not JSON.
    fn is_form(&self) -> bool {
        false
    }

    /// Whether answers that are not streamed are raw sound, of which nothing is metered.
    fn answers_with_sound(&self) -> bool {
        false
    }

    /// Parses the facts of a call. `bounds` replace what its bytes do not show: the tokens of images, pages
    /// and sound.
    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable>;

    /// Returns the body to forward: `changes` applied, and every other byte as received.
    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable>;

    /// Meters a whole answer to `call`: reported usage and delivered output.
    fn meter(&self, call: &Call, answer: &[u8]) -> Reading;

    /// Returns the meter for an answer to `call` that is a stream of server-sent events.
    fn stream(&self, call: &Call) -> Box<dyn Meter>;

    /// Returns how answers of this call are given again. `None`: they are not.
    fn replay(&self) -> Option<&'static dyn Replay> {
        None
    }
}

/// Meters a whole answer with `dialect`. An answer nested deeper than [`json::MAX_DEPTH`] is not parsed: all of
/// its bytes count as generated text.
pub fn meter(dialect: &dyn Dialect, call: &Call, answer: &[u8]) -> Reading {
    if json::is_flat(answer, json::MAX_DEPTH) {
        return dialect.meter(call, answer);
    }
    let mut reading = Reading::default();
    reading.delivered.malformed(answer);
    reading
}

/// Meters a stream as it is forwarded, and removes what the client did not ask for, such as the usage chunk
/// that `stream_options.include_usage` adds.
pub trait Meter: Send {
    /// Takes bytes that may be split anywhere, and returns the bytes to forward now.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8>;

    /// Returns the bytes that are left to forward when the provider has closed the stream.
    fn finish(&mut self) -> Vec<u8>;

    fn reading(&self) -> &Reading;

    /// Returns the number of bytes that were fed and not returned yet.
    fn withheld(&self) -> usize {
        0
    }

    /// Stops keeping generated text for counting, because the body memory is full. See
    /// `Delivered::drop_kept_text`.
    fn drop_kept_text(&mut self) {}
}
