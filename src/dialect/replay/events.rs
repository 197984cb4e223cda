//! Events of a stream as JSON objects: read from a finished stream, and written to a new one.
//!
//! Comments and pings without data are skipped; bytes that are no field of an event are never skipped.

use super::tree::{self, Members};
use crate::dialect::sse::{self, Splitter};
use serde_json::{Value, json};

/// Data that ends a stream of OpenAI's, where it has such an end.
pub(super) const DONE: &[u8] = b"[DONE]";

/// Longest text that every event of a stream may repeat, in bytes: a stream must not be many times as long as
/// its answer.
pub(super) const MAX_REPEATED_BYTES: usize = 4096;

/// Calls `each` with the data of every event of a finished stream, and returns whether `[DONE]` ended it.
/// `None`: an event is no JSON object, reports an error, comes behind the end, or `each` did not understand
/// it.
pub(super) fn read(stream: &[u8], mut each: impl FnMut(Members) -> Option<()>) -> Option<bool> {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let (mut is_done, mut is_read) = (false, true);
    let mut event = |event: &[u8]| {
        is_read = is_read && take(event, &mut is_done, &mut each).is_some();
    };
    let mut splitter = Splitter::default();
    let fits = splitter.feed(stream, &mut event);
    splitter.finish(&mut event);
    (is_read && fits).then_some(is_done)
}

fn take(
    event: &[u8],
    is_done: &mut bool,
    each: &mut impl FnMut(Members) -> Option<()>,
) -> Option<()> {
    let lines = sse::read(event);
    if lines.strays > 0 || is_named_error(event) {
        return None;
    }
    let Some(data) = lines.data else {
        return Some(());
    };
    if data.trim_ascii() == DONE {
        *is_done = true;
        return Some(());
    }
    let event = tree::object(&data)?;
    if *is_done {
        return None;
    }
    each(event)
}

/// Whether the event is called `error`, which some SDKs raise on, whatever its data says.
fn is_named_error(event: &[u8]) -> bool {
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.any(|line| {
        let name = line.strip_prefix(b"event:");
        name.is_some_and(|name| name.trim_ascii() == b"error")
    })
}

/// Appends an event without a name.
pub(super) fn push_data(out: &mut Vec<u8>, data: &Value) {
    push_raw(out, data.to_string().as_bytes());
}

/// Appends the end of a stream of OpenAI's.
pub(super) fn push_done(out: &mut Vec<u8>) {
    push_raw(out, DONE);
}

/// Appends an event that is named by its `type`.
pub(super) fn push_named(out: &mut Vec<u8>, name: &str, data: &Value) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    push_data(out, data);
}

fn push_raw(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

/// Returns an event's data: its `type`, then `members`, which must be an object.
pub(super) fn typed(name: &str, members: Value) -> Value {
    let mut event = json!({"type": name});
    if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
        event.extend(members);
    }
    event
}
