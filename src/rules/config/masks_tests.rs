//! Tests of masks: who may use which secret for which destination.

use super::*;
use crate::rules::config::{Keyring, seal_text};
use crate::rules::seal::SealKey;
use serde_json::json;

fn key() -> MaskKey {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"of a test");
    MaskKey::derive(&secret, &tenant())
}

fn tenant() -> TenantId {
    TenantId::parse("abc").unwrap()
}

fn with_owner<T>(sealed: bool, test: impl FnOnce(Owner<'_>) -> T) -> T {
    let keyring = Keyring {
        present: sealed.then(|| SealKey::new(&[7; 32])),
        ..Keyring::default()
    };
    let tenant = tenant();
    test(Owner {
        tenant: &tenant,
        keyring: &keyring,
    })
}

/// The config as it is stored.
fn stored(config: &Value, owner: Owner<'_>) -> String {
    let text = config.to_string();
    let secrets = secrets_in(&text)
        .into_iter()
        .zip((1u8..).map(|number| [number; 12]));
    seal_text(&text, owner, false, secrets)
        .unwrap_or_else(|_| panic!())
        .text
}

fn endpoint(url: &str, key: &str) -> Value {
    json!({"url": url, "api_key": key})
}

fn config(endpoints: Value) -> Value {
    json!({"providers": {"text": {"default": "a", "endpoints": endpoints}}})
}

fn kept(text: &str, owner: Owner<'_>) -> KeptSecrets {
    let mut kept = KeptSecrets::default();
    kept.add(text, owner, &key());
    kept
}

fn paths(faults: Faults) -> Vec<String> {
    faults.0.into_iter().map(|fault| fault.path).collect()
}

const GOOD: &str = "https://good.example/v1/chat/completions";
const EVIL: &str = "https://evil.example/v1/chat/completions";

#[test]
fn masked_config_put_back_is_what_was_stored_byte_for_byte() {
    for sealed in [false, true] {
        with_owner(sealed, |owner| {
            let config = json!({
                "auth": {"stripe": {"api_key": "sk_1", "webhook_secrets": ["whsec_a", "whsec_b"]},
                    "oidc": {"own": {"issuer": "https://id.example", "client_id": "c", "client_secret": "sk-oidc"}}},
                "events": {"url": "https://app.example/", "secrets": ["whsec_c"]},
                "providers": {"text": {"default": "a", "endpoints": {
                    "a": endpoint(GOOD, "sk-a"), "b": {"url": EVIL, "api_keys": ["sk-b", "sk-c"]},
                    "v": {"url": EVIL, "api_key": {"env": "NAME"}}}},
                    "realtime": {"default": "r", "endpoints": {"r": {"api_key": "sk-r"}}}},
                "note": "kept",
            });
            let text = stored(&config, owner);

            let shown = masked(&text, owner, &key());

            for secret in [
                "sk_1", "whsec_a", "whsec_c", "sk-oidc", "sk-a", "sk-b", "sk-c", "sk-r", "sealed:",
            ] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
            assert_eq!(shown.matches("masked:v1:").count(), 9);
            assert!(shown.contains("NAME") && shown.contains("kept"));
            let back = kept(&text, owner).unmask(&shown);
            assert_eq!(back.unwrap_or_else(|_| panic!()), text);
        });
    }
}

#[test]
fn mask_is_matched_by_value_and_not_by_place() {
    for sealed in [false, true] {
        with_owner(sealed, |owner| {
            let before = config(json!({"a": {"url": GOOD, "api_keys": ["one", "two"]}}));
            let text = stored(&before, owner);
            let mut shown: Value = serde_json::from_str(&masked(&text, owner, &key())).unwrap();
            let list = &mut shown["providers"]["text"]["endpoints"]["a"]["api_keys"];
            list.as_array_mut().unwrap().reverse();
            // Also in another field that goes to the same host.
            let mask = list[0].clone();
            shown["providers"]["text"]["endpoints"]["b"] = json!({"url": GOOD, "api_key": mask});

            let back = kept(&text, owner).unmask(&shown.to_string());

            let back: Value = serde_json::from_str(&back.unwrap_or_else(|_| panic!())).unwrap();
            let endpoints = &back["providers"]["text"]["endpoints"];
            assert_eq!(endpoints["b"]["api_key"], "two");
            let open = |at: usize| {
                let written = endpoints["a"]["api_keys"][at].as_str().unwrap();
                opened(owner, "/providers/text/endpoints/a/api_keys/-", written).unwrap()
            };
            assert_eq!((open(0), open(1)), ("two".to_owned(), "one".to_owned()));
        });
    }
}

#[test]
fn mask_and_sealed_text_stay_with_their_host() {
    with_owner(true, |owner| {
        let before = config(json!({"a": endpoint(GOOD, "sk-a"), "b": endpoint(EVIL, "sk-b")}));
        let text = stored(&before, owner);
        let known = kept(&text, owner);
        let shown: Value = serde_json::from_str(&masked(&text, owner, &key())).unwrap();
        let sealed: Value = serde_json::from_str(&text).unwrap();
        let at = "providers.text.endpoints.a.api_key";
        for (what, url) in [
            ("another host", EVIL),
            ("another scheme", "http://good.example/v1/chat/completions"),
            (
                "another port",
                "https://good.example:8443/v1/chat/completions",
            ),
            ("no URL", "nothing"),
        ] {
            for given in [&shown, &sealed] {
                let mut moved = given.clone();
                moved["providers"]["text"]["endpoints"]["a"]["url"] = json!(url);
                let unmasked = known.unmask(&moved.to_string());
                let checked = unmasked.and_then(|text| known.check_sealed(&text));
                assert_eq!(paths(checked.unwrap_err()), [at], "{what}");
            }
        }
        // Another path of the same host is its own affair.
        let mut moved = shown.clone();
        moved["providers"]["text"]["endpoints"]["a"]["url"] = json!("https://GOOD.example:443/v2");
        assert!(known.unmask(&moved.to_string()).is_ok());
        // The mask of one in the place of the other.
        let mut moved = shown.clone();
        let mask = moved["providers"]["text"]["endpoints"]["a"]["api_key"].clone();
        moved["providers"]["text"]["endpoints"]["b"]["api_key"] = mask;
        let faults = known.unmask(&moved.to_string()).map(drop).unwrap_err();
        assert_eq!(paths(faults), ["providers.text.endpoints.b.api_key"]);
        let mut wrong = shown;
        wrong["providers"]["text"]["endpoints"]["a"]["api_key"] = json!("masked:v1:00000000");
        assert_eq!(
            paths(known.unmask(&wrong.to_string()).map(drop).unwrap_err()),
            [at]
        );
    });
}

#[test]
fn repeated_members_hide_no_secret_that_is_sent_elsewhere() {
    with_owner(true, |owner| {
        let text = stored(&config(json!({"a": endpoint(GOOD, "sk-a")})), owner);
        let known = kept(&text, owner);
        let shown: Value = serde_json::from_str(&masked(&text, owner, &key())).unwrap();
        let mask = shown["providers"]["text"]["endpoints"]["a"]["api_key"]
            .as_str()
            .unwrap();
        let long = "x".repeat(64);
        for endpoints in [
            format!(r#"{{"a":{{"url":"{GOOD}","api_key":"{mask}","url":"{EVIL}"}}}}"#),
            format!(r#"{{"a":{{"url":"{EVIL}","api_key":"{mask}"}},"a":{{"url":"{GOOD}"}}}}"#),
            format!(
                r#"{{"a":{{"url":"{GOOD}","api_key":"{mask}"}},"a":{{"url":"{EVIL}","api_key":"y"}}}}"#
            ),
            format!(r#"{{"a":{{"url":"{GOOD}","api_key":"{mask}","api_key":{{"env":"X"}}}}}}"#),
            // Names that are one in messages, which cut them.
            format!(
                r#"{{"{long}1":{{"url":"{EVIL}","api_key":"{mask}"}},"{long}2":{{"url":"{GOOD}","api_key":"y"}}}}"#
            ),
            format!(
                r#"{{"{long}2":{{"url":"{GOOD}","api_key":"y"}},"{long}1":{{"url":"{EVIL}","api_key":"{mask}"}}}}"#
            ),
        ] {
            let text =
                format!(r#"{{"providers":{{"text":{{"default":"a","endpoints":{endpoints}}}}}}}"#);
            assert!(known.unmask(&text).is_err(), "{text}");
        }
        // What is hidden in a stored config is kept for no destination.
        let sealed = &text[text.find("sealed:v1:").unwrap()..];
        let sealed = &sealed[..sealed.find('"').unwrap()];
        let hidden = format!(
            r#"{{"providers":{{"text":{{"default":"a","endpoints":{{"a":{{"url":"{GOOD}","api_key":"{sealed}"}},"a":{{"url":"{EVIL}"}}}}}}}}}}"#
        );
        let known = kept(&hidden, owner);
        let moved = config(json!({"a": endpoint(EVIL, mask)})).to_string();
        assert!(known.unmask(&moved).is_err());
        let moved = config(json!({"a": endpoint(EVIL, sealed)})).to_string();
        assert!(known.check_sealed(&moved).is_err());
    });
}

#[test]
fn whatever_stands_in_the_place_of_a_secret_is_hidden() {
    with_owner(false, |owner| {
        for (text, shown) in [
            (r#""sk-1""#, r#""***""#),
            ("sk-1 is no JSON", r#""***""#),
            (
                r#"{"auth":{"stripe":"sk-1"}}"#,
                r#"{"auth":{"stripe":"***"}}"#,
            ),
            (
                r#"{"auth":{"stripe":{"api_key":["sk-1"]}}}"#,
                r#"{"auth":{"stripe":{"api_key":"***"}}}"#,
            ),
            (
                r#"{"auth":{"stripe":{"api_key":{"env":"A","x":"sk-1"}}}}"#,
                r#"{"auth":{"stripe":{"api_key":"***"}}}"#,
            ),
            (
                r#"{"auth":{"stripe":{"api_key":{"env":"A","env":"B"}}}}"#,
                r#"{"auth":{"stripe":{"api_key":"***"}}}"#,
            ),
            (
                r#"{"auth":{"stripe":{"api_key":null}}}"#,
                r#"{"auth":{"stripe":{"api_key":null}}}"#,
            ),
            (
                r#"{"auth":{"stripe":{"api_key":4711}}}"#,
                r#"{"auth":{"stripe":{"api_key":"***"}}}"#,
            ),
            (
                r#"{"auth":{"stripe":{"webhook_secrets":"sk-1"}}}"#,
                r#"{"auth":{"stripe":{"webhook_secrets":"***"}}}"#,
            ),
        ] {
            assert_eq!(masked(text, owner, &key()), shown);
        }
        let twice = r#"{"auth":{"stripe":{"api_key":"sk-1","api\u005fkey":"sk-2"}}}"#;
        assert!(!masked(twice, owner, &key()).contains("sk-"));
        for text in ["***", "masked:", "masked:v1:00000000"] {
            let config = json!({"auth": {"stripe": {"api_key": text}}}).to_string();
            assert!(KeptSecrets::default().unmask(&config).is_err(), "{text}");
        }
    });
}

#[test]
fn readers_see_no_query_and_no_unknown_field() {
    let url = format!("{GOOD}?key=sk-query");
    let mut config = config(
        json!({"a": {"url": url, "models": ["m"], "own": "sk-own", "api_key": "masked:v1:1"}}),
    );
    config["of_others"] = json!({"token": "sk-other", "number": 4711});
    config["user_groups"] = json!({"anonymous": {"tokens": 5}});

    let shown: Value = serde_json::from_str(&for_readers(&config.to_string())).unwrap();

    let endpoint = &shown["providers"]["text"]["endpoints"]["a"];
    assert_eq!(
        *endpoint,
        json!({"url": format!("{GOOD}?***"), "models": ["m"], "own": "***", "api_key": "masked:v1:1"})
    );
    assert_eq!(shown["of_others"], json!({"token": "***", "number": "***"}));
    assert_eq!(shown["user_groups"], config["user_groups"]);
    assert_eq!(for_readers("\"***\""), "\"***\"");
}

#[test]
fn two_tenants_mask_one_secret_in_two_ways() {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"of a test");
    let other = MaskKey::derive(&secret, &TenantId::parse("other").unwrap());
    assert_ne!(key().mask("sk"), other.mask("sk"));
    assert_eq!(key().mask("sk"), key().mask("sk"));
    assert_eq!(key().mask("sk").len(), "masked:v1:".len() + 8);
}
