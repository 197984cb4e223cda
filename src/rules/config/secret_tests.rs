//! Tests of the secret fields of a config, and of sealing them.

use super::*;
use crate::rules::config::read_for;
use crate::tables::tests::read;
use serde_json::json;

const KEY: [u8; 32] = [1; 32];
const OLD: [u8; 32] = [2; 32];

fn keyring(present: Option<[u8; 32]>, old: &[[u8; 32]]) -> Keyring {
    Keyring {
        present: present.as_ref().map(SealKey::new),
        old: old.iter().map(SealKey::new).collect(),
        approved: Vec::new(),
    }
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

/// Returns a config with a string in every field that the schema marks as a secret.
fn all_secrets() -> Value {
    let mut config = json!({
        "auth": {"google_oauth": {"client_id": "g"}, "apple_oauth": {"client_id": "a"}},
        "providers": {
            "text": {"default": "x.y", "endpoints": {"x.y": {"url": "https://a.example/"}}},
            "realtime": {"default": "x.y", "endpoints": {"x.y": {}}},
        }
    });
    for (number, way) in WAYS.iter().enumerate() {
        let mut place = &mut config;
        for name in way {
            place = &mut place[name.as_deref().unwrap_or("x.y")];
        }
        *place = json!(format!("secret-{number}"));
    }
    config
}

fn seal(text: &str, tenant: &TenantId, keyring: &Keyring, again: bool) -> Sealed {
    try_seal(text, tenant, keyring, again).unwrap()
}

fn try_seal(
    text: &str,
    tenant: &TenantId,
    keyring: &Keyring,
    again: bool,
) -> Result<Sealed, Vec<Fault>> {
    let secrets = secrets_in(text).into_iter().zip((0u8..).map(|n| [n; 12]));
    seal_text(text, Owner { tenant, keyring }, again, secrets).map_err(|faults| faults.0)
}

#[test]
fn every_place_that_the_schema_marks_is_known_and_read_as_a_key() {
    let marks = crate::rules::config::schema()
        .to_string()
        .matches("\"format\":\"password\"")
        .count();
    assert_eq!(
        marks,
        WAYS.len(),
        "a mark stands where it is not looked for"
    );
    let ways: Vec<String> = WAYS
        .iter()
        .map(|way| {
            way.iter()
                .map(|name| name.as_deref().unwrap_or("*"))
                .collect::<Vec<_>>()
                .join(".")
        })
        .collect();
    for way in [
        "auth.stripe.api_key",
        "auth.google_oauth.client_secret",
        "auth.apple_oauth.client_secret",
        "auth.apple_oauth.private_key",
        "auth.oidc.*.client_secret",
        "providers.text.endpoints.*.api_key",
        "providers.text.endpoints.*.api_keys.-",
        "providers.realtime.endpoints.*.api_key",
    ] {
        assert!(ways.iter().any(|known| known == way), "{way} in {ways:?}");
    }
    // A fault at every secret field shows that the reader reads each of them.
    let mut config = all_secrets();
    for way in WAYS.iter() {
        let names = way.iter().map(|name| name.as_deref().unwrap_or("x.y"));
        let place = names.fold(&mut config, |place, name| match name {
            ANY_ITEM => {
                *place = json!([null]);
                &mut place[0]
            }
            name => &mut place[name],
        });
        *place = json!("sealed:nonsense");
    }
    let (tenant, keyring) = (tenant("abc"), keyring(Some(KEY), &[]));
    let owner = Owner {
        tenant: &tenant,
        keyring: &keyring,
    };
    let faults = read_for(owner, &config).unwrap_err();
    let closed = faults
        .iter()
        .filter(|fault| fault.message.contains("no sealed text"));
    assert_eq!(closed.count(), WAYS.len(), "{faults:?}");
}

#[test]
fn a_sealed_config_means_what_it_meant_and_shows_no_secret() {
    let (tenant, keyring) = (tenant("abc"), keyring(Some(KEY), &[]));
    let owner = Owner {
        tenant: &tenant,
        keyring: &keyring,
    };
    let plain = all_secrets();
    let sealed = seal(&plain.to_string(), &tenant, &keyring, false);
    assert_eq!(sealed.fresh, WAYS.len() as u64);
    assert!(!sealed.text.contains("secret-"), "{}", sealed.text);
    let config: Value = serde_json::from_str(&sealed.text).unwrap();
    assert_eq!(read_for(owner, &config), read_for(owner, &plain));
    // A sealed secret is not sealed a second time.
    let again = seal(&sealed.text, &tenant, &keyring, false);
    assert_eq!((again.text, again.fresh), (sealed.text, 0));
}

#[test]
fn only_the_secrets_change_and_no_spelling_hides_one() {
    let (tenant, keyring) = (tenant("abc"), keyring(Some(KEY), &[]));
    let text = r#"{ "z": 1.50, "auth" : {"stripe":{"api_key":"sk-1","note":"sk-9"}, "stripe":{"\u0061pi_key": "sk-\u0032"}},
            "providers":{"text":{"endpoints":{"a/b~c":{"api_key":"sk-3"},"x":{"api_key":null},"y":{"api_key":{"env":"N"}},"z":{"api_key":""}}}},
            "providers":null, "api_key":"mine" }"#;
    let sealed = seal(text, &tenant, &keyring, false);
    for secret in ["sk-1", "sk-2", "sk-\\u0032", "sk-3"] {
        assert!(!sealed.text.contains(secret), "{secret} in {}", sealed.text);
    }
    assert_eq!(sealed.fresh, 3);
    let rest: String = regex::Regex::new("\"sealed:[^\"]*\"")
        .unwrap()
        .replace_all(&sealed.text, "•")
        .into_owned();
    let expected = text
        .replace("\"sk-1\"", "•")
        .replace("\"sk-\\u0032\"", "•")
        .replace("\"sk-3\"", "•");
    assert_eq!(rest, expected);
}

