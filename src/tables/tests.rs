//! Tests of tables and value types: accepted values, rejected values, error messages, what is written about rows.

use super::*;
use crate::url::Origin;
use serde_json::{Value, json};
use std::time::Duration;

/// Reads a text as a setting.
pub fn read<T>(form: &ValueType<T>, text: &str) -> Result<T, String> {
    let value = Value::String(text.to_owned());
    let mut reading = Reading::of_settings(|_| None);
    let read = (form.read)(&Node::root(&value), &mut reading);
    reading
        .faults
        .none_or(read)
        .map_err(|faults| faults.to_string())
}

struct Plain;

impl Opener for Plain {
    fn open(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Secret, String> {
        let goes = goes.map_or("nowhere", |origin| origin.host.as_str());
        Ok(Secret::new(format!("{} for {goes}", node.value())))
    }
}

table! {
    /// A thing.
    struct Thing unknown Kept {
        /// Its size.
        size: u64 = whole(1, 9);
        /// Its names.
        ///
        /// ```text
        /// as they are
        /// ```
        names: Vec<String> = list(words(), 0).default("[a]").shown("[b]");
        /// Its parts.
        parts: Vec<(String, Part)> = by_name(object()).default("{}");
    }
}

table! {
    /// A part.
    struct Part unknown Refused {
        /// Where it is.
        url: Option<crate::url::Url> = url().optional();
        /// What opens it.
        key: Option<Secret> = opened_line(Goes::Beside("url")).optional().named("api_key");
    }
    check has_url;
}

fn has_url(part: &Node<'_>, reading: &mut Reading<'_>) {
    if part.field("url").is_none() {
        reading.fault_at(part.child_path("url"), "is required here");
    }
}

fn thing(value: &Value) -> (Option<Thing>, Vec<String>, Vec<String>) {
    let mut reading = Reading::of_json(&Plain);
    let thing = Thing::read(&Node::root(value), &mut reading);
    let shown = |faults: &[Fault]| faults.iter().map(ToString::to_string).collect();
    (thing, shown(&reading.faults.0), shown(&reading.warnings))
}

#[test]
fn table_is_read_with_defaults_and_siblings() {
    let part = json!({"url": "https://a.example/x", "api_key": 1});
    let (read, faults, _) = thing(&json!({"size": 3, "parts": {"p": part}, "names": null}));

    assert_eq!(faults, Vec::<String>::new());
    let read = read.unwrap();
    assert_eq!((read.size, read.names), (3, vec!["a".to_owned()]));
    let (name, part) = &read.parts[0];
    let key = part.key.as_ref().map(Secret::expose);
    assert_eq!((name.as_str(), key), ("p", Some("1 for a.example")));
}

#[test]
fn all_faults_of_a_table_are_found_at_once() {
    let (read, faults, warnings) = thing(&json!({
        "size": 10, "names": [1, ""], "siz": 1, "other": 2, "parts": {"a b": {"urk": 1}, "c": 3},
    }));

    assert!(read.is_none());
    let expected = [
        "size: expected a whole number from 1 to 9, not 10",
        "names.0: expected a string, not a number",
        "names.1: must not be empty",
        "parts.a b: a name is 1 to 64 letters, digits, _, . and -",
        "parts.a b.urk: unknown setting (did you mean url?)",
        "parts.a b.url: is required here",
        "parts.c: expected an object, not a number",
    ];
    assert_eq!(faults, expected);
    assert_eq!(warnings, ["siz: unknown setting (did you mean size?)"]);
    assert_eq!(thing(&json!({})).1, ["size: is required"]);
    assert_eq!(thing(&json!([])).1, ["expected an object, not a list"]);
}

#[test]
fn schema_says_what_the_reader_takes() {
    let schema = schema::of::<Thing>(Source::Json);

    assert_eq!(schema["required"], json!(["size"]));
    let properties = &schema["properties"];
    assert_eq!(properties["names"]["default"], json!(["a"]));
    assert_eq!(properties["names"]["type"], json!(["array", "null"]));
    assert_eq!(
        properties["size"],
        json!({"type": "integer", "minimum": 1, "maximum": 9, "description": "Its size."})
    );
    let part = &properties["parts"]["additionalProperties"];
    assert_eq!(part["additionalProperties"], false);
    assert!(is_secret(&part["properties"]["api_key"]));
    assert!(!is_secret(&part["properties"]["url"]));
}

#[test]
fn rows_are_written_as_yaml_and_as_markdown() {
    let yaml = page::yaml_file(&Thing::rows());
    let expected = "# Its size.\n# size:\n\n# Its names.\n#   as they are\nnames: [a]\n\n# Its parts.\nparts: {}\n\n";
    assert_eq!(yaml, expected);

    let page = page::reference(&Thing::rows(), Source::Json);
    assert!(
        page.contains("### `size`\n\nIts size.\n\nRequired.\n"),
        "{page}"
    );
    assert!(
        page.contains("```text\nas they are\n```\n\nDefault: `[a]`.\nExample: `[b]`.\n"),
        "{page}"
    );
    assert!(page.contains("### `parts.<name>.api_key`"), "{page}");
}

#[test]
fn sizes_are_bytes_with_a_unit_or_without() {
    let cases = [
        ("1", Some(1)),
        ("10B", Some(10)),
        ("1KiB", Some(1024)),
        ("32MiB", Some(32 << 20)),
        ("2 GiB", Some(2 << 30)),
        ("10MB", Some(10_000_000)),
        ("0", None),
        ("", None),
        ("1.5MB", None),
        ("-1", None),
        ("10M", None),
        ("many", None),
        ("99999999999GiB", None),
    ];
    for (text, meant) in cases {
        assert_eq!(read(&size(), text).ok(), meant, "{text}");
    }
    assert_eq!(
        read(&size(), "many").unwrap_err(),
        "expected a size such as 32MiB, not \"many\""
    );
}

#[test]
fn durations_are_sums_of_numbers_with_units() {
    let cases = [
        ("500ms", Some(500)),
        ("30s", Some(30_000)),
        ("1m30s", Some(90_000)),
        ("24h", Some(86_400_000)),
        ("1d12h", Some(129_600_000)),
        ("0s", Some(0)),
        ("", None),
        ("30", None),
        ("s", None),
        ("1.5s", None),
        ("1x", None),
        ("4000d", None),
        ("99999999999999999999s", None),
    ];
    for (text, millis) in cases {
        let meant = millis.map(Duration::from_millis);
        assert_eq!(read(&span(Duration::ZERO), text).ok(), meant, "{text}");
    }
    let least = span(Duration::from_secs(5));
    assert_eq!(
        read(&least, "4s").unwrap_err(),
        "expected a duration such as 30s or 1m30s, at least 5s, not \"4s\""
    );
}

#[test]
fn a_list_may_be_one_text_with_commas() {
    let form = list(whole::<u64>(1, 9), 1);
    assert_eq!(read(&form, "1, 2").unwrap(), [1, 2]);
    assert!(read(&form, "1,").is_err());
    let mut reading = Reading::of_settings(|_| None);
    assert!((form.read)(&Node::root(&json!([])), &mut reading).is_none());
    assert_eq!(reading.faults.to_string(), "expected a list of at least 1");
}

#[test]
fn counts_and_choices_name_what_they_take() {
    let threads = whole::<usize>(1, 64);
    assert_eq!(read(&threads, "64"), Ok(64));
    assert_eq!(
        read(&threads, "65").unwrap_err(),
        "expected a whole number from 1 to 64, not \"65\""
    );
    assert_eq!(
        read(&whole::<u64>(1, u64::MAX), "0").unwrap_err(),
        "expected a whole number of at least 1, not \"0\""
    );
    let sides = choice([("left", 1), ("right", 2)]);
    assert_eq!(read(&sides, "right"), Ok(2));
    assert_eq!(
        read(&sides, "up").unwrap_err(),
        "expected left or right, not \"up\""
    );
    assert_eq!(
        read(&boolean(), "yes").unwrap_err(),
        "expected true or false, not \"yes\""
    );
}
