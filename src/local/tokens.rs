//! A tenant's own admin tokens as they are stored: names, scopes and hashes.
//!
//! Only hashes are stored, and a token is compared with all of them in constant time. The stored list is one that
//! older gateways read too: a hash with its scope is a text of its own, and what they do not know stands in others.

use super::answer::Refusal;
use super::{Local, credentials};
use crate::api::{ListedToken, MAX_TOKENS, TokenScope};
use crate::rules::amount::Millis;
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::name::TenantText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the operator in logs and ledgers.
pub(super) const OPERATOR: &str = "operator";
/// Beginning of a text that says more of a token.
const ABOUT: &str = "about:";

/// A token as it is stored: by its `hash`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredToken {
    pub name: String,
    pub scope: TokenScope,
    hash: String,
    made: Option<Made>,
}

/// Note about a token, by its `hash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    hash: String,
    name: String,
    at: Millis,
    by: String,
}

impl StoredToken {
    /// `made`: who makes it, and when.
    pub(crate) fn new(
        token: &str,
        scope: TokenScope,
        name: Option<&str>,
        (by, at): (&str, Millis),
    ) -> StoredToken {
        let hash = credentials::hash(token);
        let name = name.map_or_else(|| derived_name(&hash), str::to_owned);
        let made = Made {
            hash: hash.clone(),
            name: name.clone(),
            at,
            by: by.to_owned(),
        };
        StoredToken {
            name,
            scope,
            hash,
            made: Some(made),
        }
    }

    pub(crate) fn shown(&self) -> ListedToken {
        let made = self.made.as_ref();
        ListedToken {
            name: self.name.clone(),
            scope: self.scope,
            created_at: made.map(|made| rfc3339(made.at)),
            created_by: made.map(|made| made.by.clone()),
        }
    }
}

/// Returns the name of a token that was given none: `token-` and digits of its hash.
fn derived_name(hash: &str) -> String {
    format!("token-{}", &hash[..8])
}

/// Whether a token may have this name: it stands in paths and logs, where `operator` is somebody else.
pub(crate) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && name.len() <= 64 && name.bytes().all(is_inner) && name != OPERATOR
}

/// Returns the tokens of a tenant, and the text that they were read from.
pub(crate) async fn stored(
    local: &Local,
    tenant: &TenantId,
) -> Result<(Vec<StoredToken>, Option<String>), Refusal> {
    let text = local.store.tenant_text(tenant, TenantText::AdminTokens);
    let text = text.await?;
    Ok((parse(text.as_deref().unwrap_or_default()), text))
}

/// Returns the tokens of a stored list, a JSON array of texts. Texts that are none are left out.
pub(crate) fn parse(text: &str) -> Vec<StoredToken> {
    let texts: Vec<String> = serde_json::from_str(text).unwrap_or_default();
    let about = texts.iter().filter_map(|text| {
        let made: Made = serde_json::from_str(text.strip_prefix(ABOUT)?).ok()?;
        Some((made.hash.clone(), made))
    });
    let about: BTreeMap<String, Made> = about.collect();
    let token = |text: &String| {
        let (scope, hash) = match text.split_once(':') {
            None => (TokenScope::Admin, text.as_str()),
            Some((word, hash)) => {
                let mut scopes = TokenScope::ALL.into_iter();
                (scopes.find(|scope| scope.word() == word)?, hash)
            }
        };
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let made = about.get(hash).filter(|made| is_name(&made.name)).cloned();
        let name = made.as_ref().map(|made| made.name.clone());
        is_hash.then(|| StoredToken {
            name: name.unwrap_or_else(|| derived_name(hash)),
            scope,
            hash: hash.to_owned(),
            made,
        })
    };
    texts.iter().filter_map(token).collect()
}

