//! Members of a JSON object, taken one by one: what nobody has taken at the end is refused by name.

pub(super) use super::conversation::not_carried;
use super::conversation::{ContentPart, Json, Removed};
use crate::dialect::call::Unreadable;
use crate::dialect::object;
use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Object whose members are being taken.
pub(super) struct BodyFields<'a> {
    /// Where the object stands, such as `messages.content`; empty for the body.
    place: &'static str,
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> BodyFields<'a> {
    pub(crate) fn of(
        value: &'a RawValue,
        place: &'static str,
    ) -> Result<BodyFields<'a>, Unreadable> {
        BodyFields::checked(members_of(value, place)?, place)
    }

    /// Reads an object of Protocol Buffers, whose members have two spellings: they are taken by that in camel case.
    pub(crate) fn of_proto(
        value: &'a RawValue,
        place: &'static str,
    ) -> Result<BodyFields<'a>, Unreadable> {
        let mut members = members_of(value, place)?;
        for (name, _) in &mut members {
            if name.contains('_') {
                *name = camel(name);
            }
        }
        BodyFields::checked(members, place)
    }

    fn checked(
        members: Vec<(String, &'a RawValue)>,
        place: &'static str,
    ) -> Result<BodyFields<'a>, Unreadable> {
        // A caller may write any number of members.
        let mut before = HashSet::with_capacity(members.len());
        if let Some((name, _)) = members.iter().find(|(name, _)| !before.insert(name)) {
            let name = named(place, name);
            return Err(Unreadable(format!("{name} is written twice")));
        }
        Ok(BodyFields { place, members })
    }

    /// Takes a member. `None`: it is absent or null.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.members.swap_remove(at);
        (value.get() != "null").then_some(value)
    }

    /// Returns a member that is not taken yet.
    pub(crate) fn peek(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.members.iter();
        let (_, value) = members.find(|(known, _)| known == name)?;
        (value.get() != "null").then_some(value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.peek(name).is_some()
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Unreadable> {
        let place = self.place;
        let text = |value| {
            let text = object::string(value).map(Cow::into_owned);
            text.ok_or_else(|| must_be(place, name, "a string"))
        };
        self.take(name).map(text).transpose()
    }

    /// Takes a text that must be there.
    pub(crate) fn needed_text(&mut self, name: &str) -> Result<String, Unreadable> {
        let place = self.place;
        let text = self.text(name)?;
        text.ok_or_else(|| Unreadable(format!("{} is required", named(place, name))))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Unreadable> {
        match self.take(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(must_be(self.place, name, "true or false")),
        }
    }

    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<u64>, Unreadable> {
        let place = self.place;
        let number = |value: &RawValue| {
            let number = value.get().parse().ok();
            number.ok_or_else(|| must_be(place, name, "a whole number"))
        };
        self.take(name).map(number).transpose()
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<Json>, Unreadable> {
        let place = self.place;
        let number = |value: &RawValue| {
            let is_number = value.get().parse::<f64>().is_ok();
            is_number
                .then(|| Json::of(value))
                .ok_or_else(|| must_be(place, name, "a number"))
        };
        self.take(name).map(number).transpose()
    }

    pub(crate) fn object(
        &mut self,
        name: &str,
        place: &'static str,
    ) -> Result<Option<BodyFields<'a>>, Unreadable> {
        self.take(name)
            .map(|value| BodyFields::of(value, place))
            .transpose()
    }

    /// Takes the elements of a list; an absent one is empty.
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<&'a RawValue>, Unreadable> {
        match self.take(name) {
            Some(value) => {
                let list = elements(value);
                list.ok_or_else(|| must_be(self.place, name, "a list"))
            }
            None => Ok(Vec::new()),
        }
    }

    /// Leaves a member out that only tunes the answer.
    pub(crate) fn tune(&mut self, name: &str, removed: &mut Removed) {
        if self.take(name).is_some() {
            removed.add(&named(self.place, name));
        }
    }

    /// Ends the reading: members that only tune the answer are left out, any other is refused.
    pub(crate) fn end(mut self, tuning: &[&str], removed: &mut Removed) -> Result<(), Unreadable> {
        for name in tuning {
            self.tune(name, removed);
        }
        self.members.retain(|(_, value)| value.get() != "null");
        match self.members.first() {
            Some((name, _)) => Err(not_carried(&named(self.place, name))),
            None => Ok(()),
        }
    }
}

fn members_of<'a>(
    value: &'a RawValue,
    place: &str,
) -> Result<Vec<(String, &'a RawValue)>, Unreadable> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    let members = reader.deserialize_map(MembersVisitor);
    members.map_err(|_| Unreadable(format!("{place} must be an object")))
}

/// Returns a name with underscores in camel case. An underscore at its beginning stays.
pub(super) fn camel(name: &str) -> String {
    let mut written = String::with_capacity(name.len());
    let mut is_next_large = false;
    for (at, char) in name.char_indices() {
        match char {
            '_' if at > 0 => is_next_large = true,
            char if is_next_large => {
                written.push(char.to_ascii_uppercase());
                is_next_large = false;
            }
            char => written.push(char),
        }
    }
    written
}

/// Error: a thing of this type cannot be carried.
pub(super) fn no_type(what: &str, kind: &str) -> Unreadable {
    not_carried(&format!("{what} of type {}", shown(kind)))
}

/// Returns a caller's word as it may stand in an error.
fn shown(word: &str) -> String {
    word.chars().take(64).flat_map(char::escape_debug).collect()
}

fn named(place: &str, name: &str) -> String {
    let name = shown(name);
    match place {
        "" => name,
        place => format!("{place}.{name}"),
    }
}

fn must_be(place: &str, name: &str, what: &str) -> Unreadable {
    Unreadable(format!("{} must be {what}", named(place, name)))
}

/// Returns the elements of a list. `None`: it is none.
pub(super) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    reader.deserialize_seq(ElementsVisitor).ok()
}

/// Returns the elements of a list, or the value that stands for a list of one, as Protocol Buffers take it.
pub(super) fn one_or_more(value: Option<&RawValue>) -> Vec<&RawValue> {
    let Some(value) = value else {
        return Vec::new();
    };
    elements(value).unwrap_or_else(|| vec![value])
}

/// Reads content: a text, or a list of which `each` reads an element. Empty texts are left out. `place`: its name in an
/// error.
pub(super) fn content(
    content: &RawValue,
    place: &str,
    mut each: impl FnMut(&RawValue) -> Result<ContentPart, Unreadable>,
) -> Result<Vec<ContentPart>, Unreadable> {
    let mut parts = Vec::new();
    if let Some(text) = object::string(content) {
        parts.push(ContentPart::Text(text.into_owned()));
    } else if let Some(list) = elements(content) {
        for element in list {
            parts.push(each(element)?);
        }
    } else {
        return Err(Unreadable(format!("{place} must be a string or a list")));
    }
    parts.retain(|part| !matches!(part, ContentPart::Text(text) if text.is_empty()));
    Ok(parts)
}

struct MembersVisitor;

impl<'a> Visitor<'a> for MembersVisitor {
    type Value = Vec<(String, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

struct ElementsVisitor;

impl<'a> Visitor<'a> for ElementsVisitor {
    type Value = Vec<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        let mut elements = Vec::new();
        while let Some(value) = list.next_element()? {
            elements.push(value);
        }
        Ok(elements)
    }
}
