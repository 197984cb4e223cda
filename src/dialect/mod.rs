//! READS. The providers' wire formats: bytes in, facts out.
//!
//! A dialect is the shape of one call of an API; an endpoint is configuration. A new vendor that
//! speaks OpenAI is configuration; a new call is one file here and one line in the table. No I/O, no
//! async: a meter is fed and asked.

pub mod anthropic;
pub mod beside;
pub mod call;
pub mod claim;
pub mod delivered;
pub mod error;
pub mod extras;
pub mod failure;
pub mod growth;
pub mod members;
pub mod object;
pub mod openai;
pub mod prompt;
pub mod shown;
pub mod splice;
pub mod sse;
pub mod stranger;
pub mod stream;
pub mod surplus;
pub mod table;
pub mod tokens;
pub mod words;

use crate::json;
use call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};

/// One call of a provider's API.
pub trait Dialect: Sync {
    /// Whose API it is: who serves it, and which shape its errors have.
    fn api(&self) -> Api;

    /// Where it stands below `v1`.
    fn path(&self) -> &'static str;

    /// Its bodies are forms, with files in them, and not JSON.
    fn is_form(&self) -> bool {
        false
    }

    /// Its plain answers are sound, of which nothing is metered.
    fn answers_with_sound(&self) -> bool {
        false
    }

    /// What the gateway must know of a call. `bounds` stand in for what its bytes do not show.
    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable>;

    /// The body that leaves for the provider: what must change, and nothing else.
    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable>;

    /// What a whole answer to `call` says of itself.
    fn meter(&self, call: &Call, answer: &[u8]) -> Reading;

    /// For an answer that comes as a stream of events.
    fn stream(&self, call: &Call) -> Box<dyn Meter>;
}

/// What a whole answer says of itself. One that is nested deeper than any reader should climb counts
/// with its bytes.
pub fn meter(dialect: &dyn Dialect, call: &Call, answer: &[u8]) -> Reading {
    if json::is_flat(answer, json::DEEPEST) {
        return dialect.meter(call, answer);
    }
    let mut reading = Reading::default();
    reading.delivered.unreadable(answer);
    reading
}

/// Meters a stream as it passes, and takes out what its client did not ask for.
pub trait Meter: Send {
    /// Takes bytes as they came, cut anywhere, and gives the bytes to pass on now.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8>;

    /// What is left when the provider has closed the stream.
    fn finish(&mut self) -> Vec<u8>;

    fn reading(&self) -> &Reading;

    /// Bytes that were fed and not given yet.
    fn withheld(&self) -> usize {
        0
    }

    /// Keeps no more text for counting: there is no room.
    fn forget_text(&mut self) {}
}