/// Returns the list as it is stored, for [`parse`].
pub(crate) fn text(tokens: &[StoredToken]) -> String {
    let mut texts = Vec::new();
    for token in tokens {
        texts.push(match token.scope {
            TokenScope::Admin => token.hash.clone(),
            scope => format!("{}:{}", scope.word(), token.hash),
        });
        if let Some(made) = &token.made {
            // Cannot fail: texts and a number.
            texts.push(format!(
                "{ABOUT}{}",
                serde_json::to_string(made).unwrap_or_default()
            ));
        }
    }
    serde_json::Value::from(texts).to_string()
}

/// Returns the [`StoredToken`] of a token that was given.
pub(crate) fn find<'a>(given: &str, tokens: &'a [StoredToken]) -> Option<&'a StoredToken> {
    let hash = credentials::hash(given);
    // Compared with all of them: stopping at a match would reveal its position.
    tokens.iter().fold(None, |found, token| {
        match credentials::is_same(&hash, &token.hash) {
            true => Some(token),
            false => found,
        }
    })
}

/// Checks what a new list must be: bounded, with names that can stand in a path, each once.
pub(crate) fn check(tokens: &[StoredToken]) -> Result<(), Refusal> {
    if tokens.len() > MAX_TOKENS {
        let why = format!("A tenant has at most {MAX_TOKENS} tokens");
        return Err(Refusal::Bad(why));
    }
    for (at, token) in tokens.iter().enumerate() {
        if !is_name(&token.name) {
            let rule = "letters, digits, . _ -, beginning with a letter or digit";
            let why = format!("name must have 1 to 64 characters: {rule}; and is not {OPERATOR}");
            return Err(Refusal::Bad(why));
        }
        if tokens[..at].iter().any(|other| other.name == token.name) {
            let why = format!("There is a token {} already", token.name);
            return Err(Refusal::Conflict(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written_and_as_older_gateways_wrote_it() {
        let by = ("operator", Millis(1_800_000_000_000));
        let all = [
            StoredToken::new("one", TokenScope::Admin, Some("console"), by),
            StoredToken::new("two", TokenScope::Support, None, by),
            StoredToken::new("three", TokenScope::Sessions, Some("backend"), by),
        ];
        assert_eq!(parse(&text(&all)), all);
        let (admin, sessions) = (credentials::hash("one"), credentials::hash("two"));
        let old = [
            admin.clone(),
            format!("sessions:{sessions}"),
            "rubbish".to_owned(),
            format!("owner:{sessions}"),
        ];
        let read: Vec<(String, TokenScope)> =
            parse(&serde_json::Value::from(old.to_vec()).to_string())
                .into_iter()
                .map(|token| (token.name, token.scope))
                .collect();
        let name = |hash: &str| format!("token-{}", &hash[..8]);
        let expected = [
            (name(&admin), TokenScope::Admin),
            (name(&sessions), TokenScope::Sessions),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn only_the_very_token_is_found() {
        let by = ("operator", Millis(1_800_000_000_000));
        let all = [
            StoredToken::new("one", TokenScope::Admin, None, by),
            StoredToken::new("two", TokenScope::Read, None, by),
        ];
        let scope = |given: &str| find(given, &all).map(|token| token.scope);
        assert_eq!(scope("one"), Some(TokenScope::Admin));
        assert_eq!(scope("two"), Some(TokenScope::Read));
        for other in ["", "three", &all[0].hash, "on", "one "] {
            assert_eq!(scope(other), None, "{other}");
        }
    }

    #[test]
    fn names_stand_once_and_can_stand_in_a_path() {
        let by = ("operator", Millis(1_800_000_000_000));
        let token = |name: &str| StoredToken::new(name, TokenScope::Read, Some(name), by);
        assert!(check(&[token("a"), token("b.c_d-1")]).is_ok());
        for list in [
            vec![token("a"), token("a")],
            vec![token("")],
            vec![token("-a")],
            vec![token("a/b")],
            vec![token("operator")],
            vec![token("ä")],
            vec![token(&"a".repeat(65))],
        ] {
            assert!(check(&list).is_err());
        }
        let many: Vec<StoredToken> = (0..33).map(|at| token(&format!("t{at}"))).collect();
        assert!(check(&many).is_err());
    }
}
