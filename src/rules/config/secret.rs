//! Where a config's secrets stand, and what may stand there: the secret itself, the secret sealed, or
//! the name of one that the operator keeps in the environment.
//!
//! The schema is the table of places: what it marks as a secret is sealed before it is stored, and the
//! reader takes a `Key` from no other place. A message must never repeat what stands there.

use super::key::Key;
use super::node::{Fault, Node};
use super::schema::schema;
use super::url::Origin;
use crate::json;
use crate::rules::seal::{self, Nonce, Place, SealKey};
use crate::rules::tenant::TenantId;
use serde_json::Value;
use std::ops::Range;
use std::sync::LazyLock;

/// What opens and fills the secrets of configs: the operator's keys, and the variables of the
/// environment that configs may name.
#[derive(Default)]
pub struct Keyring {
    pub present: Option<SealKey>,
    /// They open, and never seal.
    pub old: Vec<SealKey>,
    pub approved: Vec<Approved>,
}

impl Keyring {
    fn keys(&self) -> impl Iterator<Item = &SealKey> {
        self.present.iter().chain(&self.old)
    }
}

/// A variable of the operator's environment, and where its value may go.
pub struct Approved {
    pub name: String,
    pub origin: Origin,
    /// Empty: every tenant may name it.
    pub tenants: Vec<TenantId>,
    pub value: Key,
}

/// Whose config is read, and what its secrets are read with.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub tenant: &'a TenantId,
    pub keyring: &'a Keyring,
}

impl Owner<'_> {
    /// What a field means that goes to this origin and nowhere else; or why it means nothing.
    pub(super) fn secret(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Key, String> {
        debug_assert!(
            is_secret(node.pointer()),
            "{}: schema.rs does not mark it as a secret, so it would be stored unsealed",
            node.pointer()
        );
        match node.value() {
            Value::String(text) if seal::is_sealed(text) => {
                let place = Place {
                    tenant: self.tenant,
                    field: node.pointer(),
                };
                let opened = seal::open(self.keyring.keys(), place, text);
                opened.map(Key::new).map_err(|why| why.to_string())
            }
            Value::String(text) => Ok(Key::new(text.clone())),
            Value::Object(fields) => match fields.get("env").and_then(Value::as_str) {
                Some(name) if fields.len() == 1 => self.named(name, goes).ok_or_else(|| {
                    "names no variable that the operator lets this tenant send there".to_owned()
                }),
                _ => Err(
                    r#"expected a string, or {"env": …} with the name of a variable"#.to_owned(),
                ),
            },
            _ => Err(format!("expected a string, not {}", node.type_name())),
        }
    }

    /// Whether there is no such variable, or one for others, or for elsewhere, is not the tenant's to know.
    fn named(&self, name: &str, goes: Option<&Origin>) -> Option<Key> {
        let goes = goes?;
        let fits = |one: &&Approved| {
            let whose = one.tenants.is_empty() || one.tenants.contains(self.tenant);
            one.name == name && one.origin == *goes && whose
        };
        let approved = self.keyring.approved.iter().find(fits)?;
        Some(approved.value.clone())
    }
}

/// Every secret place as the names on the way to it; `None` stands for any name.
type Way = Vec<Option<String>>;

static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    let mut ways = Vec::new();
    find_ways(&schema(), &mut Vec::new(), &mut ways);
    ways
});

fn find_ways(schema: &Value, way: &mut Way, found: &mut Vec<Way>) {
    if super::schema::is_secret(schema) {
        found.push(way.clone());
    }
    let named = schema["properties"].as_object().into_iter().flatten();
    let named = named.map(|(name, part)| (Some(name.clone()), part));
    let any = schema.get("additionalProperties").map(|part| (None, part));
    for (name, part) in named.chain(any) {
        way.push(name);
        find_ways(part, way, found);
        way.pop();
    }
}

/// How far the names, which are those of a JSON pointer, are on the way to a secret.
fn on_the_way(pointer: &str, enough: impl Fn(usize, usize) -> bool) -> bool {
    let names: Vec<&str> = pointer.split('/').skip(1).collect();
    WAYS.iter().any(|way| {
        let steps = way.iter().zip(&names);
        let mut fits = steps.map(|(step, name)| step.as_ref().is_none_or(|step| step == name));
        enough(names.len(), way.len()) && fits.all(|fits| fits)
    })
}

fn is_secret(pointer: &str) -> bool {
    on_the_way(pointer, |names, way| names == way)
}

/// A secret in a config's text.
pub struct Found {
    pointer: String,
    /// The name as messages say it.
    path: String,
    place: Range<usize>,
}

/// Every text that stands in a secret place, also where JSON readers see only a later one of the same
/// name. The text must be JSON.
pub fn secrets_in(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    look_into(text, 0..text.len(), "", "", &mut found);
    found
}

