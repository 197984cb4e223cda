//! Lenient JSON parsing like servers': any case, folded letters, and the first or the last of duplicate
//! members.

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Name matching of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Exact; the last duplicate counts.
    Exact,
    /// Exact; the first duplicate counts.
    FirstOfTwo,
    /// Like Go's `encoding/json`: ASCII case and two non-ASCII letters are folded; the last duplicate counts.
    Folded,
}

pub struct Body {
    members: Vec<(String, Value)>,
    names: Names,
}

impl Body {
    /// `None`: not an object.
    pub fn read(bytes: &[u8], names: Names) -> Option<Body> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let members = reader.deserialize_map(Members).ok()?;
        Some(Body { members, names })
    }

    /// Value of a member that is present and not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let is_it = |written: &str| match self.names {
            Names::Folded => fold(written) == name,
            Names::Exact | Names::FirstOfTwo => written == name,
        };
        let mut fits = self
            .members
            .iter()
            .filter(|(written, value)| is_it(written) && !value.is_null())
            .map(|(_, value)| value);
        match self.names {
            Names::FirstOfTwo => fits.next(),
            Names::Exact | Names::Folded => fits.next_back(),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }
}

fn fold(name: &str) -> String {
    let one = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(one).collect()
}

/// Number of words in all texts of a value.
pub fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(values) => values.iter().map(words).sum(),
        Value::Object(members) => members.values().map(words).sum(),
        _ => 0,
    }
}

struct Members;

impl<'a> Visitor<'a> for Members {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[test]
fn loose_reader_reads_bodies_like_servers() {
    let text = "{\"max_tokens\":1,\"Max_To\u{212a}en\u{17f}\":2,\"n\":3,\"n\":4,\"N\":null}";
    let read = |names, name| {
        let body = Body::read(text.as_bytes(), names).unwrap();
        body.get(name).and_then(Value::as_u64)
    };

    assert_eq!(read(Names::Folded, "max_tokens"), Some(2));
    assert_eq!(read(Names::Exact, "max_tokens"), Some(1));
    assert_eq!(read(Names::Exact, "n"), Some(4));
    assert_eq!(read(Names::FirstOfTwo, "n"), Some(3));
    assert_eq!(words(&serde_json::json!([{"a": "one two"}, "three", 4])), 3);
}
