//! The record of an account: JSON text that other programs read and write too.
//!
//! The text is the only source of truth. It is parsed in place, and only the member that changes
//! (`tokensLeft`, `tenantId`, `group` and what an admin sets) is spliced, so that unknown fields, their order and their spelling
//! survive. It must never be parsed into a tree and written back.

use super::amount::{Millis, Tokens};
use super::date;
use super::issued_key::KeyId;
use crate::json;

const BALANCE: &str = "tokensLeft";

/// Members of a record that the gateway uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub left: Tokens,
    pub tenant: Option<String>,
    pub group: Option<String>,
    /// Day of its creation; zero where the record does not say.
    pub created: Millis,
    /// What usage records call the account, where it is a person's: drawn at random, and gone with the record.
    pub label: Option<String>,
    /// Whether an admin has suspended the account.
    pub suspended: bool,
    /// The only key that opens a key's own account, where that was rolled (`opensTo`).
    pub opens_to: Option<KeyId>,
}

/// Reason for refusing a record. An operator must look at it; no value is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    NotAnObject,
    NoBalance,
    /// The stored checksum does not match the text.
    Altered,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Damage::NotAnObject => "the record is not a JSON object",
            Damage::NoBalance => "the record has no whole number tokensLeft from 0 to 2^53-1",
            Damage::Altered => {
                "what is stored is not what was written; see `resullm store check` and `restore`"
            }
        })
    }
}

/// What is stored under a key's or an account's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A record with a balance of its own.
    Record,
    /// The name of the account that counts, as `user:<id>`.
    Account(String),
}

/// Tells a record from what leads to one: the ID of a user (`accounts.layout: user`), or an object that has no balance
/// and names an `account`.
pub fn target(text: &str) -> Target {
    if !text
        .trim_start_matches([' ', '\t', '\n', '\r'])
        .starts_with('{')
    {
        return Target::Account(format!("user:{text}"));
    }
    let account = json::members(text).and_then(|(fields, _)| {
        let word = |name| json::member(&fields, name).map(|field| &text[field.value.clone()]);
        match word(BALANCE) {
            Some(_) => None,
            None => word("account").and_then(plain_string),
        }
    });
    account.map_or(Target::Record, Target::Account)
}

/// Whether a text is a record of this tenant.
pub(crate) fn is_of(text: &str, tenant: &str) -> bool {
    read(text).is_ok_and(|facts| facts.tenant.as_deref() == Some(tenant))
}

/// Whether a text is the record of a suspended account.
pub(crate) fn is_suspended(text: &str) -> bool {
    read(text).is_ok_and(|facts| facts.suspended)
}

/// Parses a record's text.
pub fn read(text: &str) -> Result<Facts, Damage> {
    let (fields, _) = json::members(text).ok_or(Damage::NotAnObject)?;
    let word = |name| json::member(&fields, name).map(|field| &text[field.value.clone()]);
    Ok(Facts {
        left: word(BALANCE).and_then(balance).ok_or(Damage::NoBalance)?,
        tenant: word("tenantId").and_then(plain_string),
        group: word("group").and_then(plain_string),
        created: word("createdAt")
            .and_then(plain)
            .and_then(date::start_of_day)
            .unwrap_or_default(),
        label: word("label").and_then(plain_string),
        suspended: word("suspended") == Some("true"),
        opens_to: word("opensTo").and_then(plain).and_then(KeyId::parse),
    })
}

/// Returns the text with `tokensLeft` replaced by `left`.
pub fn with_balance(text: &str, left: Tokens) -> Result<String, Damage> {
    let (fields, _) = json::members(text).ok_or(Damage::NotAnObject)?;
    let at = &json::member(&fields, BALANCE)
        .ok_or(Damage::NoBalance)?
        .value;
    Ok(format!("{}{left}{}", &text[..at.start], &text[at.end..]))
}

/// Returns the text with `tenantId` or `group` set: replaced in place, or added as the last member. `value`
/// must need no JSON escaping; tenant IDs and group names never do.
pub fn with_string(text: &str, name: &str, value: &str) -> Result<String, Damage> {
    with_word(text, name, &format!("\"{value}\""))
}

