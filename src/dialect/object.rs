//! Parses a JSON object that a caller wrote, member by member, and edits its text.
//!
//! One pass validates the object without copying. A body must not mean one thing here and another at the
//! provider, so a known member is refused if it is duplicated, in other capitals or written with escapes.
//! Members that are not set are forwarded as received.

use super::call::{Changes, Unreadable};
use super::splice::Splice;
use super::unknown_members::UnknownMembers;
use crate::json::{self, MAX_DEPTH};
use crate::rules::amount::Tokens;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A parsed JSON object: its text and the raw values of its known members.
#[derive(Debug)]
pub struct Object<'a> {
    text: &'a str,
    known: Vec<(&'static str, &'a RawValue)>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Parses a whole request body. `other` gets every member that is not in `known`.
    pub fn body(
        bytes: &'a [u8],
        known: &[&'static str],
        other: impl FnMut(&'a str, &'a RawValue),
    ) -> Result<Object<'a>, Unreadable> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Unreadable("The body is not UTF-8".to_owned()))?;
        if !json::is_flat(bytes, MAX_DEPTH) {
            return Err(Unreadable(format!(
                "The body is nested more than {MAX_DEPTH} levels deep"
            )));
        }
        Object::read(text, "The body", known, other)
    }

    /// Parses a whole body, and bounds the tokens of members that may be part of the prompt: all that are
    /// neither in `known` nor in `not_prompt`. Those that are not in `read` either are returned as unknown
    /// members.
    pub(crate) fn prompt(
        bytes: &'a [u8],
        known: &[&'static str],
        not_prompt: &[&str],
        read: &[&str],
    ) -> Result<(Object<'a>, Tokens, UnknownMembers), Unreadable> {
        let mut prompt = Tokens::ZERO;
        let mut unknown_members = UnknownMembers::default();
        let body = Object::body(bytes, known, |name, value| {
            unknown_members.record_inside(name, value);
            if not_prompt.contains(&name) {
                prompt = prompt.plus(beyond_a_setting(value));
                return;
            }
            prompt = prompt.plus(Tokens::new(value.get().len() as u64));
            if !read.contains(&name) {
                unknown_members.record_unless_null("", name, value);
            }
        })?;
        Ok((body, prompt, unknown_members))
    }

    /// Parses an object. `name` is its name in a refusal; `other` gets every member that is not in `known`.
    pub fn read(
        text: &'a str,
        name: &str,
        known: &[&'static str],
        other: impl FnMut(&'a str, &'a RawValue),
    ) -> Result<Object<'a>, Unreadable> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Unreadable(format!("{name} is not a JSON object")));
        }
        let mut object = Object {
            text,
            known: Vec::new(),
            is_empty: true,
        };
        let mut refused = None;
        let members = Members {
            names: known,
            object: &mut object,
            other,
            refused: &mut refused,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader
            .deserialize_map(members)
            .and_then(|()| reader.end())
            .map_err(|error| Unreadable(format!("{name} cannot be read: {error}")));
        refused.map_or(read, Err)?;
        Ok(object)
    }

    /// Returns the raw value of a known member, `null` included.
    pub fn written(&self, name: &str) -> Option<&'a RawValue> {
        let mut known = self.known.iter();
        known
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// Returns the raw value of a known member. `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.written(name).filter(|value| value.get() != "null")
    }

    pub fn string(&self, name: &str) -> Result<Option<Cow<'a, str>>, Unreadable> {
        let text = |value: &'a RawValue| {
            string(value).ok_or_else(|| Unreadable(format!("{name} must be a string")))
        };
        self.value(name).map(text).transpose()
    }

    pub fn flag(&self, name: &str) -> Result<bool, Unreadable> {
        match self.value(name).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Unreadable(format!("{name} must be true or false"))),
        }
    }

    pub fn number(&self, name: &str, least: u64) -> Result<Option<u64>, Unreadable> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = value.get().parse().ok().filter(|number| *number >= least);
        number
            .map(Some)
            .ok_or_else(|| Unreadable(format!("{name} must be a whole number from {least}")))
    }
}

