//! Unknown members of a body, by their parent object and their name.
//!
//! `members.rs` decides for an endpoint whether they may be forwarded. None may be dropped: a body with more
//! than `MAX_UNKNOWN_MEMBERS` is refused.

use super::call::Unreadable;
use crate::json;
use serde_json::value::RawValue;

/// Maximum number of unknown members in one body. No client sends as many.
const MAX_UNKNOWN_MEMBERS: usize = 50;

/// Longest member name kept, in bytes. No known member has a longer name.
const MAX_NAME_BYTES: usize = 64;

/// Objects of a body that control the answer, with their known members. Any other member in them is an
/// unknown member of the body.
const CLOSED_OBJECTS: &[(&str, &[&str])] = &[
    ("audio", &["format", "voice"]),
    ("input_audio", &["data", "format"]),
    ("output_config", &["effort", "format"]),
    ("prediction", &["content", "type"]),
    (
        "reasoning",
        &["context", "effort", "generate_summary", "summary"],
    ),
    ("response_format", &["json_schema", "schema", "type"]),
    ("text", &["format", "verbosity"]),
    ("thinking", &["budget_tokens", "display", "type"]),
    ("usage", &["include"]),
    ("voice", &["id"]),
];

/// Unknown members collected while a body is parsed.
#[derive(Debug, Default)]
pub(crate) struct UnknownMembers {
    names: Vec<String>,
    are_too_many: bool,
}

impl UnknownMembers {
    /// Records a member of the object `of`, or of the body itself if `of` is empty. A `null` value counts as
    /// absent.
    pub(crate) fn record_unless_null(&mut self, of: &str, name: &str, value: &RawValue) {
        if value.get() != "null" {
            self.record(of, name);
        }
    }

    /// Records the unknown members inside the member `name`, if `CLOSED_OBJECTS` lists it.
    pub(crate) fn record_inside(&mut self, name: &str, value: &RawValue) {
        let closed = CLOSED_OBJECTS.iter().find(|(closed, _)| *closed == name);
        if let Some((_, known)) = closed {
            json::each_member(value.get().as_bytes(), |inner, value| {
                if !known.contains(&inner) && value != b"null" {
                    self.record(name, inner);
                }
            });
        }
    }

    /// Records a member once, as `name` or `of.name`.
    pub fn record(&mut self, of: &str, name: &str) {
        let end = name.floor_char_boundary(MAX_NAME_BYTES);
        let name = &name[..end];
        let is_it = |known: &String| match known.strip_suffix(name) {
            Some("") => of.is_empty(),
            Some(before) => before.strip_suffix('.') == Some(of),
            None => false,
        };
        if self.names.iter().any(is_it) {
            return;
        }
        if self.names.len() == MAX_UNKNOWN_MEMBERS {
            self.are_too_many = true;
        } else if of.is_empty() {
            self.names.push(name.to_owned());
        } else {
            self.names.push(format!("{of}.{name}"));
        }
    }

    /// Returns the recorded names. An error if there were more than `MAX_UNKNOWN_MEMBERS`.
    pub fn names(self) -> Result<Vec<String>, Unreadable> {
        if self.are_too_many {
            let why = format!("The body has more than {MAX_UNKNOWN_MEMBERS} unknown members");
            return Err(Unreadable(why));
        }
        Ok(self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_remembered_once_by_its_place() {
        let null: &RawValue = serde_json::from_str("null").unwrap();
        let mut unknown_members = UnknownMembers::default();
        for of in ["", "messages", "", "messages"] {
            unknown_members.record(of, "a");
            unknown_members.record_unless_null(of, "b", null);
        }
        unknown_members.record("", "messages.a");
        unknown_members.record("content", &"é".repeat(50));
        let names = unknown_members.names().unwrap();
        assert_eq!(names[..2], ["a", "messages.a"]);
        assert_eq!(names[2], format!("content.{}", "é".repeat(32)));
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn objects_that_say_how_to_answer_are_closed() {
        let mut unknown_members = UnknownMembers::default();
        for (name, value) in [
            (
                "reasoning",
                r#"{"effort":"low","max_tokens":9,"Effort":"x","a":null}"#,
            ),
            ("text", r#"{"format":{"type":"text","any":1}}"#),
            ("reasoning", "\"high\""),
            ("tools", r#"{"any":1}"#),
        ] {
            unknown_members.record_inside(name, serde_json::from_str(value).unwrap());
        }
        let names = unknown_members.names().unwrap();
        assert_eq!(names, ["reasoning.max_tokens", "reasoning.Effort"]);
    }

    #[test]
    fn none_is_forgotten() {
        let mut unknown_members = UnknownMembers::default();
        (0..MAX_UNKNOWN_MEMBERS).for_each(|at| unknown_members.record("", &at.to_string()));
        unknown_members.record("", "0");
        assert!(!unknown_members.are_too_many);
        unknown_members.record("", "x");
        assert!(unknown_members.names().is_err());
    }
}
