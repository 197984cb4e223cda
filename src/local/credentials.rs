//! Extracts and compares credentials: an end user's API key, an admin's bearer token.
//!
//! Comparisons take constant time. Nothing here may ever be logged.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// Headers in which SDKs and tools send a key. None of them may be forwarded to a provider.
pub const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// Prefixes of keys that this gateway mints.
const OUR_PREFIXES: [&str; 2] = ["temp_", "user_"];

/// Returns the end user's key from [`KEY_HEADERS`]. If several are sent, one with a prefix of ours wins, else
/// the first.
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

/// Returns the token of `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    without_scheme(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// Strips `Bearer`; `None` for another scheme or an empty token.
fn without_scheme(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Compares two tokens by their hashes, so that the time depends neither on their content nor on their
/// length.
pub fn is_token(given: &str, expected: &str) -> bool {
    digest(given)
        .as_ref()
        .ct_eq(digest(expected).as_ref())
        .into()
}

/// Returns the hash of a tenant's admin token, as it is stored: SHA-256 in lower-case hex.
pub fn hash(token: &str) -> String {
    let digest = digest(token);
    let halves = digest
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(hex).collect()
}

/// Returns a hex digit without a table or a branch, in constant time.
fn hex(half: u8) -> char {
    char::from(b'0' + half + u8::from(half > 9) * (b'a' - b'9' - 1))
}

/// Compares two hashes in constant time.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
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
        assert!(is_same(&hash("one"), &hash("one")));
        assert!(!is_same(&hash("one"), &hash("two")));
    }
}
