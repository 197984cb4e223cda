//! Tests of masks: what they keep, and the ways to have a secret sent elsewhere.

use super::*;
use crate::rules::config::secret::Keyring;
use proptest::prelude::*;
use serde_json::json;

fn config(url: &str, key: &str) -> String {
    json!({"providers": {"text": {"endpoints": {"one": {"url": url, "api_key": key}}}}}).to_string()
}

const URL: &str = "https://api.openai.com/v1/chat/completions";

struct World {
    tenant: TenantId,
    keyring: Keyring,
    key: MaskKey,
}

impl World {
    fn new() -> World {
        World {
            tenant: TenantId::parse("abc").unwrap(),
            keyring: Keyring {
                present: Some(seal::SealKey::new(&[7; 32])),
                ..Keyring::default()
            },
            key: MaskKey::new(b"an operator's secret"),
        }
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            tenant: &self.tenant,
            keyring: &self.keyring,
        }
    }

    fn sealed(&self, text: &str) -> String {
        let secrets = secrets_in(text).into_iter().map(|found| (found, [1; 12]));
        let sealed = crate::rules::config::seal_text(text, self.owner(), false, secrets);
        sealed.unwrap_or_else(|_| panic!("not sealed")).text
    }

    fn masked(&self, text: &str) -> String {
        masked(text, self.owner(), &self.key)
    }

    fn put(&self, text: &str, stored: &str) -> Result<String, String> {
        let put = unmasked(text, &[stored], self.owner(), &self.key);
        put.map_err(|faults| faults.in_line())
    }
}

#[test]
fn a_config_that_comes_back_masked_is_as_it_was() {
    let world = World::new();
    let plain = config(URL, "sk-1");
    for stored in [plain.clone(), world.sealed(&plain)] {
        let shown = world.masked(&stored);
        assert!(
            shown.contains("\"masked:v1:") && !shown.contains("sk-1"),
            "{shown}"
        );
        assert!(!shown.contains("sealed:"), "{shown}");
        assert_eq!(world.put(&shown, &stored).unwrap(), stored);
    }
}

#[test]
fn a_mask_is_matched_by_value_and_not_by_place() {
    let world = World::new();
    let stored = json!({"providers": {"text": {"endpoints": {"one": {
        "url": URL, "api_keys": ["sk-1", "sk-2", "sk-3"],
    }}}}});
    let shown: Value = serde_json::from_str(&world.masked(&stored.to_string())).unwrap();
    let keys = &shown["providers"]["text"]["endpoints"]["one"]["api_keys"];
    let mut new = shown.clone();
    new["providers"]["text"]["endpoints"]["one"]["api_keys"] = json!([keys[2], "sk-9", keys[0]]);
    let put: Value =
        serde_json::from_str(&world.put(&new.to_string(), &stored.to_string()).unwrap()).unwrap();
    let keys = &put["providers"]["text"]["endpoints"]["one"]["api_keys"];
    assert_eq!(keys, &json!(["sk-3", "sk-9", "sk-1"]));
}

#[test]
fn no_secret_follows_a_host_that_was_changed() {
    let world = World::new();
    let plain = config(URL, "sk-1");
    let sealed = world.sealed(&plain);
    for stored in [&plain, &sealed] {
        let secret: Value = serde_json::from_str(stored).unwrap();
        let secret = &secret["providers"]["text"]["endpoints"]["one"]["api_key"];
        let mask: Value = serde_json::from_str(&world.masked(stored)).unwrap();
        let mask = &mask["providers"]["text"]["endpoints"]["one"]["api_key"];
        let references = [mask, secret];
        for reference in references.iter().take(if stored == &plain { 1 } else { 2 }) {
            let reference = reference.as_str().unwrap();
            for url in [
                "https://evil.example/v1/chat/completions",
                "http://api.openai.com/v1/chat/completions",
                "https://api.openai.com:444/v1/chat/completions",
                "https://api.openai.com.evil.example/v1",
                "nonsense",
            ] {
                let why = world.put(&config(url, reference), stored).unwrap_err();
                assert!(why.contains("enter the secret again"), "{url}: {why}");
                assert!(
                    why.contains("providers.text.endpoints.one.api_key"),
                    "{why}"
                );
            }
            let other_path = "https://api.openai.com/other/chat/completions";
            assert!(world.put(&config(other_path, reference), stored).is_ok());
        }
    }
}

