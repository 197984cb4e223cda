//! A key of a person's account as the scripts keep it: numbers that they read, and a JSON text that they do not.
//!
//! ```text
//! <last day of use>:<expiry>:<most tokens>:<creation>:<source>:<whether the account began with it>:<JSON>
//! ```

use crate::rules::amount::{Millis, Tokens};
use crate::rules::issued_key::{IssuedKey, KeySource};
use crate::store::{Outcome, StoreError};
use serde::{Deserialize, Serialize};

/// What the scripts do not read.
#[derive(Serialize, Deserialize)]
struct Note {
    start: String,
    entry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<String>>,
}

const SOURCES: [KeySource; 3] = [KeySource::SignIn, KeySource::Session, KeySource::Made];

/// Returns the digit that stands for a source.
pub(super) fn source_word(source: KeySource) -> String {
    let at = SOURCES.iter().position(|known| *known == source);
    at.unwrap_or_default().to_string()
}

/// Returns the JSON text of a key.
pub(super) fn note(key: &IssuedKey) -> String {
    let note = Note {
        start: key.start.clone(),
        entry: key.entry.clone(),
        name: key.name.clone(),
        models: key.models.clone(),
        addresses: key.addresses.clone(),
    };
    serde_json::to_string(&note).unwrap_or_default()
}

/// Returns the whole row of a key.
pub(super) fn row(key: &IssuedKey) -> String {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let (used, expires) = (
        number(key.used),
        number(key.expires.map(|expires| expires.0)),
    );
    let (most, created) = (number(key.tokens_max.map(Tokens::count)), key.created.0);
    let (source, founded) = (source_word(key.source), u8::from(key.founded));
    format!(
        "{used}:{expires}:{most}:{created}:{source}:{founded}:{}",
        note(key)
    )
}

pub(super) fn parse(row: &str) -> Outcome<IssuedKey> {
    parsed(row).ok_or_else(|| {
        StoreError::Unknown("a key's row cannot be read: another program has changed it".to_owned())
    })
}

fn parsed(row: &str) -> Option<IssuedKey> {
    let mut parts = row.splitn(7, ':');
    let mut number = || -> Option<Option<u64>> {
        let part = parts.next()?;
        match part.is_empty() {
            true => Some(None),
            false => part.parse().ok().map(Some),
        }
    };
    let (used, expires, most) = (number()?, number()?, number()?);
    let (created, source, founded) = (number()??, number()??, number()??);
    let note: Note = serde_json::from_str(parts.next()?).ok()?;
    Some(IssuedKey {
        source: *SOURCES.get(usize::try_from(source).ok()?)?,
        name: note.name,
        start: note.start,
        entry: note.entry,
        created: Millis(created),
        expires: expires.map(Millis),
        models: note.models,
        addresses: note.addresses,
        tokens_max: most.map(Tokens::new),
        founded: founded == 1,
        used,
    })
}
