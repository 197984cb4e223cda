//! Usage records as sums read them, and what they can be summed by.

use crate::rules::money::Amount;
use serde::Deserialize;
use std::borrow::Cow;

/// Name in place of one that a record does not have.
pub(super) const NAMELESS: &str = "-";

/// Member of a record by which requests are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    Day,
    Model,
    Group,
    Endpoint,
    Key,
    Account,
}

impl Dimension {
    /// All of them, in the order of the columns of a table.
    pub(super) const ALL: [Dimension; 6] = [
        Dimension::Day,
        Dimension::Model,
        Dimension::Group,
        Dimension::Endpoint,
        Dimension::Key,
        Dimension::Account,
    ];

    /// Word for the dimension in queries, rows and tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Dimension::Day => "day",
            Dimension::Model => "model",
            Dimension::Group => "group",
            Dimension::Endpoint => "endpoint",
            Dimension::Key => "key",
            Dimension::Account => "account",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Dimension> {
        let mut all = Dimension::ALL.into_iter();
        all.find(|dimension| dimension.word() == word)
    }
}

/// The members of a usage record that are summed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub time: &'a str,
    // Texts are borrowed unless they have escapes.
    #[serde(borrow)]
    account: Cow<'a, str>,
    /// Absent in records of earlier versions.
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    endpoint: Cow<'a, str>,
    /// Name as the client wrote it.
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    pub tokens_in: u64,
    #[serde(default)]
    pub tokens_out: u64,
    #[serde(default)]
    pub tokens_cached: u64,
    #[serde(default)]
    pub cost: u64,
    #[serde(default)]
    pub amount: Option<Amount>,
    #[serde(default)]
    pub currency: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// Parses a record. `None`: it cannot be read.
    pub(super) fn parse(text: &'a str) -> Option<Event<'a>> {
        serde_json::from_str(text).ok()
    }

    /// Returns the record's name in a dimension.
    pub(super) fn name(&self, of: Dimension) -> &str {
        let name = match of {
            Dimension::Day => self.time.get(..10),
            Dimension::Model => self.model.as_deref(),
            Dimension::Group => Some(&*self.group),
            Dimension::Endpoint => Some(&*self.endpoint),
            Dimension::Key => Some(&*self.key),
            Dimension::Account => Some(&*self.account),
        };
        name.filter(|name| !name.is_empty()).unwrap_or(NAMELESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_has_no_key() {
        let text = r#"{"time":"2026-11-30T00:00:00.000Z","account":"a","group":"g\"1","endpoint":"e","model":null}"#;
        let event = Event::parse(text).unwrap();
        let names = Dimension::ALL.map(|dimension| event.name(dimension));
        assert_eq!(names, ["2026-11-30", "-", "g\"1", "e", "-", "a"]);
        assert!(Event::parse(r#"{"time":"2026-11-30"}"#).is_none());
    }
}
