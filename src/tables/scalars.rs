//! Value types of single values: texts, numbers, sizes, durations, choices.

use super::node::Node;
use super::reading::{Reading, Source};
use super::value_type::ValueType;
use crate::url::{MAX_URL_BYTES, Url};
use base64::{
    Engine, alphabet,
    engine::DecodePaddingMode,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Upper bound of every duration (10 years): adding a longer one to a clock could overflow.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

/// The largest number that JSON readers in every language keep exact.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

pub(super) const NOT_A_LINE: &str = "must not have line ends or control characters";

/// Builds a type from a parser of texts. The error is the whole message, which may hide the value.
pub fn parsed<T: 'static>(
    schema: Value,
    parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
) -> ValueType<T> {
    ValueType::new(schema, move |node, reading| {
        let Some(text) = reading.text(node) else {
            let expected = match reading.source() {
                Source::Settings => "a text",
                Source::Json => "a string",
            };
            reading.expected(node, expected);
            return None;
        };
        parse(text)
            .map_err(|message| reading.fault(node, message))
            .ok()
    })
}

/// Builds a type from a parser of texts. The error is `expected …, not …`, so this is not for secrets.
pub fn plain<T: 'static>(
    expected: &'static str,
    schema: Value,
    meant: fn(&str) -> Option<T>,
) -> ValueType<T> {
    scalar(expected, schema, move |node, reading| {
        meant(reading.text(node)?)
    })
}

/// Builds a type. The error is `expected …, not …`.
fn scalar<T: 'static>(
    expected: impl Into<String>,
    schema: Value,
    meant: impl Fn(&Node<'_>, &Reading<'_>) -> Option<T> + Send + Sync + 'static,
) -> ValueType<T> {
    let report =
        |reading: &mut Reading<'_>, node: &Node<'_>, what: &str| reading.expected(node, what);
    reported(expected.into(), schema, report, meant)
}

/// Like [`scalar`]; the error names the number.
fn numeric<T: 'static>(
    expected: impl Into<String>,
    schema: Value,
    meant: impl Fn(&Node<'_>, &Reading<'_>) -> Option<T> + Send + Sync + 'static,
) -> ValueType<T> {
    let report = |reading: &mut Reading<'_>, node: &Node<'_>, what: &str| {
        reading.expected_number(node, what);
    };
    reported(expected.into(), schema, report, meant)
}

fn reported<T: 'static>(
    expected: String,
    schema: Value,
    report: fn(&mut Reading<'_>, &Node<'_>, &str),
    meant: impl Fn(&Node<'_>, &Reading<'_>) -> Option<T> + Send + Sync + 'static,
) -> ValueType<T> {
    ValueType::new(schema, move |node, reading| {
        let value = meant(node, reading);
        if value.is_none() {
            report(reading, node, &expected);
        }
        value
    })
}

/// A string.
pub fn text(expected: &'static str) -> ValueType<String> {
    scalar(expected, json!({"type": "string"}), |node, reading| {
        Some(reading.text(node)?.to_owned())
    })
}

/// A string, a number, `true` or `false`, as it stands.
pub fn primitive() -> ValueType<Value> {
    let schema = json!({"type": ["string", "number", "boolean"]});
    scalar("a string, a number, true or false", schema, |node, _| {
        let value = node.value();
        let is_primitive = value.is_string() || value.is_number() || value.is_boolean();
        is_primitive.then(|| value.clone())
    })
}

/// A string without control characters, which may be written to a header, a URL or a log line.
pub fn line() -> ValueType<String> {
    text("a string").check(|text| match text.chars().any(char::is_control) {
        true => Err(NOT_A_LINE),
        false => Ok(()),
    })
}

/// Such a string that is not empty.
pub fn words() -> ValueType<String> {
    let words = line().check(|text| match text.is_empty() {
        true => Err("must not be empty"),
        false => Ok(()),
    });
    words.with_schema(json!({"minLength": 1}))
}

/// The path of a file or a directory, which is not opened here.
pub fn file() -> ValueType<PathBuf> {
    let schema = json!({"type": "string", "minLength": 1});
    scalar("the path of a file", schema, |node, reading| {
        let path = reading.text(node).filter(|path| !path.is_empty())?;
        Some(PathBuf::from(path))
    })
}

