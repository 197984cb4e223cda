//! The header of an ID token: what a key is chosen by. Nothing in it is believed.
//!
//! A key is never taken from the token itself, so headers that carry or name one (`jwk`, `jku`, `x5c`, `x5u`) are
//! refused, as are extensions that must be understood (`crit`).

use super::jwks::Algorithm;
use super::refused::WrongToken;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Longest ID token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 << 10;
const MAX_KID_BYTES: usize = 256;

/// Header members that are refused.
const NOT_ALLOWED: [&str; 7] = ["crit", "jku", "x5u", "x5c", "jwk", "zip", "b64"];
/// Values of `typ` that other tokens of the same issuer have, in lower case and without `application/`.
const OTHER_TYPES: [&str; 4] = ["at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"];

/// Algorithm and key that a token's header names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader {
    pub algorithm: Algorithm,
    pub kid: String,
}

impl TokenHeader {
    /// Reads the header of a token.
    pub fn of(token: &str) -> Result<TokenHeader, WrongToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(WrongToken::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(WrongToken::Malformed);
        };
        let header = URL_SAFE_NO_PAD
            .decode(header)
            .map_err(|_| WrongToken::Malformed)?;
        let header: Value = serde_json::from_slice(&header).map_err(|_| WrongToken::Malformed)?;
        let Value::Object(header) = header else {
            return Err(WrongToken::Malformed);
        };
        if NOT_ALLOWED.iter().any(|name| header.contains_key(*name)) {
            return Err(WrongToken::HeaderNotAllowed);
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(name)) if is_other_type(name) => return Err(WrongToken::OtherType),
            Some(Value::String(_)) => {}
            Some(_) => return Err(WrongToken::Malformed),
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm
            .and_then(Algorithm::of_token)
            .ok_or(WrongToken::OtherAlgorithm)?;
        match header.get("kid").and_then(Value::as_str) {
            Some(kid) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Ok(TokenHeader {
                algorithm,
                kid: kid.to_owned(),
            }),
            _ => Err(WrongToken::MissingKid),
        }
    }
}

fn is_other_type(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("application/").unwrap_or(&name);
    OTHER_TYPES.contains(&name)
}

/// Returns what a token is known again by: the SHA-256 of the part that is signed, in hex. A signature can be written in
/// more than one way; what it signs cannot.
pub fn fingerprint(token: &str) -> String {
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    hex::encode(digest(&SHA256, signed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn header(header: &Value) -> Result<TokenHeader, WrongToken> {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        TokenHeader::of(&format!("{header}.e30.AA"))
    }

    #[test]
    fn header_names_algorithm_and_key() {
        let read = header(&json!({"alg": "ES256", "kid": "a", "typ": "JWT"}));
        let expected = TokenHeader {
            algorithm: Algorithm::Es256,
            kid: "a".to_owned(),
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn headers_that_could_choose_their_own_key_are_refused() {
        for name in NOT_ALLOWED {
            let mut value = json!({"alg": "RS256", "kid": "a"});
            value[name] = json!("https://evil.example");
            assert_eq!(header(&value), Err(WrongToken::HeaderNotAllowed), "{name}");
        }
        for (value, reason) in [
            (
                json!({"alg": "none", "kid": "a"}),
                WrongToken::OtherAlgorithm,
            ),
            (
                json!({"alg": "HS256", "kid": "a"}),
                WrongToken::OtherAlgorithm,
            ),
            (
                json!({"alg": "PS256", "kid": "a"}),
                WrongToken::OtherAlgorithm,
            ),
            (
                json!({"alg": "rs256", "kid": "a"}),
                WrongToken::OtherAlgorithm,
            ),
            (
                json!({"alg": ["RS256"], "kid": "a"}),
                WrongToken::OtherAlgorithm,
            ),
            (json!({"alg": "RS256"}), WrongToken::MissingKid),
            (json!({"alg": "RS256", "kid": ""}), WrongToken::MissingKid),
            (json!({"alg": "RS256", "kid": 1}), WrongToken::MissingKid),
            (
                json!({"alg": "RS256", "kid": "a", "typ": "at+jwt"}),
                WrongToken::OtherType,
            ),
            (
                json!({"alg": "RS256", "kid": "a", "typ": "application/AT+JWT"}),
                WrongToken::OtherType,
            ),
            (
                json!({"alg": "RS256", "kid": "a", "typ": "logout+jwt"}),
                WrongToken::OtherType,
            ),
            (
                json!({"alg": "RS256", "kid": "a", "typ": 1}),
                WrongToken::Malformed,
            ),
            (json!(["RS256"]), WrongToken::Malformed),
        ] {
            assert_eq!(header(&value), Err(reason), "{value}");
        }
        for text in ["", ".", "..", "a.b.c", "e30.e30.e30.e30", "e30.e30"] {
            assert!(TokenHeader::of(text).is_err(), "{text}");
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(TokenHeader::of(&long), Err(WrongToken::TooLong));
    }

    #[test]
    fn fingerprint_is_of_all_but_the_signature() {
        assert_eq!(fingerprint("a.b.c"), fingerprint("a.b.d"));
        assert_ne!(fingerprint("a.b.c"), fingerprint("a.c.c"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,24}", 0..5)) {
            let _ = TokenHeader::of(&text);
            let _ = TokenHeader::of(&parts.join("."));
        }
    }
}
