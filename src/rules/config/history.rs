//! Configs that were replaced: what is kept of them, and how much.
//!
//! A config comes with its secrets sealed, or masked where nothing seals them; this file never looks at them.

use crate::rules::amount::Millis;
use serde::{Deserialize, Serialize};

/// Most configs that are kept of a tenant.
const MAX_CONFIGS: usize = 20;
/// Bytes of all configs that are kept of a tenant. The latest is kept whatever its size.
const MAX_BYTES: usize = 1 << 20;

/// A config of a [`History`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Number of the config, counted from 1.
    pub version: u64,
    /// When it was replaced, in milliseconds since 1970.
    pub at: u64,
    /// Who replaced it: `operator`, or the name of a token.
    pub by: String,
    /// Its text.
    pub config: String,
}

/// The configs of a tenant that were replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    last_version: u64,
    /// The oldest first.
    pub configs: Vec<Former>,
}

impl History {
    /// Reads a stored history. One that cannot be read is empty.
    pub fn parse(text: Option<&str>) -> History {
        let history = text.and_then(|text| serde_json::from_str(text).ok());
        history.unwrap_or_default()
    }

    /// Returns the text that [`History::parse`] reads.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the config of a version.
    pub fn version(&self, version: u64) -> Option<&Former> {
        self.configs.iter().find(|former| former.version == version)
    }

    /// Adds a config that is being replaced, and drops the oldest ones. One that stands last already, because a
    /// replacement was noted and then not made, is not added twice.
    pub fn push(&mut self, config: String, at: Millis, by: &str) {
        let by = by.to_owned();
        if let Some(last) = self.configs.last_mut()
            && last.config == config
        {
            (last.at, last.by) = (at.0, by);
            return;
        }
        self.last_version += 1;
        self.configs.push(Former {
            version: self.last_version,
            at: at.0,
            by,
            config,
        });
        let bytes = |configs: &[Former]| {
            configs
                .iter()
                .map(|former| former.config.len())
                .sum::<usize>()
        };
        while self.configs.len() > MAX_CONFIGS
            || (self.configs.len() > 1 && bytes(&self.configs) > MAX_BYTES)
        {
            self.configs.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_in_number_and_bytes() {
        let mut history = History::default();
        for number in 0..30 {
            history.push(format!("{{\"n\":{number}}}"), Millis(number), "boss");
        }
        let versions: Vec<u64> = history
            .configs
            .iter()
            .map(|former| former.version)
            .collect();
        assert_eq!(versions, (11..=30).collect::<Vec<_>>());
        assert_eq!(history.version(30).unwrap().config, "{\"n\":29}");
        assert_eq!(history.version(1), None);

        history.push("x".repeat(MAX_BYTES + 1), Millis(1), "boss");
        assert_eq!(history.configs.len(), 1);
        history.push("y".repeat(MAX_BYTES / 2), Millis(1), "boss");
        assert_eq!(history.configs.len(), 1);
        history.push("z".repeat(MAX_BYTES / 2), Millis(1), "boss");
        assert_eq!(history.configs.len(), 2);
        assert_eq!(History::parse(Some(&history.text())), history);
    }

    #[test]
    fn replacement_that_was_not_made_is_noted_once() {
        let mut history = History::default();
        history.push("a".to_owned(), Millis(1), "one");
        history.push("a".to_owned(), Millis(2), "two");
        assert_eq!(history.configs.len(), 1);
        assert_eq!(
            (history.configs[0].at, history.configs[0].by.as_str()),
            (2, "two")
        );
        for text in [None, Some(""), Some("[]"), Some("{\"configs\":5}")] {
            assert_eq!(History::parse(text), History::default());
        }
    }
}
