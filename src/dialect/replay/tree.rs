//! Answers as JSON trees: read within bounds, put together member by member, and written.
//!
//! A number must leave as it came, so integers that no machine integer holds are refused.

use crate::json;
use serde_json::value::Index;
use serde_json::{Map, Value};
use std::mem::discriminant;

/// Members of a JSON object.
pub(super) type Members = Map<String, Value>;

/// Maximum nesting of an answer, in levels. Events wrap parts of it in a few more, and must not exceed
/// [`json::MAX_DEPTH`] either.
const MAX_DEPTH: usize = json::MAX_DEPTH - 4;

/// Parses a JSON text. `None`: it is malformed, nested too deeply, or has a number that would change.
pub(super) fn read(text: &[u8]) -> Option<Value> {
    if !json::is_flat(text, MAX_DEPTH) || has_huge_integer(text) {
        return None;
    }
    serde_json::from_slice(text).ok()
}

/// Parses a JSON object. `None`: as for [`read`], or it reports an error.
pub(super) fn object(text: &[u8]) -> Option<Members> {
    match read(text)? {
        Value::Object(members) if !is_error(members.get("error")) => Some(members),
        _ => None,
    }
}

/// Writes a tree. `None`: it is nested so deeply that [`read`] would refuse it.
pub(super) fn write(members: Members) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(&Value::Object(members)).ok()?;
    json::is_flat(&text, MAX_DEPTH).then_some(text)
}

/// Whether a member called `error` reports one. SDKs raise on all but these values.
pub(super) fn is_error(error: Option<&Value>) -> bool {
    match error {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Whether an integer outside of strings exceeds 64 bits. It would be read as a float.
fn has_huge_integer(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => match json::string_end(text, at) {
                Some(end) => at = end,
                None => return false,
            },
            b'-' | b'0'..=b'9' => {
                let digits = text[at..].iter();
                let is_number =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + digits.take_while(is_number).count();
                if is_huge(&text[at..end]) {
                    return true;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    false
}

fn is_huge(number: &[u8]) -> bool {
    let is_integer = !number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let text = str::from_utf8(number).unwrap_or_default();
    is_integer && text.parse::<u64>().is_err() && text.parse::<i64>().is_err()
}

/// Returns the string at `index`, if there is one.
pub(super) fn text(value: &Value, index: impl Index) -> Option<&str> {
    value.get(index).and_then(Value::as_str)
}

/// Whether a value is absent, null or a string.
pub(super) fn is_text_or_null(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::String(_)))
}

/// Relation of a member's values in the pieces of a stream to its value in the whole answer. Null adds
/// nothing to any of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Merge {
    /// Pieces of one text.
    Text,
    /// Pieces of one list.
    List,
    /// The same value wherever it is not empty, such as names.
    Same,
    /// The first value that is not empty.
    First,
    /// The last value that is not empty, such as running counts.
    Last,
}

impl Merge {
    /// Returns the rule for a member that is not known. Texts and lists could be pieces or repetitions, so
    /// these may only repeat.
    pub(super) fn of_unknown(value: &Value) -> Merge {
        match value {
            Value::String(_) | Value::Array(_) => Merge::Same,
            _ => Merge::Last,
        }
    }
}

/// Adds a piece to the member `name`. `None`: the two do not go together.
pub(super) fn add(into: &mut Members, name: String, piece: Value, merge: Merge) -> Option<()> {
    let is_of_type = match merge {
        Merge::Text => piece.is_string(),
        Merge::List => piece.is_array(),
        _ => true,
    };
    let whole = into.entry(name).or_insert(Value::Null);
    if piece.is_null() {
        return Some(());
    }
    if !is_of_type {
        return None;
    }
    match (merge, &mut *whole, piece) {
        (_, Value::Null, piece) => *whole = piece,
        (Merge::Text, Value::String(whole), Value::String(piece)) => whole.push_str(&piece),
        (Merge::List, Value::Array(whole), Value::Array(piece)) => whole.extend(piece),
        (Merge::Text | Merge::List, ..) => return None,
        (_, _, piece) if is_empty(&piece) => {}
        (_, whole, piece) if is_empty(whole) => *whole = piece,
        (Merge::First, ..) => {}
        (Merge::Last, whole, piece) if discriminant(whole) == discriminant(&piece) => {
            *whole = piece;
        }
        (Merge::Same, whole, piece) if *whole == piece => {}
        (Merge::Same | Merge::Last, ..) => return None,
    }
    Some(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(_) => false,
    }
}
