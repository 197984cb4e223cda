//! Reads a body as loosely as servers do: in any capitals, with letters that fold to others, the first
//! or the last of members that are written twice.

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// How a server takes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As they are written; of two the last counts.
    Exact,
    /// The same, but of two the first counts.
    FirstOfTwo,
    /// As Go's own reader has it: capitals and two letters beyond ASCII do not matter; the last counts.
    Folded,
}

pub struct Body {
    members: Vec<(String, Value)>,
    names: Names,
}

impl Body {
    /// Nothing where it is no object.
    pub fn read(bytes: &[u8], names: Names) -> Option<Body> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let members = reader.deserialize_map(Members).ok()?;
        Some(Body { members, names })
    }

    /// A member that is there and not null.
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

/// Words of everything that a value says.
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
fn a_body_is_read_as_its_server_does() {
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