#[test]
fn without_a_key_a_config_is_stored_as_it_is() {
    let (tenant, none) = (tenant("abc"), keyring(None, &[OLD]));
    let text = all_secrets().to_string();
    assert_eq!(seal(&text, &tenant, &none, false).text, text);
}

#[test]
fn another_key_takes_over_and_then_the_old_one_can_go() {
    let tenant = tenant("abc");
    let text = r#"{"auth":{"stripe":{"api_key":"sk-1"}},"providers":{"text":{"endpoints":{"a":{"api_key":"sk-2"}}}}}"#;
    let old = seal(text, &tenant, &keyring(Some(OLD), &[]), false).text;
    let both = keyring(Some(KEY), &[OLD]);
    // A third secret, which is still plain.
    let mixed = old.replacen(
        '{',
        r#"{"providers":{"realtime":{"endpoints":{"r":{"api_key":"sk-3"}}}},"#,
        1,
    );
    let new = seal(&mixed, &tenant, &both, true);
    assert_eq!((new.fresh, new.again, new.kept), (1, 2, 0));
    let once_more = seal(&new.text, &tenant, &keyring(Some(KEY), &[]), true);
    assert_eq!(
        (once_more.fresh, once_more.again, once_more.kept),
        (0, 0, 3)
    );
    assert_eq!(once_more.text, new.text);
    for lost in [keyring(Some(KEY), &[]), keyring(Some([3; 32]), &[])] {
        let faults = try_seal(&old, &tenant, &lost, true).err().unwrap();
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            ["auth.stripe.api_key", "providers.text.endpoints.a.api_key"]
        );
    }
    // A secret that carries the ID of the present key, but is damaged.
    let damaged = new.text.replacen("\"}", "A\"}", 1);
    assert_eq!(
        try_seal(&damaged, &tenant, &both, true)
            .err()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_variable_goes_to_its_origin_for_its_tenants_alone() {
    let origin = |https, host: &str, port| Origin {
        https,
        host: host.to_owned(),
        port,
    };
    let approved = |name: &str, origin, tenants: &[&str]| Approval {
        name: name.to_owned(),
        origin,
        tenants: tenants.iter().map(|id| tenant(id)).collect(),
        value: Some(Secret::new(format!("value-of-{name}"))),
    };
    let keyring = Keyring {
        approved: vec![
            approved("A", origin(true, "api.openai.com", 443), &[]),
            approved("A", origin(false, "127.0.0.1", 8000), &[]),
            approved("B", origin(true, "api.openai.com", 443), &["abc"]),
            approved("STRIPE", origin(true, "api.stripe.com", 443), &[]),
        ],
        ..Keyring::default()
    };
    let key = |id: &str, url: &str, reference: Value| {
        let tenant = tenant(id);
        let config = json!({"providers": {"text": {"default": "a", "endpoints": {
            "a": {"url": url, "api_key": reference}
        }}}});
        let read = read_for(
            Owner {
                tenant: &tenant,
                keyring: &keyring,
            },
            &config,
        );
        read.map(|(config, _)| {
            config.providers.text.unwrap().endpoints[0]
                .api_key
                .clone()
                .unwrap()
                .expose()
                .to_owned()
        })
    };
    let env = |name: &str| json!({"env": name});
    let openai = "https://api.openai.com/v1/chat/completions";
    assert_eq!(key("abc", openai, env("A")).as_deref(), Ok("value-of-A"));
    assert_eq!(
        key("abc", "https://API.OpenAI.com:443/x", env("A")).as_deref(),
        Ok("value-of-A")
    );
    assert_eq!(
        key("abc", "http://127.0.0.1:8000/x", env("A")).as_deref(),
        Ok("value-of-A")
    );
    assert_eq!(key("abc", openai, env("B")).as_deref(), Ok("value-of-B"));
    let mut messages = Vec::new();
    for (id, url, reference) in [
        ("abc", "https://evil.example/v1", env("A")),
        ("abc", "https://api.openai.com.evil.example/", env("A")),
        (
            "abc",
            "https://evil.example/?https://api.openai.com/",
            env("A"),
        ),
        ("abc", "http://api.openai.com/", env("A")),
        ("abc", "https://api.openai.com:444/", env("A")),
        ("abc", "https://127.0.0.1:8000/", env("A")),
        ("xyz", openai, env("B")),
        ("abc", openai, env("PATH")),
        ("abc", openai, env("")),
        ("abc", openai, env("STRIPE")),
    ] {
        let faults = key(id, url, reference).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].path, "providers.text.endpoints.a.api_key");
        messages.push(faults[0].message.clone());
    }
    messages.dedup();
    assert_eq!(
        messages.len(),
        1,
        "nothing tells one reason from another: {messages:?}"
    );
    for odd in [
        json!({}),
        json!({"env": 1}),
        json!({"env": "A", "or": "x"}),
        json!({"ENV": "A"}),
    ] {
        let faults = key("abc", openai, odd).unwrap_err();
        assert!(faults[0].message.contains(r#"{"env": …}"#), "{faults:?}");
    }
    let abc = tenant("abc");
    let owner = Owner {
        tenant: &abc,
        keyring: &keyring,
    };
    let stripe = json!({"auth": {"stripe": {"api_key": env("STRIPE")}}});
    assert!(read_for(owner, &stripe).is_ok());
    let stripe = json!({"auth": {"stripe": {"api_key": env("A")}}});
    assert!(read_for(owner, &stripe).is_err());
    // The demo has no host, and needs no key.
    let demo = json!({"providers": {"text": {"default": "a", "endpoints": {
        "a": {"kind": "demo", "api_key": env("A")}
    }}}});
    assert!(read_for(owner, &demo).is_err());
}

#[test]
fn an_approval_names_a_variable_and_where_it_may_go() {
    let shown = |text: &str| {
        let one = read(&approval(), text).ok()?;
        let scheme = if one.origin.https { "https" } else { "http" };
        let tenants: Vec<&str> = one.tenants.iter().map(TenantId::as_str).collect();
        Some(format!(
            "{} {scheme} {} {} {tenants:?}",
            one.name, one.origin.host, one.origin.port
        ))
    };
    for (text, meant) in [
        (
            "OPENAI_API_KEY=api.openai.com",
            "OPENAI_API_KEY https api.openai.com 443 []",
        ),
        (
            "A=https://API.Openai.com:8443",
            "A https api.openai.com 8443 []",
        ),
        ("A=http://127.0.0.1:8000", "A http 127.0.0.1 8000 []"),
        ("A=http://[::1]", "A http ::1 80 []"),
        (
            "A=[0:0::1]:1 for abc  x-y_z",
            r#"A https ::1 1 ["abc", "x-y_z"]"#,
        ),
    ] {
        assert_eq!(shown(text).as_deref(), Some(meant), "{text}");
    }
    for text in [
        "A",
        "A=",
        "=h",
        "A b=h",
        "1A=h",
        "A=h/path",
        "A=h:x",
        "A=h:0",
        "A=*",
        "A=ftp://h",
        "A=h for",
        "A=h abc",
        "A=h for a:b",
        "A=https://",
        "sk-s3cret",
    ] {
        let message = read(&approval(), text).map(|one| one.name).unwrap_err();
        assert_eq!(message, APPROVED, "{text}");
    }
}

#[test]
fn keys_in_a_list_are_sealed_and_open_wherever_they_stand_in_it() {
    let (tenant, keyring) = (tenant("abc"), keyring(Some(KEY), &[]));
    let owner = Owner {
        tenant: &tenant,
        keyring: &keyring,
    };
    let config = json!({"providers": {"text": {"default": "a", "endpoints": {"a": {
        "url": "https://a.example/v1/chat/completions", "api_keys": ["sk-one", "sk-two", "sk-three"],
    }}}}});
    let text = config.to_string();
    let sealed = seal(&text, &tenant, &keyring, false);
    assert_eq!(sealed.fresh, 3);
    assert!(!sealed.text.contains("sk-"));
    let mut sealed: Value = serde_json::from_str(&sealed.text).unwrap();
    let keys = &mut sealed["providers"]["text"]["endpoints"]["a"]["api_keys"];
    keys.as_array_mut().unwrap().remove(0);
    keys.as_array_mut().unwrap().reverse();
    let (read, _) = read_for(owner, &sealed).unwrap();
    let text = read.providers.text.unwrap();
    let keys: Vec<&str> = text.endpoints[0].keys().map(Secret::expose).collect();
    assert_eq!(keys, ["sk-three", "sk-two"]);
}
