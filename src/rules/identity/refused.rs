//! [`WrongToken`]: why an ID token is refused.
//!
//! The log has it; the client always gets the same 401, so that nobody learns from answers how to make a better one.

/// First check that an ID token does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongToken {
    /// No JWT of three parts, or parts that cannot be read.
    Malformed,
    TooLong,
    /// The header has `crit`, `jku`, `x5u`, `x5c`, `jwk` or `zip`.
    HeaderNotAllowed,
    /// `typ` says that it is an access or logout token.
    OtherType,
    /// `alg` is none that this gateway verifies, or not the key's.
    OtherAlgorithm,
    MissingKid,
    /// The issuer has no key with this `kid`.
    UnknownKid,
    WrongSignature,
    OtherIssuer,
    OtherAudience,
    OtherParty,
    Expired,
    NotYetValid,
    /// `iat` is missing or older than `auth.max_token_age`.
    TooOld,
    MissingNonce,
    OtherNonce,
    /// A claim that `require` names has another value.
    NotRequired,
    InvalidSubject,
}

/// Words of the log, in the order of [`WrongToken`].
const WORDS: [&str; WrongToken::COUNT] = [
    "malformed",
    "too_long",
    "header_not_allowed",
    "other_type",
    "other_algorithm",
    "missing_kid",
    "unknown_kid",
    "wrong_signature",
    "other_issuer",
    "other_audience",
    "other_party",
    "expired",
    "not_yet_valid",
    "too_old",
    "missing_nonce",
    "other_nonce",
    "require_not_met",
    "invalid_subject",
];

impl WrongToken {
    /// Number of reasons.
    pub const COUNT: usize = WrongToken::InvalidSubject as usize + 1;

    /// Returns the word that the log has.
    pub fn word(self) -> &'static str {
        WORDS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_the_order_of_the_reasons() {
        for (reason, word) in [
            (WrongToken::Malformed, "malformed"),
            (WrongToken::UnknownKid, "unknown_kid"),
            (WrongToken::Expired, "expired"),
            (WrongToken::NotRequired, "require_not_met"),
            (WrongToken::InvalidSubject, "invalid_subject"),
        ] {
            assert_eq!(reason.word(), word);
        }
    }
}
