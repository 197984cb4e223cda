//! Tests of [`check`]: each claim wrong once, clocks, nonces, shapes of values, and any JSON at all.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const NOW: u64 = 1_800_000_000;

fn expected<'a>() -> Expected<'a> {
    Expected {
        issuers: &["https://a.example", "a.example"],
        audiences: vec!["web", "ios"],
        max_age_seconds: 3_600,
        ..Expected::default()
    }
}

fn claims() -> Value {
    json!({"iss": "https://a.example", "aud": "web", "sub": "me", "iat": NOW, "exp": NOW + 600})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[test]
fn good_claims_name_a_person() {
    let subject = check(&claims(), &expected(), NOW).unwrap();
    assert_eq!(
        (subject.subject.as_str(), subject.expires_seconds),
        ("me", NOW + 600)
    );
    for good in [
        with("iss", json!("a.example")),
        with("aud", json!(["ios"])),
        with("aud", json!("ios")),
        with("azp", json!("android")),
        with("nbf", json!(NOW + 59)),
        with("exp", json!(NOW - 59)),
        with("iat", json!(NOW + 59)),
        with("iat", json!(NOW - 3_659)),
        with("iat", json!(1_799_999_999.5)),
        with("sub", json!("é".repeat(255))),
        json!({"iss": "a.example", "aud": ["x", "web"], "azp": "ios", "sub": "me", "iat": NOW, "exp": NOW + 600}),
    ] {
        assert!(check(&good, &expected(), NOW).is_ok(), "{good}");
    }
}

#[test]
fn each_wrong_claim_is_refused() {
    for (claims, reason) in [
        (
            with("iss", json!("https://b.example")),
            WrongToken::OtherIssuer,
        ),
        (
            with("iss", json!("https://a.example/")),
            WrongToken::OtherIssuer,
        ),
        (
            with("iss", json!(["https://a.example"])),
            WrongToken::OtherIssuer,
        ),
        (without("iss"), WrongToken::OtherIssuer),
        (with("aud", json!("other")), WrongToken::OtherAudience),
        (with("aud", json!([])), WrongToken::OtherAudience),
        (with("aud", json!(["web", 1])), WrongToken::OtherAudience),
        (with("aud", json!({"web": true})), WrongToken::OtherAudience),
        (without("aud"), WrongToken::OtherAudience),
        (with("aud", json!(["web", "x"])), WrongToken::OtherParty),
        (with("exp", json!(NOW - 60)), WrongToken::Expired),
        (with("exp", json!("never")), WrongToken::Expired),
        (without("exp"), WrongToken::Expired),
        (with("nbf", json!(NOW + 61)), WrongToken::NotYetValid),
        (with("nbf", json!("now")), WrongToken::NotYetValid),
        (with("iat", json!(NOW + 61)), WrongToken::NotYetValid),
        (with("iat", json!(NOW - 3_661)), WrongToken::TooOld),
        (without("iat"), WrongToken::TooOld),
        (with("sub", json!("")), WrongToken::InvalidSubject),
        (
            with("sub", json!("é".repeat(256))),
            WrongToken::InvalidSubject,
        ),
        (with("sub", json!(7)), WrongToken::InvalidSubject),
        (without("sub"), WrongToken::InvalidSubject),
        (with("events", json!({})), WrongToken::OtherType),
        (json!([]), WrongToken::OtherIssuer),
        (Value::Null, WrongToken::OtherIssuer),
    ] {
        assert_eq!(check(&claims, &expected(), NOW), Err(reason), "{claims}");
    }
}

#[test]
fn nonce_is_compared_plainly_or_by_its_hash() {
    let hashed = "b221d9dbb083a7f33428d7c2a3c3198ae925614d70210e28716ccaa7cd4ddb79";
    let asked = |nonce, require_nonce| Expected {
        nonce,
        require_nonce,
        ..expected()
    };
    for (claims, nonce, required, verdict) in [
        (claims(), None, false, Ok(())),
        (with("nonce", json!("hola")), None, false, Ok(())),
        (
            with("nonce", json!("hola")),
            None,
            true,
            Err(WrongToken::MissingNonce),
        ),
        (with("nonce", json!("hola")), Some("hola"), true, Ok(())),
        (with("nonce", json!(hashed)), Some("hola"), false, Ok(())),
        (
            with("nonce", json!(hashed.to_uppercase())),
            Some("hola"),
            false,
            Err(WrongToken::OtherNonce),
        ),
        (
            with("nonce", json!("other")),
            Some("hola"),
            false,
            Err(WrongToken::OtherNonce),
        ),
        (claims(), Some("hola"), false, Err(WrongToken::MissingNonce)),
        (with("nonce", json!("")), Some(""), false, Ok(())),
    ] {
        let found = check(&claims, &asked(nonce, required), NOW).map(|_| ());
        assert_eq!(found, verdict, "{claims} {nonce:?}");
    }
}

#[test]
fn azp_stands_in_for_the_audience() {
    let parties = ["https://app.example".to_owned()];
    let asked = Expected {
        audiences: Vec::new(),
        authorized_parties: &parties,
        ..expected()
    };
    let token = |azp: Value| {
        let mut claims = without("aud");
        claims["azp"] = azp;
        claims
    };
    assert!(check(&token(json!("https://app.example")), &asked, NOW).is_ok());
    for azp in [
        json!("https://evil.example"),
        json!(["https://app.example"]),
        Value::Null,
    ] {
        assert_eq!(check(&token(azp), &asked, NOW), Err(WrongToken::OtherParty));
    }
    let neither = Expected {
        audiences: Vec::new(),
        ..expected()
    };
    assert_eq!(
        check(&claims(), &neither, NOW),
        Err(WrongToken::OtherAudience)
    );
}

#[test]
fn required_claims_are_found_by_dotted_names() {
    let passes = |claims: &Value, name: &str, value: Value| {
        let require = [(name.to_owned(), value)];
        let asked = Expected {
            require: &require,
            ..expected()
        };
        check(claims, &asked, NOW).is_ok()
    };
    assert!(passes(&claims(), "is_anonymous", json!(false)));
    assert!(passes(
        &with("is_anonymous", json!(false)),
        "is_anonymous",
        json!(false)
    ));
    assert!(!passes(
        &with("is_anonymous", json!(true)),
        "is_anonymous",
        json!(false)
    ));
    assert!(!passes(
        &with("is_anonymous", Value::Null),
        "is_anonymous",
        json!(false)
    ));
    assert!(!passes(&claims(), "email_verified", json!(true)));
    let firebase = with("firebase", json!({"sign_in_provider": "google.com"}));
    assert!(passes(
        &firebase,
        "firebase.sign_in_provider",
        json!("google.com")
    ));
    assert!(!passes(
        &firebase,
        "firebase.sign_in_provider",
        json!("anonymous")
    ));
    assert!(!passes(
        &firebase,
        "firebase.sign_in_provider.x",
        json!("google.com")
    ));
    let namespaced = with("https://a.example/role", json!("member"));
    assert!(passes(
        &namespaced,
        "https://a.example/role",
        json!("member")
    ));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("(iss|aud|azp|sub|exp|nbf|iat|nonce|a)", inner), 0..6).prop_map(
                |members| members
                    .into_iter()
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            ),
        ]
    })
}

proptest! {
    #[test]
    fn any_claims_are_judged(claims in any_json(), name in "\\PC{0,6}", now: u64) {
        let require = [(name, Value::Bool(false))];
        let asked = Expected { require: &require, nonce: Some("n"), ..expected() };
        let _ = check(&claims, &asked, now);
    }

    #[test]
    fn any_single_claim_is_judged_without_a_panic(
        name in "(iss|aud|azp|sub|exp|nbf|iat|nonce|events)", value in any_json(), now: u64,
    ) {
        let _ = check(&with(&name, value), &expected(), now);
    }
}