#[test]
fn a_secret_does_not_move_to_another_endpoint_or_use() {
    let world = World::new();
    let stored = config(URL, "sk-1");
    let mask: Value = serde_json::from_str(&world.masked(&stored)).unwrap();
    let mask = &mask["providers"]["text"]["endpoints"]["one"]["api_key"];
    let elsewhere = json!({"providers": {"text": {"endpoints": {
        "one": {"url": URL},
        "two": {"url": "https://evil.example/v1/chat/completions", "api_key": mask},
    }}}});
    assert!(world.put(&elsewhere.to_string(), &stored).is_err());
    for events in [
        json!({"events": {"url": "https://evil.example/hook", "secrets": [mask]}}),
        json!({"auth": {"oidc": {"a": {"issuer": "https://evil.example", "client_id": "c", "client_secret": mask}}}}),
        json!({"auth": {"google_oauth": {"client_id": "c", "client_secret": mask}}}),
        json!({"auth": {"stripe": {"api_key": mask}}}),
    ] {
        let put = world.put(&events.to_string(), &stored);
        assert!(put.is_err(), "{events}");
    }
}

#[test]
fn a_member_that_stands_twice_gives_nothing_away() {
    let world = World::new();
    let stored = config(URL, "sk-1");
    let mask = world.masked(&stored);
    let mask: Value = serde_json::from_str(&mask).unwrap();
    let mask = mask["providers"]["text"]["endpoints"]["one"]["api_key"]
        .as_str()
        .unwrap();
    let evil = "https://evil.example/v1/chat/completions";
    for members in [
        format!(r#""url":"{URL}","api_key":"{mask}","url":"{evil}""#),
        format!(r#""url":"{evil}","api_key":"","api_key":"{mask}""#),
        format!(r#""api_key":"{mask}","url":"{URL}","url":"{evil}""#),
    ] {
        let text = format!(r#"{{"providers":{{"text":{{"endpoints":{{"one":{{{members}}}}}}}}}}}"#);
        assert!(world.put(&text, &stored).is_err(), "{members}");
    }
}

#[test]
fn unknown_masks_and_sealed_texts_are_refused_by_their_path() {
    let world = World::new();
    let stored = config(URL, "sk-1");
    let why = world
        .put(&config(URL, "masked:v1:00000000"), &stored)
        .unwrap_err();
    assert!(
        why.contains("api_key") && why.contains("stands for no secret"),
        "{why}"
    );
    let foreign = world.sealed(&config(URL, "sk-2"));
    let why = world.put(&foreign, &stored).unwrap_err();
    assert!(why.contains("not in the stored config"), "{why}");
    // A new tenant may begin with what was sealed for it.
    let put = unmasked(&foreign, &[], world.owner(), &world.key);
    assert_eq!(put.unwrap_or_else(|_| panic!("refused")), foreign);
}

proptest! {
    #[test]
    fn masks_tell_secrets_apart_and_are_the_same_for_the_same(
        one in "[!-~]{1,40}", other in "[!-~]{1,40}",
    ) {
        let world = World::new();
        let mask = |key: &str| world.masked(&config(URL, key));
        prop_assert_eq!(mask(&one), mask(&one));
        prop_assert_eq!(mask(&one) == mask(&other), one == other);
        let stored = config(URL, &one);
        prop_assert_eq!(world.put(&mask(&one), &stored), Ok(stored));
    }
}
