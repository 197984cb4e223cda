//! Who a request says it is: an end user's key, or an admin's token.
//!
//! Comparisons take the same time whatever is compared. Nothing here is ever printed.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// Headers that SDKs and tools carry a key in. None of them may reach a provider.
pub const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

const OUR_PREFIXES: [&str; 2] = ["temp_", "user_"];

/// The end user's key. Tools send several at times; then the one that looks like ours counts.
pub fn key<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Option<&'a str> {
    let mut keys = KEY_HEADERS.iter().filter_map(|name| {
        let value = header(name)?;
        let key = if *name == "authorization" {
            without_scheme(value)?
        } else {
            value.trim()
        };
        (!key.is_empty()).then_some(key)
    });
    let ours = |key: &&str| OUR_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    keys.clone().find(ours).or_else(|| keys.next())
}

/// The token of `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    without_scheme(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

fn without_scheme(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Hashes first, so that neither a token nor its length decides how long this takes.
pub fn is_token(given: &str, expected: &str) -> bool {
    digest(given)
        .as_ref()
        .ct_eq(digest(expected).as_ref())
        .into()
}

/// What is stored of a tenant's own admin token.
pub fn hash(token: &str) -> String {
    let digest = digest(token);
    let halves = digest
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(hex).collect()
}

/// Without a table and without asking which digit it is, as that would take its time.
fn hex(half: u8) -> char {
    char::from(b'0' + half + u8::from(half > 9) * (b'a' - b'9' - 1))
}

pub fn is_hashed(given: &str, hashes: &[String]) -> bool {
    let given = hash(given);
    // All of them are looked at, whichever it is.
    hashes.iter().fold(false, |found, hash| {
        found | bool::from(given.as_bytes().ct_eq(hash.as_bytes()))
    })
}

fn digest(text: &str) -> ring::digest::Digest {
    ring::digest::digest(&ring::digest::SHA256, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(list: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers(list);
        key(|name| headers.get(name)?.to_str().ok()).map(str::to_owned)
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_key_is_found_wherever_sdks_put_it() {
        for list in [
            &[("authorization", "Bearer temp_1")][..],
            &[("authorization", "bearer   temp_1 ")],
            &[("x-api-key", "temp_1")],
            &[("api-key", "temp_1")],
            &[("x-goog-api-key", "temp_1")],
            &[
                ("authorization", "Bearer sk-other"),
                ("x-api-key", "temp_1"),
            ],
            &[("authorization", "Basic eDp5"), ("x-api-key", "temp_1")],
        ] {
            assert_eq!(sent(list).as_deref(), Some("temp_1"), "{list:?}");
        }
        let custom = sent(&[("authorization", "Bearer custom")]);
        assert_eq!(custom.as_deref(), Some("custom"));
        assert_eq!(sent(&[("authorization", "Bearer ")]), None);
        assert_eq!(key(|_| None), None);
    }

    #[test]
    fn only_the_very_token_is_the_token() {
        assert!(is_token("secret", "secret"));
        assert!(!is_token("secre", "secret"));
        let hashes = [hash("one"), hash("two")];
        assert!(is_hashed("two", &hashes));
        assert!(!is_hashed(&hashes[0], &hashes));
        assert!(!is_hashed("", &hashes));
    }
}