/// Returns the text with a member set to a JSON value, as it is written: replaced in place, or added as the last one.
pub(super) fn with_word(text: &str, name: &str, word: &str) -> Result<String, Damage> {
    let (fields, end) = json::members(text).ok_or(Damage::NotAnObject)?;
    Ok(
        match json::member(&fields, name).map(|field| &field.value) {
            Some(at) => format!("{}{word}{}", &text[..at.start], &text[at.end..]),
            None => format!("{},\"{name}\":{word}{}", &text[..end], &text[end..]),
        },
    )
}

/// Parses a balance that another program wrote: digits only, at most 2^53-1.
fn balance(word: &str) -> Option<Tokens> {
    let plain = word.len() <= 16 && word.bytes().all(|b| b.is_ascii_digit());
    let amount: u64 = plain.then(|| word.parse().ok())??;
    (amount <= Tokens::MAX.count()).then_some(Tokens::new(amount))
}

/// Parses a string without escapes; `null` and all other values count as absent.
fn plain_string(word: &str) -> Option<String> {
    plain(word).map(str::to_owned)
}

fn plain(word: &str) -> Option<&str> {
    let inner = word.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &str = r#"{"userId":null,"createdAt":"2026-01-01T00:00:00Z","tokensLeft":100}"#;

    #[test]
    fn a_record_of_an_older_server_reads() {
        let facts = read(OLD).unwrap();
        assert_eq!(facts.left, Tokens::new(100));
        assert_eq!((facts.tenant, facts.group), (None, None));
    }

    #[test]
    fn only_the_balance_changes() {
        let text = r#" { "x": {"tokensLeft": 5, "a":[]}, "s":"\"tokensLeft\": 9}", "tokensLeft" : 9007199254740991 , "z":1.50, "e":[] } "#;
        let changed = with_balance(text, Tokens::new(7)).unwrap();
        assert_eq!(changed, text.replace("9007199254740991", "7"));
    }

    #[test]
    fn a_tenant_is_added_once() {
        let bound = with_string(OLD, "tenantId", "abc").unwrap();
        assert_eq!(bound, OLD.replace("100}", "100,\"tenantId\":\"abc\"}"));
        assert_eq!(read(&bound).unwrap().tenant.as_deref(), Some("abc"));
        let moved = with_string(&bound, "tenantId", "other").unwrap();
        assert_eq!(read(&moved).unwrap().tenant.as_deref(), Some("other"));
    }

    #[test]
    fn a_record_without_a_usable_balance_is_damaged_not_guessed() {
        for bad in [
            r#"{"tokensLeft":-1}"#,
            r#"{"tokensLeft":1.5}"#,
            r#"{"tokensLeft":"100"}"#,
            r#"{"tokensLeft":9007199254740992}"#,
            r#"{"tokensLeft":null}"#,
            "{}",
        ] {
            assert_eq!(read(bad), Err(Damage::NoBalance), "{bad}");
        }
        for bad in ["", "[]", "user-1", "{\"a\"", "{\"tokensLeft\":1"] {
            assert_eq!(read(bad), Err(Damage::NotAnObject), "{bad}");
        }
    }

    #[test]
    fn a_balance_makes_a_record_whatever_else_it_names() {
        let account = |name: &str| Target::Account(name.to_owned());
        for (text, expected) in [
            ("u1", account("user:u1")),
            (
                r#" {"account":"user:p_1","userId":"u"}"#,
                account("user:p_1"),
            ),
            (r#"{"account":"user:p_1","tokensLeft":5}"#, Target::Record),
            (
                r#"{"account":"user:p_1","tokensLeft":null}"#,
                Target::Record,
            ),
            (r#"{"userId":"u"}"#, Target::Record),
            ("{", Target::Record),
        ] {
            assert_eq!(target(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = (read(&text), target(&text));
        }

        #[test]
        fn every_field_but_the_balance_survives(
            extra in proptest::collection::vec(("[a-z]{1,8}", "\\PC{0,12}"), 0..6),
            left in 0u64..=9_007_199_254_740_991,
            other in 0u64..=9_007_199_254_740_991,
        ) {
            let mut object = serde_json::Map::new();
            for (name, value) in extra {
                object.insert(name, value.into());
            }
            object.insert("tokensLeft".into(), left.into());
            let text = serde_json::to_string_pretty(&object).unwrap();
            prop_assert_eq!(read(&text).unwrap().left, Tokens::new(left));
            object.insert("tokensLeft".into(), other.into());
            let changed = with_balance(&text, Tokens::new(other)).unwrap();
            prop_assert_eq!(changed, serde_json::to_string_pretty(&object).unwrap());
        }
    }
}