/// Returns the bytes of a setting beyond a setting's usual size, as tokens. Some chat templates print a
/// setting into the prompt, whatever its value.
pub(crate) fn beyond_a_setting(value: &RawValue) -> Tokens {
    let text = value.get();
    let usual = match text.starts_with('"') {
        true => 102,
        // Lists and objects such as `stop` and `logit_bias`.
        false => 4_000,
    };
    Tokens::new(text.len().saturating_sub(usual) as u64)
}

/// Returns the unescaped text of a JSON string. `None`: the value is no string.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if text.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(text))
    }
}

/// Returns the byte range of `value` in `text`, from which it must be borrowed.
fn place(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + value.get().len()
}

/// Calls `each` with every element of a list, until one returns an error.
pub fn list<'a>(
    value: &'a RawValue,
    name: &str,
    each: impl FnMut(&'a RawValue) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let mut refused = None;
    let values = Values {
        each,
        refused: &mut refused,
    };
    let read = serde_json::Deserializer::from_str(value.get()).deserialize_seq(values);
    match refused {
        Some(refused) => Err(refused),
        None => read.map_err(|_| Unreadable(format!("{name} must be a list"))),
    }
}

/// Refuses a list inside a list: servers that flatten it find more in it than its bytes bound. `name` is the
/// outer list.
pub(crate) fn no_list(value: &RawValue, name: &str) -> Result<(), Unreadable> {
    if value.get().starts_with('[') {
        return Err(Unreadable(format!("{name} must not hold another list")));
    }
    Ok(())
}

/// Returns the body of a call in which only `model` can change.
pub(crate) fn rewrite_model(
    bytes: &[u8],
    known: &[&'static str],
    changes: &Changes<'_>,
) -> Result<Vec<u8>, Unreadable> {
    let body = Object::body(bytes, known, |_, _| {})?;
    Ok(Edit::of(&body, changes).apply())
}

/// Edits of an object: members to set, in place or else before all others, and members to remove.
pub(crate) struct Edit<'a> {
    object: &'a Object<'a>,
    splice: Splice,
    added: Vec<String>,
    removed: Vec<&'a str>,
}

impl<'a> Edit<'a> {
    pub fn new(object: &'a Object<'a>) -> Edit<'a> {
        Edit {
            object,
            splice: Splice::default(),
            added: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Starts with the changes that every call's body can have: `model` and `prompt_cache_key`.
    pub fn of(object: &'a Object<'a>, changes: &Changes<'_>) -> Edit<'a> {
        let mut edit = Edit::new(object);
        if let Some(model) = changes.model {
            edit.set("model", &serde_json::Value::from(model).to_string());
        }
        if let Some(key) = changes.cache_key
            && object.value("prompt_cache_key").is_some()
        {
            edit.set(
                "prompt_cache_key",
                &serde_json::Value::from(key).to_string(),
            );
        }
        edit
    }

    /// Sets a known member. Other members cannot be set, because their position in the text is not kept.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.object.written(name) {
            Some(old) => self.splice.put(place(self.object.text, old), value),
            None => self.added.push(format!("\"{name}\":{value}")),
        }
    }

    /// Removes a known member, which must not be passed to [`Edit::set`] as well.
    pub fn remove(&mut self, name: &'a str) {
        if self.object.written(name).is_some() {
            self.removed.push(name);
        }
    }

    /// Removes the elements marked `true` from a list anywhere in the object.
    pub(crate) fn thin(&mut self, elements: &[(&RawValue, bool)]) {
        let place = |value| place(self.object.text, value);
        let elements: Vec<_> = elements
            .iter()
            .map(|(value, is_cut)| (place(value), *is_cut))
            .collect();
        self.splice.cut(&elements);
    }

    /// Replaces the value `old`, anywhere in the object.
    pub fn replace(&mut self, old: &RawValue, value: &str) {
        self.splice.put(place(self.object.text, old), value);
    }

    /// Sets a member of `object`, which is the parsed value `within` and nested in this one.
    pub(crate) fn set_within(
        &mut self,
        within: &RawValue,
        object: &Object<'_>,
        name: &str,
        value: &str,
    ) {
        match object.written(name) {
            Some(old) => self.replace(old, value),
            None => {
                let start = place(self.object.text, within).start + 1;
                let comma = if object.is_empty { "" } else { "," };
                let member = format!("\"{name}\":{value}{comma}");
                self.splice.put(start..start, member);
            }
        }
    }