fn look_into(text: &str, at: Range<usize>, pointer: &str, path: &str, found: &mut Vec<Found>) {
    let Some((members, _)) = json::members(&text[at.clone()]) else {
        return;
    };
    for member in members {
        let value = at.start + member.value.start..at.start + member.value.end;
        let Ok(name) = serde_json::from_str::<String>(&format!("\"{}\"", member.name)) else {
            continue;
        };
        let pointer = format!("{pointer}{}", super::node::step(&name));
        let path = super::node::joined(path, &name);
        if is_secret(&pointer) && text[value.clone()].starts_with('"') {
            found.push(Found {
                pointer,
                path,
                place: value,
            });
        } else if on_the_way(&pointer, |names, way| names < way) {
            look_into(text, value, &pointer, &path, found);
        }
    }
}

/// A config's text after sealing, and how many secrets were what before.
#[derive(Default)]
pub struct Sealed {
    pub text: String,
    /// They were readable.
    pub fresh: u64,
    /// They were sealed with an old key.
    pub again: u64,
    /// They were sealed with the present key already.
    pub kept: u64,
}

/// Seals what is readable. `again`: also what is sealed with an old key, which must open for that.
pub fn seal_text(
    text: &str,
    owner: Owner<'_>,
    again: bool,
    secrets: impl IntoIterator<Item = (Found, Nonce)>,
) -> Result<Sealed, Vec<Fault>> {
    let (mut sealed, mut faults) = (Sealed::default(), Vec::new());
    let mut copied = 0;
    for (secret, nonce) in secrets {
        let Some(key) = &owner.keyring.present else {
            break;
        };
        // Not to be read as a text, so not to be read as a secret either.
        let Ok(written) = serde_json::from_str::<String>(&text[secret.place.clone()]) else {
            continue;
        };
        let place = Place {
            tenant: owner.tenant,
            field: &secret.pointer,
        };
        let is_sealed = seal::is_sealed(&written);
        let plain = if is_sealed && (!again || key.is_of(&written)) {
            sealed.kept += 1;
            // What says it is of the present key must open too, or nobody would hear of it.
            let opened = again.then(|| seal::open(owner.keyring.keys(), place, &written));
            opened.and_then(Result::err).map(Err)
        } else if is_sealed {
            sealed.again += 1;
            Some(seal::open(owner.keyring.keys(), place, &written))
        } else {
            // An empty text keeps nothing secret, and means that there is none.
            let hides = !written.is_empty();
            sealed.fresh += u64::from(hides);
            hides.then_some(Ok(written))
        };
        match plain {
            None => {}
            Some(Ok(plain)) => {
                sealed.text.push_str(&text[copied..secret.place.start]);
                let closed = key.seal(nonce, place, &plain);
                sealed.text.push_str(&format!("\"{closed}\""));
                copied = secret.place.end;
            }
            Some(Err(why)) => faults.push(Fault {
                path: secret.path,
                message: why.to_string(),
            }),
        }
    }
    sealed.text.push_str(&text[copied..]);
    if faults.is_empty() {
        Ok(sealed)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config::read_for;
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

    /// A config with a text at every place that the schema marks.
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
        seal_text(text, Owner { tenant, keyring }, again, secrets)
    }

    #[test]
    fn every_place_that_the_schema_marks_is_known_and_read_as_a_key() {
        let marks = schema()
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
            "providers.text.endpoints.*.api_key",
            "providers.realtime.endpoints.*.api_key",
        ] {
            assert!(ways.iter().any(|known| known == way), "{way} in {ways:?}");
        }
        // A fault at each place shows that each is read.
        let mut config = all_secrets();
        for way in WAYS.iter() {
            let names = way.iter().map(|name| name.as_deref().unwrap_or("x.y"));
            let place = names.fold(&mut config, |place, name| &mut place[name]);
            *place = json!("sealed:nonsense");
        }
        let (tenant, keyring) = (tenant("abc"), keyring(Some(KEY), &[]));
        let owner = Owner {
            tenant: &tenant,
            keyring: &keyring,
        };
        let faults = read_for(owner, &config).unwrap_err();
        assert_eq!(faults.len(), WAYS.len(), "{faults:?}");
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
        // Once sealed, it stays as it is.
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
        // A third one that is not sealed yet.
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
        // Of the present key by name, and damaged.
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
        let approved = |name: &str, origin, tenants: &[&str]| Approved {
            name: name.to_owned(),
            origin,
            tenants: tenants.iter().map(|id| tenant(id)).collect(),
            value: Key::new(format!("value-of-{name}")),
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
            read.map(|config| {
                config.text.unwrap().endpoints[0]
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
        // The stand-in has no host of its own, and needs no key.
        let demo = json!({"providers": {"text": {"default": "a", "endpoints": {
            "a": {"kind": "demo", "api_key": env("A")}
        }}}});
        assert!(read_for(owner, &demo).is_err());
    }
}