/// The URL of a provider.
pub fn url() -> ValueType<Url> {
    let schema = json!({
        "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$", "maxLength": MAX_URL_BYTES,
    });
    parsed(schema, |text| Url::parse(text).map_err(str::to_owned))
}

/// `true` or `false`.
pub fn boolean() -> ValueType<bool> {
    let schema = json!({"type": "boolean"});
    scalar("true or false", schema, |node, reading| {
        match reading.source() {
            Source::Settings => reading.text(node)?.parse().ok(),
            Source::Json => node.value().as_bool(),
        }
    })
}

/// A whole number from `least` to `most`, in any JSON notation: `1000`, `1e3` and `1000.0` are the same.
pub fn whole<T: TryFrom<u64> + 'static>(least: u64, most: u64) -> ValueType<T> {
    let mut schema = json!({"type": "integer", "minimum": least});
    let mut expected = format!("a whole number of at least {least}");
    if most < u64::MAX {
        schema["maximum"] = most.into();
        expected = format!("a whole number from {least} to {most}");
    }
    numeric(expected, schema, move |node, reading| {
        let number = match reading.source() {
            Source::Settings => reading.text(node)?.parse().ok()?,
            Source::Json => exact(node.value())?,
        };
        let fits = (least..=most).contains(&number);
        T::try_from(number).ok().filter(|_| fits)
    })
}

fn exact(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        // Every whole float up to 2^53 is exact; larger ones are out of every range here.
        let exact = float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float);
        exact.then_some(float as u64)
    })
}

/// A size in bytes, with an optional unit: `32MiB`, `10MB`, `512`. At least 1.
pub fn size() -> ValueType<u64> {
    let schema = json!({"anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[0-9]+ ?([KMG]i?B|B)?$"},
    ]});
    scalar("a size such as 32MiB", schema, |node, reading| {
        bytes(reading.text(node)?).filter(|&bytes| bytes > 0)
    })
}

/// A duration such as `1m30s`, from `least` to [`MAX_DURATION`].
pub fn span(least: Duration) -> ValueType<Duration> {
    let mut expected = "a duration such as 30s or 1m30s".to_owned();
    if least >= Duration::from_secs(1) {
        expected.push_str(&format!(", at least {}s", least.as_secs()));
    }
    let schema = json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"});
    scalar(expected, schema, move |node, reading| {
        duration(reading.text(node)?).filter(|span| (least..=MAX_DURATION).contains(span))
    })
}

/// One of a fixed set of names, mapped to a value.
pub fn choice<T: Copy + Send + Sync + 'static>(
    choices: impl IntoIterator<Item = (&'static str, T)>,
) -> ValueType<T> {
    let choices: Vec<(&str, T)> = choices.into_iter().collect();
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let expected = match names.as_slice() {
        [most @ .., last] if (1..4).contains(&most.len()) => {
            format!("{} or {last}", most.join(", "))
        }
        names => format!("one of {}", names.join(", ")),
    };
    scalar(expected, json!({"enum": names}), move |node, reading| {
        let text = reading.text(node)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, meant)| *meant)
    })
}

/// A number that `meant` turns into a value.
pub fn number<T: 'static>(
    expected: &'static str,
    schema: Value,
    meant: fn(f64) -> Option<T>,
) -> ValueType<T> {
    numeric(expected, schema, move |node, reading| {
        meant(match reading.source() {
            Source::Settings => reading.text(node)?.parse().ok()?,
            Source::Json => node.value().as_f64()?,
        })
    })
}

/// Decodes 32 bytes from 64 hex digits, or from base64 with the standard or URL-safe alphabet, padded or not.
pub(crate) fn bytes_of_hex_or_base64(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() == 64 {
        return hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes);
    }
    let any_padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [&alphabet::STANDARD, &alphabet::URL_SAFE];
    alphabets.into_iter().find_map(|alphabet| {
        let bytes = GeneralPurpose::new(alphabet, any_padding).decode(text);
        bytes.ok()?.try_into().ok()
    })
}

/// Parses a size; `KB`, `MB`, `GB` are powers of 1000, `KiB`, `MiB`, `GiB` powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_rest(text)?;
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Parses a sum of numbers with units: `ms`, `s`, `m`, `h`, `d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut millis: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = number_and_rest(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        millis = millis.checked_add(number.checked_mul(factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

fn number_and_rest(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((number.parse().ok()?, rest))
}