    pub fn apply(mut self) -> Vec<u8> {
        let Object { text, is_empty, .. } = *self.object;
        let mut is_empty = is_empty;
        if !self.removed.is_empty()
            && let Some((members, _)) = json::members(text)
        {
            let members: Vec<_> = members
                .into_iter()
                .map(|member| (member.whole, self.removed.contains(&member.name)))
                .collect();
            is_empty = members.iter().all(|(_, is_cut)| *is_cut);
            self.splice.cut(&members);
        }
        if !self.added.is_empty() {
            let start = text.find('{').map_or(0, |brace| brace + 1);
            let comma = if is_empty { "" } else { "," };
            self.splice
                .put(start..start, format!("{}{comma}", self.added.join(",")));
        }
        self.splice.apply(text.as_bytes())
    }
}

/// Visitor that collects the known members of an object and refuses ambiguous names.
struct Members<'o, 'a, F> {
    names: &'o [&'static str],
    object: &'o mut Object<'a>,
    other: F,
    refused: &'o mut Option<Unreadable>,
}

impl<'a, F: FnMut(&'a str, &'a RawValue)> Visitor<'a> for Members<'_, 'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
        let refused = loop {
            let Some(name) = map.next_key_seed(Name)? else {
                return Ok(());
            };
            let Some(name) = name else {
                break "Member names must be written without escapes".to_owned();
            };
            // JSON parsers in Go fold U+017F to `s` and U+212A to `k`; others fold other letters.
            if !name.is_ascii() {
                break "Member names must be written in ASCII".to_owned();
            }
            let value: &'a RawValue = map.next_value()?;
            self.object.is_empty = false;
            // Providers whose parsers ignore case would take these for the same member.
            let mut names = self.names.iter();
            match names.find(|known| known.eq_ignore_ascii_case(name)) {
                None => (self.other)(name, value),
                Some(known) if *known != name => break format!("{name} must be written {known}"),
                Some(known) if self.object.written(known).is_some() => {
                    break format!("{known} is written twice");
                }
                Some(known) => self.object.known.push((known, value)),
            }
        };
        *self.refused = Some(Unreadable(refused));
        Err(M::Error::custom("refused"))
    }
}

/// Deserialises a member's name. `None`: it has escapes, which would hide it from a plain byte comparison.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Option<&'a str>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Option<&'a str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'a str) -> Result<Self::Value, E> {
        Ok(Some(name))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct Values<'o, F> {
    each: F,
    refused: &'o mut Option<Unreadable>,
}

