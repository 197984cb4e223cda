//! The signature of a webhook, `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]`.
//!
//! It is checked over the bytes that came, before anything reads them.

use ring::hmac;
use subtle::ConstantTimeEq;

/// Most seconds between a signature and now, either way.
const TOLERANCE_SECONDS: u64 = 300;
/// Most signatures of one header that are looked at. Stripe sends one for each secret that is live.
const MAX_SIGNATURES: usize = 8;
/// Longest header.
const MAX_HEADER_BYTES: usize = 2_048;

/// Fault of a signature, for the log; the sender is told the same sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongSignature {
    /// The header is missing, or is none.
    Unreadable,
    /// It is older than five minutes, or from the future.
    Stale,
    /// No secret has made it.
    Unknown,
}

impl WrongSignature {
    pub fn sentence(self) -> &'static str {
        match self {
            WrongSignature::Unreadable => "Stripe-Signature is missing or unreadable",
            WrongSignature::Stale => {
                "Stripe-Signature is more than five minutes old, or from the future"
            }
            WrongSignature::Unknown => {
                "Stripe-Signature was made with none of the webhook's secrets"
            }
        }
    }
}

/// Checks a signature at this moment, in seconds since 1970.
pub fn check<'a>(
    header: &str,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a str>,
    now_seconds: u64,
) -> Result<(), WrongSignature> {
    let (time, signatures) = parse(header).ok_or(WrongSignature::Unreadable)?;
    let seconds: u64 = time.parse().map_err(|_| WrongSignature::Unreadable)?;
    let mut is_known = false;
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(time.as_bytes());
        context.update(b".");
        context.update(body);
        let own = context.sign();
        for signature in &signatures {
            is_known |= bool::from(own.as_ref().ct_eq(signature));
        }
    }
    if !is_known {
        return Err(WrongSignature::Unknown);
    }
    match now_seconds.abs_diff(seconds) > TOLERANCE_SECONDS {
        true => Err(WrongSignature::Stale),
        false => Ok(()),
    }
}

/// Parses a header into its time, as it was signed, and its signatures of scheme `v1`. A time that stands twice could be
/// read as either, so such a header is none.
fn parse(header: &str) -> Option<(&str, Vec<Vec<u8>>)> {
    if header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let (mut time, mut signatures) = (None, Vec::new());
    for item in header.split(',') {
        match item.trim().split_once('=')? {
            ("t", _) if time.is_some() => return None,
            ("t", value) => time = Some(value),
            ("v1", value) => signatures.extend(hex::decode(value).ok()),
            _ => {}
        }
    }
    let time = time.filter(|time| (1..=12).contains(&time.len()))?;
    let is_number = time.bytes().all(|byte| byte.is_ascii_digit());
    let count = signatures.len();
    (is_number && (1..=MAX_SIGNATURES).contains(&count)).then_some((time, signatures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW: u64 = 1_800_000_000;

    fn signed(secret: &str, time: &str, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let text = [time.as_bytes(), b".", body].concat();
        hex::encode(hmac::sign(&key, &text))
    }

    fn header(secret: &str, time: u64) -> String {
        let time = time.to_string();
        format!("t={time},v1={}", signed(secret, &time, BODY))
    }

    fn checked(header: &str) -> Result<(), WrongSignature> {
        check(header, BODY, ["whsec_old", "whsec_new"], NOW)
    }

    /// Computed by another implementation of HMAC (Python's), for the secret `whsec_test`.
    #[test]
    fn the_scheme_is_hmac_sha256_over_time_dot_body() {
        let expected = "45705be2a45ab5acdd1395cc695e9e7073125385ec24194921c401dff44176f8";
        let header = format!("t=1800000000,v1={expected}");
        assert_eq!(check(&header, BODY, ["whsec_test"], NOW), Ok(()));
    }

    #[test]
    fn either_secret_counts_within_five_minutes() {
        for secret in ["whsec_old", "whsec_new"] {
            for time in [NOW - 300, NOW, NOW + 300] {
                assert_eq!(checked(&header(secret, time)), Ok(()));
            }
            for time in [NOW - 301, NOW + 301] {
                assert_eq!(checked(&header(secret, time)), Err(WrongSignature::Stale));
            }
        }
        assert_eq!(
            checked(&header("whsec_other", NOW)),
            Err(WrongSignature::Unknown)
        );
        assert_eq!(
            check(&header("whsec_old", NOW), BODY, [], NOW),
            Err(WrongSignature::Unknown)
        );
    }

    #[test]
    fn one_of_several_signatures_is_enough_and_other_schemes_are_none() {
        let good = signed("whsec_new", &NOW.to_string(), BODY);
        let bad = "00".repeat(32);
        assert_eq!(
            checked(&format!("t={NOW},v1={bad},v1={good},v0={bad}")),
            Ok(())
        );
        assert_eq!(checked(&format!("t={NOW}, v1={good}")), Ok(()));
        assert_eq!(
            checked(&format!("t={NOW},v0={good}")),
            Err(WrongSignature::Unreadable)
        );
        assert_eq!(
            checked(&format!("t={NOW},v1={bad},v0={good}")),
            Err(WrongSignature::Unknown)
        );
    }

    #[test]
    fn what_two_readers_could_read_differently_is_none() {
        let good = signed("whsec_new", &NOW.to_string(), BODY);
        for header in [
            String::new(),
            format!("v1={good}"),
            format!("t={NOW}"),
            format!("t=1,t={NOW},v1={good}"),
            format!("t={NOW},t={NOW},v1={good}"),
            format!("t=+{NOW},v1={good}"),
            format!("t={NOW};v1={good}"),
            format!("t={NOW},v1={good},x"),
            format!("t={NOW},{}", vec![format!("v1={good}"); 9].join(",")),
        ] {
            assert_eq!(
                checked(&header),
                Err(WrongSignature::Unreadable),
                "{header}"
            );
        }
        // A zero before the number is another text, and was not signed.
        assert_eq!(
            checked(&format!("t=0{NOW},v1={good}")),
            Err(WrongSignature::Unknown)
        );
    }

    proptest! {
        #[test]
        fn another_body_or_header_is_never_taken(
            body in proptest::collection::vec(any::<u8>(), 0..40), header in "[t0-9v1=,a-f]{0,90}",
        ) {
            let good = format!("t={NOW},v1={}", signed("whsec_new", &NOW.to_string(), BODY));
            prop_assert_eq!(check(&good, &body, ["whsec_new"], NOW).is_ok(), body == BODY);
            prop_assert!(checked(&header).is_err());
        }
    }
}
