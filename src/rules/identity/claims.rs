//! The claims of an ID token whose signature was verified: [`check`] says who it is about, or why it is refused.
//!
//! The tenant's config says what is [`Expected`]; `now` comes in.

use super::refused::WrongToken;
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Difference between clocks that is allowed for, in seconds.
pub const SKEW_SECONDS: f64 = 60.0;
const MAX_SUBJECT_CHARACTERS: usize = 255;

/// Values that the claims of a token must have.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// Spellings of the issuer.
    pub issuers: &'a [&'a str],
    /// Audiences, one of which must be the token's. Empty: the audience is not looked at (`audience: null`).
    pub audiences: Vec<&'a str>,
    /// Parties, one of which must be the token's `azp`. Empty: any.
    pub authorized_parties: &'a [String],
    /// Claims by dotted name, and their values. An absent claim equals `false`.
    pub require: &'a [(String, Value)],
    /// Nonce that the caller has, if it sent one.
    pub nonce: Option<&'a str>,
    pub require_nonce: bool,
    /// Longest time since `iat`.
    pub max_age_seconds: u64,
}

/// Person that a token is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `sub`.
    pub subject: String,
    /// `exp`, in seconds since 1970.
    pub expires_seconds: u64,
}

/// Checks claims against what is expected, at `now` in seconds since 1970.
pub fn check(claims: &Value, expected: &Expected<'_>, now: u64) -> Result<Subject, WrongToken> {
    let issuer = claims["iss"].as_str();
    if !issuer.is_some_and(|issuer| expected.issuers.contains(&issuer)) {
        return Err(WrongToken::OtherIssuer);
    }
    // A logout token of the same issuer, where it has no `typ`.
    if claims.get("events").is_some() {
        return Err(WrongToken::OtherType);
    }
    check_audience(claims, expected)?;
    let expires_seconds = check_times(claims, expected, now as f64)?;
    check_nonce(claims, expected)?;
    let mut required = expected.require.iter();
    if !required.all(|(name, value)| has(claims, name, value)) {
        return Err(WrongToken::NotRequired);
    }
    let subject = claims["sub"].as_str().unwrap_or_default();
    if !(1..=MAX_SUBJECT_CHARACTERS).contains(&subject.chars().count()) {
        return Err(WrongToken::InvalidSubject);
    }
    Ok(Subject {
        subject: subject.to_owned(),
        expires_seconds,
    })
}

fn check_audience(claims: &Value, expected: &Expected<'_>) -> Result<(), WrongToken> {
    let party = claims["azp"].as_str();
    let parties = expected.authorized_parties;
    let is_party = |known: &String| party == Some(known);
    if !parties.is_empty() && !parties.iter().any(is_party) {
        return Err(WrongToken::OtherParty);
    }
    if expected.audiences.is_empty() {
        // `azp` stands in for the audience; without either the token could be for anyone.
        return match parties.is_empty() {
            true => Err(WrongToken::OtherAudience),
            false => Ok(()),
        };
    }
    let is_ours = |name: &str| expected.audiences.contains(&name);
    match &claims["aud"] {
        Value::String(audience) if is_ours(audience) => Ok(()),
        Value::Array(audiences) => {
            let names = audiences.iter().map(Value::as_str);
            let names: Vec<&str> = names
                .collect::<Option<_>>()
                .ok_or(WrongToken::OtherAudience)?;
            if !names.iter().any(|name| is_ours(name)) {
                return Err(WrongToken::OtherAudience);
            }
            let is_known = party.is_some_and(is_ours) || parties.iter().any(is_party);
            match names.len() > 1 && !is_known {
                true => Err(WrongToken::OtherParty),
                false => Ok(()),
            }
        }
        _ => Err(WrongToken::OtherAudience),
    }
}

/// Checks `exp`, `nbf` and `iat`; returns `exp`.
fn check_times(claims: &Value, expected: &Expected<'_>, now: f64) -> Result<u64, WrongToken> {
    let expires = claims["exp"].as_f64().ok_or(WrongToken::Expired)?;
    if expires + SKEW_SECONDS <= now {
        return Err(WrongToken::Expired);
    }
    match claims.get("nbf").map(Value::as_f64) {
        None => {}
        Some(Some(begins)) if begins <= now + SKEW_SECONDS => {}
        Some(_) => return Err(WrongToken::NotYetValid),
    }
    let issued = claims["iat"].as_f64().ok_or(WrongToken::TooOld)?;
    if issued > now + SKEW_SECONDS {
        return Err(WrongToken::NotYetValid);
    }
    if now - issued > expected.max_age_seconds as f64 + SKEW_SECONDS {
        return Err(WrongToken::TooOld);
    }
    Ok(expires as u64)
}

/// Checks the nonce. Apps for iOS give the issuer its SHA-256 in lower-case hex and keep the nonce itself.
fn check_nonce(claims: &Value, expected: &Expected<'_>) -> Result<(), WrongToken> {
    let Some(nonce) = expected.nonce else {
        return match expected.require_nonce {
            true => Err(WrongToken::MissingNonce),
            false => Ok(()),
        };
    };
    let given = claims["nonce"].as_str().ok_or(WrongToken::MissingNonce)?;
    let hashed = hex::encode(digest(&SHA256, nonce.as_bytes()));
    match given == nonce || given == hashed {
        true => Ok(()),
        false => Err(WrongToken::OtherNonce),
    }
}

/// Whether a claim has this value. A name is looked for as it stands, then as a way of names between dots:
/// namespaced claims are URLs with dots of their own.
fn has(claims: &Value, name: &str, value: &Value) -> bool {
    let mut way = name.split('.');
    let found = claims
        .get(name)
        .or_else(|| way.try_fold(claims, |claims, name| claims.get(name)));
    found.unwrap_or(&Value::Bool(false)) == value
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