impl<'a, F: FnMut(&'a RawValue) -> Result<(), Unreadable>> Visitor<'a> for Values<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'a>>(mut self, mut list: S) -> Result<(), S::Error> {
        while let Some(value) = list.next_element()? {
            if let Err(refused) = (self.each)(value) {
                *self.refused = Some(refused);
                return Err(S::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Object<'_>, Vec<&str>), Unreadable> {
        let mut others = Vec::new();
        let object = Object::body(text.as_bytes(), &["a", "b"], |name, _| others.push(name))?;
        Ok((object, others))
    }

    #[test]
    fn known_members_are_kept_and_the_others_are_heard_of() {
        let (object, others) = read(r#" {"a":"x\ny","c":1,"b":null,"c":{"a":2}} "#).unwrap();
        assert_eq!(object.string("a").unwrap().as_deref(), Some("x\ny"));
        assert_eq!(object.number("b", 1), Ok(None));
        assert_eq!(others, ["c", "c"]);
    }

    #[test]
    fn an_object_that_could_be_read_in_two_ways_is_refused() {
        for bad in [
            "",
            "[]",
            "{} {}",
            r#"{"a":1"#,
            r#"{"a":1,"a":2}"#,
            r#"{"A":1}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":nil}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_known_member_is_written_once_and_in_one_way() {
        let refused = |text| {
            let read = Object::read(text, "It", &["model"], |_, _| {});
            read.unwrap_err().0
        };
        assert_eq!(
            refused(r#"{"model":1,"a":2,"model":3}"#),
            "model is written twice"
        );
        assert_eq!(refused(r#"{"Model":1}"#), "Model must be written model");
        assert!(refused(r#"{"mode\u006c":1}"#).contains("escapes"));
        assert!(refused(r#"{"\u0078":1}"#).contains("escapes"));
    }

    #[test]
    fn a_number_has_a_least_value() {
        let (object, _) = read(r#"{"a":0,"b":1.0}"#).unwrap();
        assert_eq!(object.number("a", 0), Ok(Some(0)));
        assert!(object.number("a", 1).unwrap_err().0.ends_with("from 1"));
        assert!(object.number("b", 0).is_err());
    }

    #[test]
    fn a_model_is_set_where_it_stands_or_before_all_others() {
        for (text, expected) in [
            (r#" {"x":1,"model" : 2}"#, r#" {"x":1,"model" : "a\"b"}"#),
            (r#" {"x":1}"#, r#" {"model":"a\"b","x":1}"#),
            ("{}", r#"{"model":"a\"b"}"#),
        ] {
            let object = Object::read(text, "It", &["model"], |_, _| {}).unwrap();
            let changes = Changes {
                model: Some("a\"b"),
                ..Changes::default()
            };
            assert_eq!(Edit::of(&object, &changes).apply(), expected.as_bytes());
        }
    }

    #[test]
    fn members_are_set_where_they_stand_or_before_all_others() {
        for (text, expected) in [
            (
                " { \"a\" : null , \"c\":1 } ",
                " {\"b\":7, \"a\" : 7 , \"c\":1 } ",
            ),
            ("{}", r#"{"a":7,"b":7}"#),
        ] {
            let (object, _) = read(text).unwrap();
            let mut edit = Edit::new(&object);
            edit.set("a", "7");
            edit.set("b", "7");
            assert_eq!(edit.apply(), expected.as_bytes());
        }
    }

    #[test]
    fn members_are_taken_out_with_their_commas() {
        for (text, expected) in [
            (r#"{"a":1,"c":2,"b":3}"#, r#"{"d":0,"c":2}"#),
            (r#"{ "c":2 , "a":1, "b":3 }"#, r#"{"d":0, "c":2 }"#),
            (r#"{"a":1,"b":3}"#, r#"{"d":0}"#),
            (r#"{"c":1}"#, r#"{"d":0,"c":1}"#),
        ] {
            let (object, _) = read(text).unwrap();
            let mut edit = Edit::new(&object);
            edit.remove("a");
            edit.remove("b");
            edit.set("d", "0");
            assert_eq!(edit.apply(), expected.as_bytes());
        }
    }

    #[test]
    fn nested_members_are_set_and_thinned() {
        let text = r#"{"a":[{"x":1}, {}, {"y":0}]}"#;
        let (object, _) = read(text).unwrap();
        let mut edit = Edit::new(&object);
        let mut elements = Vec::new();
        list(object.value("a").unwrap(), "a", |value| {
            let within = Object::read(value.get(), "It", &["x"], |_, _| {})?;
            edit.set_within(value, &within, "x", "7");
            elements.push((value, value.get().contains('y')));
            Ok(())
        })
        .unwrap();
        elements.remove(2);
        edit.thin(&elements);
        assert_eq!(edit.apply(), br#"{"a":[{"x":7}, {"x":7}, {"x":7,"y":0}]}"#);
        let mut edit = Edit::new(&object);
        let mut elements = Vec::new();
        list(object.value("a").unwrap(), "a", |value| {
            elements.push((value, value.get() != "{}"));
            Ok(())
        })
        .unwrap();
        edit.thin(&elements);
        assert_eq!(edit.apply(), br#"{"a":[{}]}"#);
    }

    #[test]
    fn a_list_is_read_until_one_of_its_values_is_refused() {
        let value: &RawValue = serde_json::from_str("[1, 2, 3]").unwrap();
        let mut seen = Vec::new();
        let refused = list(value, "it", |value| {
            seen.push(value.get());
            match value.get() {
                "2" => Err(Unreadable("no".to_owned())),
                _ => Ok(()),
            }
        });
        assert_eq!(
            (refused, seen),
            (Err(Unreadable("no".to_owned())), vec!["1", "2"])
        );
        let value: &RawValue = serde_json::from_str("{}").unwrap();
        assert!(list(value, "it", |_| Ok(())).is_err());
    }
}
