//! PKCE (RFC 7636), method `S256`: who redeems a code must know the text that the flow was begun with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Length of a challenge: a SHA-256 in base64url.
const CHALLENGE_BYTES: usize = 43;

/// Returns the challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether a text can be a challenge.
pub fn is_challenge(text: &str) -> bool {
    text.len() == CHALLENGE_BYTES && URL_SAFE_NO_PAD.decode(text).is_ok()
}

/// Whether a verifier is the one of a challenge. One that RFC 7636 does not allow is never right.
pub fn is_verifier(verifier: &str, challenge: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_allowed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(plain);
    let own = self::challenge(verifier);
    is_allowed & bool::from(own.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_of_the_rfc_fits_its_challenge() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(is_challenge(challenge) && is_verifier(verifier, challenge));
        assert!(!is_verifier(&verifier.replace('d', "e"), challenge));
        assert!(!is_verifier("short", &self::challenge("short")));
        for text in [
            "",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM",
        ] {
            assert!(!is_challenge(text), "{text}");
        }
    }
}
