//! The members of a JSON body: read so that they can mean one thing only, and set where they stand.
//!
//! A body must not mean one thing here and another at the provider: then the limit that is paid for
//! would not be the one that holds. So a member that matters has one name, written in one way, once.
//! Nothing here may change a byte that was not asked to change.

use super::call::Unreadable;
use super::splice::Splice;
use crate::json::{self, Member};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A body as its text, what matters of it, and where its members stand.
pub fn read<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    known: &[&str],
) -> Result<(&'a str, T, Vec<Member<'a>>), Unreadable> {
    let text =
        std::str::from_utf8(body).map_err(|_| Unreadable("The body is not UTF-8".to_owned()))?;
    // An array would be read as the members in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Unreadable("The body is not a JSON object".to_owned()));
    }
    let body = serde_json::from_str(text)
        .map_err(|error| Unreadable(format!("The body cannot be read: {error}")))?;
    Ok((text, body, members(text, known)?))
}

/// The members of an object that is JSON. A name in disguise is refused, and a known one that is
/// written twice: a provider may read names loosely, and another one of the two.
pub fn members<'a>(text: &'a str, known: &[&str]) -> Result<Vec<Member<'a>>, Unreadable> {
    let (members, _) = json::members(text).unwrap_or_default();
    for (at, Member { name, .. }) in members.iter().enumerate() {
        if name.contains('\\') {
            return Err(Unreadable(
                "Member names must be written without escapes".to_owned(),
            ));
        }
        let Some(known) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            continue;
        };
        if known != name {
            return Err(Unreadable(format!("{name} must be written {known}")));
        }
        if json::member(&members[..at], name).is_some() {
            return Err(Unreadable(format!("{name} is written twice")));
        }
    }
    Ok(members)
}

pub fn model(value: Option<&RawValue>) -> Result<Option<String>, Unreadable> {
    value
        .map(|raw| serde_json::from_str(raw.get()))
        .transpose()
        .map_err(|_| Unreadable("model must be a string".to_owned()))
}

pub fn number(value: Option<&RawValue>, name: &str, least: u64) -> Result<Option<u64>, Unreadable> {
    let wrong = || Unreadable(format!("{name} must be a whole number from {least}"));
    match value.map(RawValue::get) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n >= least)
            .map(Some)
            .ok_or_else(wrong),
    }
}

/// Members to be set: where they stand, or else before all others.
pub struct Edit<'a> {
    pub splice: Splice,
    added: Vec<String>,
    members: &'a [Member<'a>],
}

impl<'a> Edit<'a> {
    pub fn new(members: &'a [Member<'a>]) -> Edit<'a> {
        Edit {
            splice: Splice::default(),
            added: Vec::new(),
            members,
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        match json::member(self.members, name) {
            Some(member) => self.splice.put(member.value.clone(), value),
            None => self.added.push(format!("\"{name}\":{value}")),
        }
    }

    pub fn set_model(&mut self, model: &str) {
        self.set("model", &serde_json::Value::from(model).to_string());
    }

    pub fn apply(mut self, text: &str) -> Vec<u8> {
        if !self.added.is_empty() {
            let start = text.find('{').map_or(0, |brace| brace + 1);
            let comma = if self.members.is_empty() { "" } else { "," };
            self.splice
                .put(start..start, format!("{}{comma}", self.added.join(",")));
        }
        self.splice.apply(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_member_is_written_once_and_in_one_way() {
        let refused = |text| members(text, &["model"]).unwrap_err().0;
        assert_eq!(
            refused(r#"{"model":1,"a":2,"model":3}"#),
            "model is written twice"
        );
        assert_eq!(refused(r#"{"Model":1}"#), "Model must be written model");
        assert!(refused(r#"{"mode\u006c":1}"#).contains("escapes"));
        let other = members(r#"{"model":1,"a":2,"a":3}"#, &["model"]).unwrap();
        assert_eq!(other.len(), 3);
    }

    #[test]
    fn members_are_set_where_they_stand_or_before_all_others() {
        let set = |text: &str| {
            let members = members(text, &["model"]).unwrap();
            let mut edit = Edit::new(&members);
            edit.set_model("a\"b");
            String::from_utf8(edit.apply(text)).unwrap()
        };
        assert_eq!(
            set(r#" {"x":1,"model" : 2}"#),
            r#" {"x":1,"model" : "a\"b"}"#
        );
        assert_eq!(set(r#" {"x":1}"#), r#" {"model":"a\"b","x":1}"#);
        assert_eq!(set("{}"), r#"{"model":"a\"b"}"#);
    }
}
