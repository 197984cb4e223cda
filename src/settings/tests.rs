//! End-to-end tests of loading: a file and an environment in, [`Settings`] or [`Faults`] out.

use std::{sync::atomic::AtomicU32, time::Duration};

use serde_json::json;

use super::*;
use crate::tables::Secret;

const BUNDLED: &str = include_str!("../../gateway.yaml");

/// A temporary file with the given text, deleted on drop.
struct File(PathBuf);

impl File {
    fn of(text: &str) -> File {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("resullm-settings-{}-{number}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(text: Option<&str>, vars: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let file = text.map(File::of);
    let path = file.as_ref().map(|file| file.0.as_path());
    let env = |name: &str| {
        let found = vars.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let names: Vec<String> = vars.iter().map(|(name, _)| (*name).to_owned()).collect();
    load(path, &env, &names).map_err(|faults| {
        let shown = faults.to_string();
        let shown = match path {
            Some(path) => shown.replace(&path.display().to_string(), "f"),
            None => shown,
        };
        shown.lines().map(str::to_owned).collect()
    })
}

fn faults(text: &str) -> Vec<String> {
    read(Some(text), &[]).unwrap_err()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let settings = read(None, &[]).unwrap();
    assert_eq!(
        format!("{settings:?}"),
        format!("{:?}", Settings::default())
    );
    assert_eq!(settings.source, None);
    assert_eq!(settings.service.name, "ResuLLM");
    assert_eq!(addresses(&settings.server.listen), ["localhost:3000"]);
    assert_eq!(settings.server.max_body, 32 << 20);
    assert_eq!(settings.server.threads, None);
    assert_eq!(settings.accounts.hold_ttl, Duration::from_secs(60));
    assert_eq!(settings.accounts.mints_per_address, 600);
    assert_eq!(settings.accounts.most_mints_per_network(), 6_000);
    assert_eq!(settings.accounts.most_mints_per_tenant(), 120_000);
    assert!(settings.admin.token.is_none());
    let Store::Redis(redis) = &settings.store else {
        panic!("a redis")
    };
    assert_eq!(redis.nodes, [("localhost".to_owned(), 6379)]);
    assert_eq!(settings.tenants.0.len(), 1);
    assert_eq!(settings.tenants.0[0].0, "abc");
    assert_eq!(
        settings.tenants.0[0].1["caching"]["fee_percentage"],
        json!(20)
    );
}

#[test]
fn the_bundled_file_says_the_defaults() {
    let bundled = read(Some(BUNDLED), &[]).unwrap();
    let Store::Embedded(dir) = &bundled.store else {
        panic!("embedded")
    };
    assert_eq!(dir, Path::new("./data"));
    let sample: Value = serde_json::from_str(SAMPLE_TENANT).unwrap();
    assert_eq!(bundled.tenants.0[0], ("abc".to_owned(), sample.clone()));
    let (id, demo) = &bundled.tenants.0[1];
    assert_eq!(id, "demo");
    let mut groups = demo["user_groups"].clone();
    for group in ["stripe_basic", "stripe_premium"] {
        let group = groups[group].as_object_mut().unwrap();
        assert!(group.remove("stripe_price").is_some());
    }
    assert_eq!(groups, sample["user_groups"]);
    assert_eq!(
        demo["providers"]["text"]["endpoints"]["demo"]["kind"],
        "demo"
    );
    assert_eq!(demo["caching"], json!({"enabled": false}));

    let expected = Settings {
        source: bundled.source.clone(),
        warnings: bundled.warnings.clone(),
        store: bundled.store.clone(),
        tenants: bundled.tenants.clone(),
        ..Settings::default()
    };
    assert_eq!(format!("{bundled:?}"), format!("{expected:?}"));
}

/// `UPDATE=1 cargo test --lib written_from_the_table` writes them anew.
#[test]
fn file_and_reference_are_written_from_the_table() {
    let settings = format!("{}\n{}", include_str!("reference_head.txt"), reference());
    let config = format!(
        "{}\n{}",
        include_str!("reference_tenant_head.txt"),
        config::reference()
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, expected) in [
        ("gateway.yaml", bundled_file()),
        ("docs/reference-settings.md", settings),
        ("docs/reference-tenant.md", config),
    ] {
        let path = root.join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "{name} is not what the table says");
    }
}

#[test]
fn every_fault_is_reported_at_once_with_its_place() {
    let text = "\
service: {nmae: x}
server:
  listen: [localhost]
  max_body: many
  max_body: 1KiB
  drain_timeout: 30
  trusted_proxies: [10.0.0.0/40]
  threads: 0
store: mysql://root:s3cret@h
accounts:
  layout: both
  hold_ttl: 1s
admin: {token: s3cret}
egress: yes
upstream: {token: 1}
log: {level: loud}
listen: [localhost:1]
tenants:
  auth: {}
  abc:
    user_groups:
      anonymous: {rate_limit: 1, tokens: lots}
  x: 1
";
    let expected = [
        "f:1:11: service.nmae: unknown setting (did you mean name?)",
        "f:3:12: server.listen.0: expected host:port, not \"localhost\"",
        "f:4:3: server.max_body: expected a size such as 32MiB, not \"many\"",
        "f:5:3: server.max_body: duplicate key \"max_body\", first written in line 4",
        "f:6:3: server.drain_timeout: expected a duration such as 30s or 1m30s, not \"30\"",
        "f:7:21: server.trusted_proxies.0: expected an IP address or a block such as 10.0.0.0/8, \
         not \"10.0.0.0/40\"",
        "f:8:3: server.threads: expected a whole number from 1 to 1024, not \"0\"",
        "f:9:1: store: expected embedded:DIR or a URL such as redis://localhost:6379; the schemes \
         are redis, rediss, redis+cluster, rediss+cluster, redis+sentinel, rediss+sentinel",
        "f:11:3: accounts.layout: expected key or user, not \"both\"",
        "f:12:3: accounts.hold_ttl: expected a duration such as 30s or 1m30s, at least 5s, \
         not \"1s\"",
        "f:13:9: admin.token: expected at least 8 visible ASCII characters: a token that can be \
         guessed opens every tenant (openssl rand -hex 32 makes a good one)",
        "f:14:1: egress: expected a mapping, not a string",
        "f:15:12: upstream.token: unknown setting (did you mean admin.token?)",
        "f:16:7: log.level: expected a level (off, error, warn, info, debug, trace) or a list such \
         as info,name=debug, not \"loud\"",
        "f:17:1: listen: unknown setting (did you mean server.listen?)",
        "f:19:3: tenants.auth: \"auth\" cannot be a tenant ID: 1 to 63 letters, digits, _ or -, not a route",
        "f:22:7: tenants.abc.user_groups.anonymous.rate_limit_window: is required beside rate_limit",
        "f:22:34: tenants.abc.user_groups.anonymous.tokens: expected a whole number from 0 to 9007199254740991, not a string",
        "f:23:3: tenants.x: expected a tenant config, which is a mapping",
    ];
    let found = faults(text);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_text_that_is_not_settings_is_a_fault() {
    assert_eq!(faults("- a\n"), ["f:1:1: expected a mapping of settings"]);
    assert_eq!(
        faults("tenants: [abc]\n"),
        ["f:1:1: tenants: expected a mapping of tenant IDs to configs"]
    );
    let broken = faults("server:\n  listen: [a\nlog: {}\n");
    assert!(broken[0].starts_with("f:3:"), "{broken:?}");
}

#[test]
fn a_file_that_is_named_must_exist() {
    let missing = Path::new("no-such-directory/gateway.yaml");
    let read = load(Some(missing), &|_| None, &[]);
    let fault = read.unwrap_err().to_string();
    assert!(
        fault.starts_with("no-such-directory/gateway.yaml: cannot be read: "),
        "{fault}"
    );
}

fn addresses(listeners: &[Listener]) -> Vec<String> {
    listeners
        .iter()
        .map(|each| each.address.to_string())
        .collect()
}

#[test]
fn a_listener_is_an_address_or_a_mapping_with_one() {
    let text = "server:\n  listen:\n    - localhost:3000\n    - address: \"0.0.0.0:443\"\n      \
        tls: {cert: a.pem, key: a.key, client_ca: ca.pem, more: [{cert: b.pem, key: b.key}]}\n      \
        proxy_protocol: true\n";
    let listen = read(Some(text), &[("PORT", "9")]).unwrap().server.listen;
    assert_eq!(addresses(&listen), ["localhost:9", "0.0.0.0:443"]);
    let tls = listen[1].tls.as_ref().unwrap();
    let certificates = tls.certificates();
    let certs = certificates.iter().map(|each| each.cert.to_str().unwrap());
    assert_eq!(certs.collect::<Vec<_>>(), ["a.pem", "b.pem"]);
    assert_eq!(tls.client_ca.as_deref(), Some(Path::new("ca.pem")));
    assert!(listen[1].proxy_protocol && !listen[0].proxy_protocol);
    for (entry, why) in [
        ("{tls: {cert: a, key: b}}", ".address: is required"),
        (
            "{address: \"a:1\", tsl: 1}",
            ".tsl: unknown setting (did you mean tls?)",
        ),
        (
            "{address: \"a:1\", tls: {cert: a}}",
            ".tls.key: is required",
        ),
        (
            "{address: \"a:1\", tls: {cert: a, key: b, ca: c}}",
            ".tls.ca: unknown setting (there are: cert, key, more, client_ca)",
        ),
        (
            "{address: \"a:1\", tls: {cert: a, key: b, more: [{cert: c}]}}",
            ".tls.more.0.key: is required",
        ),
        ("{address: a}", ".address: expected host:port, not \"a\""),
        (
            "{address: \"a:1\", proxy_protocol: perhaps}",
            ".proxy_protocol: expected true or false",
        ),
    ] {
        let found = faults(&format!("server: {{listen: [{entry}]}}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(&format!("server.listen.0{why}")),
            "{found:?}"
        );
    }
}

#[test]
fn empty_sections_and_values_leave_the_defaults() {
    let text = "server:\nadmin: { token: ${ADMIN_TOKEN} }\nlog: {level: }\nstore: ${STORE}\n";
    let settings = read(Some(text), &[]).unwrap();
    assert!(settings.admin.token.is_none());
    assert_eq!(settings.log.level, "info");
    assert_eq!(addresses(&settings.server.listen), ["localhost:3000"]);
    assert!(settings.tenants.0.is_empty());
    assert!(read(Some(""), &[]).unwrap().source.is_some());
}

#[test]
fn the_strongest_word_wins() {
    let text = "store: embedded:file\nlog: {level: warn}\nserver: {max_body: 1KiB}\n";
    let level = |vars: &[(&str, &str)]| read(Some(text), vars).unwrap().log.level;
    assert_eq!(level(&[]), "warn");
    assert_eq!(level(&[("RESULLM__LOG__LEVEL", "error")]), "error");
    assert_eq!(
        level(&[("RESULLM__LOG__LEVEL", "error"), ("RUST_LOG", "debug")]),
        "debug"
    );
    assert_eq!(level(&[("RUST_LOG", "")]), "warn");

    let vars = [
        ("REDIS_URL", "redis://:s3cret@other:1"),
        ("ADMIN_TOKEN", "0123456789abcdef"),
        ("RESULLM__SERVER__MAX_BODY", "2KiB"),
        ("RESULLM__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("RESULLM__STORE", "embedded:weaker"),
        ("UNRELATED", "x"),
    ];
    let settings = read(Some(text), &vars).unwrap();
    let Store::Redis(redis) = &settings.store else {
        panic!("a redis")
    };
    assert_eq!(redis.nodes, [("other".to_owned(), 1)]);
    assert_eq!(
        settings.admin.token.as_ref().map(Secret::expose),
        Some("0123456789abcdef")
    );
    assert_eq!(settings.server.max_body, 2048);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("0123456789"),
        "{shown}"
    );
}

#[test]
fn port_replaces_the_first_address_and_host_replaces_all() {
    let text = "server: {listen: [\"localhost:3000\", \"[::1]:4000\"]}\n";
    let listen = |vars: &[(&str, &str)]| {
        let listen = read(Some(text), vars).unwrap().server.listen;
        listen
            .into_iter()
            .map(|each| each.address.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(listen(&[("PORT", "0")]), ["localhost:0", "[::1]:4000"]);
    assert_eq!(
        listen(&[("HOST", "0.0.0.0")]),
        ["0.0.0.0:3000", "0.0.0.0:4000"]
    );
    assert_eq!(
        listen(&[("HOST", "::"), ("PORT", "80")]),
        ["[::]:80", "[::]:4000"]
    );
    assert_eq!(
        listen(&[("HOST", "::"), ("PORT", "4000")]),
        ["[::]:4000"],
        "two that are the same are one"
    );
    assert_eq!(
        listen(&[("RESULLM__SERVER__LISTEN", "a:1,b:2"), ("PORT", "3")]),
        ["a:3", "b:2"]
    );
    assert_eq!(
        listen(&[("RESULLM__SERVER__LISTEN", "[a:1, \"[::1]:2\"]")]),
        ["a:1", "[::1]:2"]
    );
    assert_eq!(
        listen(&[("RESULLM__SERVER__LISTEN", "[::1]:9")]),
        ["[::1]:9"]
    );
    // `PORT` and `HOST` do not change `server.ops_listen` and `server.admin_listen`.
    let inside = read(
        None,
        &[
            ("RESULLM__SERVER__OPS_LISTEN", "localhost:9"),
            ("RESULLM__SERVER__ADMIN_LISTEN", "localhost:10"),
            ("PORT", "1"),
            ("HOST", "0.0.0.0"),
        ],
    );
    let server = inside.unwrap().server;
    assert_eq!(server.ops_listen.unwrap().to_string(), "localhost:9");
    let admin = server.admin_listen.unwrap();
    assert_eq!(admin.address.to_string(), "localhost:10");
}

#[test]
fn address_of_two_listeners_is_a_fault() {
    for (settings, fault) in [
        (
            "listen: [\"localhost:1\"], admin_listen: \"localhost:1\"",
            "server.admin_listen: localhost:1 is taken by server.listen: each needs a port of its own",
        ),
        (
            "listen: [\"0.0.0.0:2\", \"localhost:1\"], ops_listen: \"127.0.0.1:1\"",
            "server.ops_listen: 127.0.0.1:1 is taken by server.listen: each needs a port of its own",
        ),
        (
            "admin_listen: {address: \"a:1\"}, ops_listen: \"a:1\"",
            "server.ops_listen: a:1 is taken by server.admin_listen: each needs a port of its own",
        ),
    ] {
        assert_eq!(faults(&format!("server: {{{settings}}}\n")), [fault]);
    }
    for good in [
        "listen: [\"localhost:0\"], admin_listen: \"localhost:0\"",
        "listen: [\"10.0.0.1:1\"], admin_listen: \"localhost:1\"",
    ] {
        assert!(
            read(Some(&format!("server: {{{good}}}\n")), &[]).is_ok(),
            "{good}"
        );
    }
}

#[test]
fn listener_of_admins_is_an_address_or_a_mapping_with_one() {
    let text =
        "server: {admin_listen: {address: \"10.0.0.1:443\", tls: {cert: a.pem, key: a.key}}}\n";
    let admin = read(Some(text), &[]).unwrap().server.admin_listen.unwrap();
    assert_eq!(admin.address.to_string(), "10.0.0.1:443");
    assert!(admin.tls.is_some() && !admin.proxy_protocol);
    assert!(read(None, &[]).unwrap().server.admin_listen.is_none());
    let found = faults("server: {admin_listen: localhost}\n");
    assert_eq!(
        found,
        ["f:1:10: server.admin_listen: expected host:port, not \"localhost\""]
    );
}

#[test]
fn faults_in_the_environment_name_the_variable() {
    let vars = [
        ("PORT", "many"),
        ("HOST", "not a host"),
        ("REDIS_URL", "s3cret"),
        ("ADMIN_TOKEN", "s3cret"),
        ("RESULLM__SERVER__MAX_BDY", "1"),
        ("RESULLM__ACCOUNTS__ORPHANS", "adopt"),
    ];
    let found = read(None, &vars).unwrap_err();
    let expected = [
        "environment REDIS_URL: store: expected embedded:DIR or a URL such as redis://localhost:6379",
        "environment RESULLM__ACCOUNTS__ORPHANS: accounts.orphans: expected known or spend, not \
         \"adopt\"",
        "environment ADMIN_TOKEN: admin.token: expected at least 8 visible ASCII characters: a token \
         that can be guessed opens every tenant (openssl rand -hex 32 makes a good one)",
        "environment RESULLM__SERVER__MAX_BDY: unknown setting (did you mean \
         RESULLM__SERVER__MAX_BODY?)",
        "environment PORT: server.listen: expected a port number, not \"many\"",
        "environment HOST: server.listen: expected a host name or an IP address, not \"not a host\"",
    ];
    assert_eq!(found, expected);
}

#[test]
fn short_token_given_twice_is_one_fault() {
    let text = "admin: { token: ${ADMIN_TOKEN} }\n";
    let found = read(Some(text), &[("ADMIN_TOKEN", "short")]).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("f:1:10: admin.token: "), "{found:?}");
}

#[test]
fn tenants_keep_their_order_and_take_references() {
    let text = "tenants:\n  zeta: {k: \"${KEY}\", n: 9007199254740991}\n  alpha: {k: ${NONE}}\n";
    let settings = read(Some(text), &[("KEY", "sk-1")]).unwrap();
    let expected = [
        (
            "zeta".to_owned(),
            json!({"k": "sk-1", "n": 9_007_199_254_740_991_u64}),
        ),
        ("alpha".to_owned(), json!({"k": ""})),
    ];
    assert_eq!(settings.tenants.0, expected);
}

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn keys_that_seal_are_read_and_never_shown() {
    let text = "secrets: { key: ${SECRETS_KEY}, old_keys: [\"${OLD}\"] }\n";
    let old = HEX.replace('0', "a");
    let settings = read(Some(text), &[("SECRETS_KEY", HEX), ("OLD", &old)]).unwrap();
    assert_eq!(settings.secrets.key.as_ref().map(|key| key.0[31]), Some(31));
    assert_eq!(settings.secrets.old_keys.len(), 1);
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("key: Some(***)") && !shown.contains("30, 31"),
        "{shown}"
    );
    let settings = read(Some("secrets: { key: ${SECRETS_KEY} }\n"), &[]).unwrap();
    assert!(settings.secrets.key.is_none() && settings.secrets.old_keys.is_empty());

    let found = read(Some(text), &[("SECRETS_KEY", "s3cret"), ("OLD", &HEX[1..])]).unwrap_err();
    let rest = "expected 32 bytes as 64 hex digits or in base64 (openssl rand -hex 32 makes some)";
    assert_eq!(
        found,
        [
            format!("f:1:12: secrets.key: {rest}"),
            format!("f:1:44: secrets.old_keys.0: {rest}")
        ]
    );
}

#[test]
fn key_that_seals_needs_no_line_in_the_file() {
    let settings = read(Some("log: {}\n"), &[("SECRETS_KEY", HEX)]).unwrap();
    assert_eq!(settings.secrets.key.as_ref().map(|key| key.0[31]), Some(31));

    let found = read(None, &[("SECRETS_KEY", "s3cret")]).unwrap_err();
    assert!(
        found[0].starts_with("environment SECRETS_KEY: secrets.key: expected 32 bytes"),
        "{found:?}"
    );
    assert!(!found[0].contains("s3cret"), "{found:?}");
}

#[test]
fn body_that_can_never_be_kept_is_warned_of() {
    let warnings = |text: &str, vars: &[(&str, &str)]| {
        let settings = read(Some(text), vars).unwrap();
        settings
            .warnings
            .iter()
            .map(Fault::to_string)
            .collect::<Vec<_>>()
    };
    let larger = "server.max_body: larger than server.max_buffered: ";

    let both = warnings("server: {max_body: 2MiB, max_buffered: 1MiB}\n", &[]);
    assert!(both.len() == 1 && both[0].starts_with(larger), "{both:?}");
    // Smaller than the default of the other.
    let one = warnings("{}", &[("RESULLM__SERVER__MAX_BUFFERED", "31MiB")]);
    assert!(one.len() == 1 && one[0].starts_with(larger), "{one:?}");
    let equal = warnings("server: {max_body: 1MiB, max_buffered: 1MiB}\n", &[]);
    assert!(equal.is_empty(), "{equal:?}");
}

#[test]
fn only_approved_environment_variables_are_read() {
    let text = "secrets: { env: [OPENAI_API_KEY=api.openai.com, UNSET=h, A=http://h:1 for abc] }\n";
    let vars = [
        ("OPENAI_API_KEY", "sk-s3cret"),
        ("A", "sk-a"),
        ("PATH", "p"),
    ];
    let settings = read(Some(text), &vars).unwrap();
    let values: Vec<_> = settings
        .secrets
        .env
        .iter()
        .map(|one| (one.name.as_str(), one.value.as_ref().map(Secret::expose)))
        .collect();
    assert_eq!(
        values,
        [
            ("OPENAI_API_KEY", Some("sk-s3cret")),
            ("UNSET", None),
            ("A", Some("sk-a"))
        ]
    );
    assert!(!format!("{settings:?}").contains("sk-"));
}

#[test]
fn gateway_secrets_cannot_be_approved_under_any_name() {
    let text = "\
admin: {token: ${MINE}}
secrets:
  key: ${SEALS}
  env: [MINE=h, SEALS=h, SAME=h, ADMIN_TOKEN=h, RESULLM__LOG__LEVEL=h, DB=h, SPACED=h, FINE=h]
store: redis://:s3cret-of-redis@h
";
    let vars = [
        ("MINE", "s3cret-token"),
        ("SEALS", HEX),
        ("SAME", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("DB", "s3cret-of-redis"),
        ("SPACED", "s3cret with spaces"),
        ("FINE", "sk-1"),
    ];
    let found = read(Some(text), &vars).unwrap_err();
    let guards = "guards the gateway itself, so no tenant config may name it";
    let setting = "is a setting of the gateway, which no tenant config may name";
    let expected = [
        "MINE",
        "SEALS",
        "SAME",
        "ADMIN_TOKEN",
        "RESULLM__LOG__LEVEL",
        "DB",
        "SPACED",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (fault, name) in found.iter().zip(expected) {
        assert!(
            fault.starts_with(&format!("environment {name}: secrets.env: {name} ")),
            "{fault}"
        );
        assert!(!fault.contains("s3cret") && !fault.contains(HEX), "{fault}");
        let said = [guards, setting, "visible ASCII"]
            .iter()
            .any(|part| fault.contains(part));
        assert!(said, "{fault}");
    }
}

#[test]
fn tenant_config_check_sees_settings_of_later_lines() {
    let config =
        "providers: {text: {default: a, endpoints: {a: {url: \"https://h/\", api_key: {env: A}}}}}";
    let text = format!("tenants:\n  abc: {{{config}}}\n");
    let found = faults(&text);
    assert!(found[0].contains("api_key: names no variable"), "{found:?}");
    let text = format!("{text}secrets: {{env: [A=h]}}\n");
    assert!(read(Some(&text), &[("A", "sk-1")]).is_ok());
}

#[test]
fn secrets_are_read_from_files() {
    let tokens = File::of("\u{feff}first-token\n# a comment\r\n\r\nsecond-token\r\n");
    let keys = File::of(&format!("{HEX}\n{}\n", HEX.replace('0', "a")));
    let text = format!(
        "admin: {{token_file: {}}}\nsecrets: {{key_file: {}}}\n",
        tokens.0.display(),
        keys.0.display()
    );
    let settings = read(Some(&text), &[("ADMIN_TOKEN", "third-token")]).unwrap();
    let tokens: Vec<&str> = settings.admin.tokens().map(Secret::expose).collect();
    assert_eq!(tokens, ["third-token", "first-token", "second-token"]);
    assert_eq!(settings.secrets.key.unwrap().0[31], 31);
    assert_eq!(settings.secrets.old_keys.len(), 1);

    let bad = File::of("first-token\nshort\n");
    let found = faults(&format!("admin: {{token_file: {}}}\n", bad.0.display()));
    assert!(
        found[0].starts_with("admin.token_file: line 2 of its file: expected at least 8"),
        "{found:?}"
    );
    assert!(!found[0].contains("short"), "{found:?}");
    let empty = File::of("\n");
    let found = faults(&format!("admin: {{token_file: {}}}\n", empty.0.display()));
    assert!(found[0].contains("holds no secret"), "{found:?}");
    let found = faults("admin: {token_file: no-such-file}\n");
    assert!(found[0].contains("cannot be read"), "{found:?}");
}
