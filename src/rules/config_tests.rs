//! Tests of tenant configs: valid ones, and the faults reported for invalid ones.

use super::*;
use crate::rules::server::Server;
use crate::tables::Secret;
use crate::url::Url;
use proptest::prelude::*;
use serde_json::{Value, json};

fn sample() -> Value {
    json!({
        "auth": {
            "stripe": { "api_key": "sk_test_abc123" },
            "google_oauth": {
                "client_id": "google-client-abc", "client_secret": "google-secret-abc"
            },
            "apple_oauth": {
                "client_id": "apple-client-abc", "client_secret": "apple-secret-abc"
            }
        },
        "user_groups": {
            "anonymous": { "tokens": 100, "rate_limit": 10, "rate_limit_window": 60 },
            "google_logged_in": { "tokens": 1000, "rate_limit": 50, "rate_limit_window": 60 },
            "stripe_basic": { "tokens": 5000, "rate_limit": 100, "rate_limit_window": 60 },
            "stripe_premium": { "tokens": 20000, "rate_limit": 500, "rate_limit_window": 60 }
        },
        "providers": {
            "text": {
                "default": "openai",
                "endpoints": {
                    "openai": {
                        "url": "https://api.openai.com/v1/chat/completions",
                        "default_model": "gpt-4o",
                        "api_key": "sk-abc123"
                    },
                    "anthropic": {
                        "url": "https://api.anthropic.com/v1/messages",
                        "default_model": "claude-3-opus-20240229",
                        "api_key": "sk-ant123"
                    }
                }
            },
            "realtime": {
                "default": "openai_realtime",
                "endpoints": {
                    "openai_realtime": {
                        "model": "gpt-4o-realtime-preview-2024-12-17",
                        "voice": "alloy",
                        "api_key": "sk-rt-abc123"
                    },
                    "ultravox": {
                        "voice": "Mark",
                        "sampleRate": 48000,
                        "encoding": "pcm_s16le",
                        "api_key": "Zk9Ht7Lm.wX7pN9fM3kLj6tRq2bGhA8yE5cZvD4sT"
                    }
                }
            }
        },
        "caching": {
            "enabled": true, "text_ttl": 86400, "transcription_ttl": 3600, "fee_percentage": 20
        }
    })
}

/// Returns the sample with another value at a JSON pointer.
fn sample_with(pointer: &str, value: Value) -> Value {
    let mut config = sample();
    *config.pointer_mut(pointer).unwrap() = value;
    config
}

fn one_text_endpoint(endpoint: Value) -> Value {
    json!({ "providers": { "text": { "default": "a", "endpoints": { "a": endpoint } } } })
}

fn kind_of(endpoint: Value) -> Kind {
    let text = read(&one_text_endpoint(endpoint))
        .unwrap()
        .providers
        .text
        .unwrap();
    text.endpoints[0].kind
}

#[test]
fn the_sample_config_reads_with_its_numbers() {
    let config = read(&sample()).unwrap();
    let numbers: Vec<(&str, u64, Option<RateLimit>)> = config
        .groups
        .iter()
        .map(|(name, group)| (name.as_str(), group.tokens, group.limit()))
        .collect();
    let minute = |requests| {
        Some(RateLimit {
            requests,
            window_millis: 60_000,
        })
    };
    assert_eq!(
        numbers,
        [
            ("anonymous", 100, minute(10)),
            ("google_logged_in", 1000, minute(50)),
            ("stripe_basic", 5000, minute(100)),
            ("stripe_premium", 20_000, minute(500)),
        ]
    );

    let text = config.providers.text.unwrap();
    assert_eq!((text.default.as_str(), text.endpoints.len()), ("openai", 2));
    let openai = text.endpoints.iter().find(|each| each.name == "openai");
    let openai = openai.unwrap();
    assert_eq!(openai.kind, Kind::OpenAi);
    assert_eq!(openai.default_model.as_deref(), Some("gpt-4o"));
    assert_eq!(
        openai.api_key.as_ref().map(Secret::expose),
        Some("sk-abc123")
    );
    let url = openai.url.as_ref().unwrap();
    assert_eq!((url.host.as_str(), url.port), ("api.openai.com", 443));
    let anthropic = text.endpoints.iter().find(|each| each.name == "anthropic");
    assert_eq!(anthropic.unwrap().kind, Kind::Anthropic);

    let realtime = config.providers.realtime.unwrap();
    assert_eq!(realtime.default, "openai_realtime");
    let ultravox = realtime
        .endpoints
        .iter()
        .find(|each| each.name == "ultravox");
    assert_eq!(ultravox.unwrap().sample_rate_hertz, Some(48_000));

    assert_eq!(
        config.caching,
        Caching {
            enabled: true,
            text_ttl_seconds: 86_400,
            transcription_ttl_seconds: 3_600,
            fee_percentage: 20,
            scope: CacheScope::Tenant,
            tools: false,
        }
    );
    let google = config.auth.google.unwrap();
    assert_eq!(google.client_id, "google-client-abc");
    let stripe = config.auth.stripe.unwrap().api_key.unwrap();
    assert_eq!(stripe.expose(), "sk_test_abc123");
}

#[test]
fn absent_null_and_unknown_members_are_no_fault() {
    for nothing in [
        json!({}),
        json!({ "user_groups": null, "providers": null, "caching": null, "auth": null }),
        json!({ "user_groups": {}, "providers": {}, "auth": {}, "notes": ["anything", 1] }),
        json!({ "providers": { "text": null, "realtime": null, "video": 3 } }),
    ] {
        let config = read(&nothing).unwrap();
        assert!(
            config.groups.is_empty()
                && config.providers.text.is_none()
                && config.providers.realtime.is_none()
        );
        assert_eq!(config.caching.fee_percentage, 20);
        assert!(!config.caching.enabled);
        assert!(config.auth.stripe.is_none() && config.auth.google.is_none());
    }
    let unlimited = json!({ "user_groups": { "a": {
            "tokens": 5, "rate_limit": null, "rate_limit_window": null, "colour": "red"
        } } });
    assert_eq!(read(&unlimited).unwrap().groups["a"].limit(), None);
    let spare = one_text_endpoint(json!({
        "url": "http://localhost:1", "kind": null, "api_key": null, "default_model": null,
        "models": null, "fee": 3
    }));
    let text = read(&spare).unwrap().providers.text.unwrap();
    assert_eq!(text.endpoints[0].api_key, None);
    assert!(text.fallbacks.is_empty());
}

#[test]
fn a_whole_number_may_be_written_as_a_float() {
    for (written, tokens) in [
        ("1e3", 1000),
        ("100.0", 100),
        ("-0.0", 0),
        ("9007199254740991", 9_007_199_254_740_991),
    ] {
        let config = format!(r#"{{"user_groups":{{"a":{{"tokens":{written}}}}}}}"#);
        let config = serde_json::from_str(&config).unwrap();
        assert_eq!(
            read(&config).unwrap().groups["a"].tokens,
            tokens,
            "{written}"
        );
    }
    for written in ["-1", "1.5", "9007199254740992", "1e300", "-1e-9"] {
        let config = format!(r#"{{"user_groups":{{"a":{{"tokens":{written}}}}}}}"#);
        let faults = read(&serde_json::from_str(&config).unwrap()).unwrap_err();
        assert_eq!(faults[0].path, "user_groups.a.tokens");
        assert!(faults[0].message.contains("9007199254740991"), "{written}");
    }
}

#[test]
fn an_endpoints_kind_follows_from_its_url_unless_given() {
    let of = |url: &str| kind_of(json!({ "url": url }));
    assert_eq!(of("https://api.anthropic.com/v1/x"), Kind::Anthropic);
    assert_eq!(of("https://anthropic.com"), Kind::Anthropic);
    for url in [
        "https://generativelanguage.googleapis.com/v1beta",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent",
        "https://a.example/v1/publishers/google/models/x:streamGenerateContent",
    ] {
        assert_eq!(of(url), Kind::Gemini, "{url}");
    }
    let imitated = "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions";
    assert_eq!(of(imitated), Kind::OpenAi);
    assert_eq!(
        of("https://proxy.example/v1/messages?beta=true"),
        Kind::Anthropic
    );
    assert_eq!(
        of("https://notanthropic.com/v1/chat/completions"),
        Kind::OpenAi
    );
    assert_eq!(of("https://proxy.example/?to=/messages"), Kind::OpenAi);
    let given = json!({ "url": "https://api.anthropic.com/v1/messages", "kind": "openai" });
    assert_eq!(kind_of(given), Kind::OpenAi);
    assert_eq!(kind_of(json!({ "kind": "demo" })), Kind::Demo);
}

#[test]
fn fallbacks_and_models_are_kept_in_order() {
    let text = read(&json!({ "providers": { "text": {
            "default": "b",
            "fallbacks": ["b", "a"],
            "endpoints": {
                "a": { "kind": "demo", "models": ["m2", "m1"] },
                "b": { "kind": "demo" }
            }
        } } }));
    let text = text.unwrap().providers.text.unwrap();
    assert_eq!(text.fallbacks, ["b", "a"]);
    assert_eq!(text.endpoints[0].models, ["m2", "m1"]);
}

#[test]
fn every_fault_has_its_place_and_its_reason() {
    let text = "/providers/text";
    let endpoint = "/providers/text/endpoints/openai";
    let group = "/user_groups/anonymous";
    let cases: Vec<(Value, Vec<(&str, &str)>)> = vec![
        (json!("x"), vec![("", "expected an object, not a string")]),
        (json!(null), vec![("", "expected an object, not null")]),
        (json!([]), vec![("", "expected an object, not a list")]),
        (
            json!({ "user_groups": "x", "providers": 1, "caching": [], "auth": true }),
            vec![
                ("auth", "expected an object, not a boolean"),
                ("caching", "expected an object, not a list"),
                ("providers", "expected an object, not a number"),
                ("user_groups", "expected an object, not a string"),
            ],
        ),
        (
            sample_with(
                group,
                json!({ "tokens": -5, "rate_limit": 1.5, "rate_limit_window": 0 }),
            ),
            vec![
                ("user_groups.anonymous.rate_limit", "not 1.5"),
                (
                    "user_groups.anonymous.rate_limit_window",
                    "from 1 to 2678400, not 0",
                ),
                ("user_groups.anonymous.tokens", "not -5"),
            ],
        ),
        (
            sample_with(group, json!({ "tokens": 1, "rate_limit": 1 })),
            vec![(
                "user_groups.anonymous.rate_limit_window",
                "beside rate_limit",
            )],
        ),
        (
            sample_with(
                group,
                json!({ "rate_limit_window": 2_678_401, "tokens": "100" }),
            ),
            vec![
                (
                    "user_groups.anonymous.rate_limit",
                    "beside rate_limit_window",
                ),
                ("user_groups.anonymous.rate_limit_window", "not 2678401"),
                ("user_groups.anonymous.tokens", "not a string"),
            ],
        ),
        (
            sample_with(group, json!({})),
            vec![("user_groups.anonymous.tokens", "is required")],
        ),
        (
            sample_with(group, json!(null)),
            vec![("user_groups.anonymous", "expected an object, not null")],
        ),
        (
            sample_with(&format!("{text}/default"), json!("opeanai")),
            vec![("providers.text.default", "names no endpoint; there are: ")],
        ),
        (
            json!({ "providers": { "text": {
                    "default": "a", "endpoints": {}, "fallbacks": ["b", 3]
                } } }),
            vec![
                ("providers.text.default", "there are: none"),
                ("providers.text.fallbacks.0", "names no endpoint"),
                (
                    "providers.text.fallbacks.1",
                    "expected a string, not a number",
                ),
            ],
        ),
        (
            json!({ "providers": { "text": {}, "realtime": { "default": 1, "endpoints": [] } } }),
            vec![
                ("providers.realtime.default", "expected a string"),
                (
                    "providers.realtime.endpoints",
                    "expected an object, not a list",
                ),
                ("providers.text.default", "is required"),
                ("providers.text.endpoints", "is required"),
            ],
        ),
        (
            sample_with(&format!("{endpoint}/url"), json!("api.openai.com")),
            vec![("providers.text.endpoints.openai.url", "http://")],
        ),
        (
            sample_with(
                &format!("{endpoint}/url"),
                json!("https://me:pw@api.openai.com/"),
            ),
            vec![("providers.text.endpoints.openai.url", "password")],
        ),
        (
            sample_with(
                endpoint,
                json!({
                    "kind": "cohere", "api_key": "", "default_model": "", "models": "m"
                }),
            ),
            vec![
                (
                    "providers.text.endpoints.openai.api_key",
                    "must not be empty",
                ),
                (
                    "providers.text.endpoints.openai.default_model",
                    "must not be empty",
                ),
                (
                    "providers.text.endpoints.openai.kind",
                    "openai, anthropic, gemini or demo",
                ),
                ("providers.text.endpoints.openai.models", "expected a list"),
                ("providers.text.endpoints.openai.url", "is required"),
            ],
        ),
        (
            sample_with(&format!("{endpoint}/api_key"), json!("sk-abc\r\nx: y")),
            vec![("providers.text.endpoints.openai.api_key", "visible ASCII")],
        ),
        (
            sample_with(endpoint, json!(false)),
            vec![(
                "providers.text.endpoints.openai",
                "expected an object, not a boolean",
            )],
        ),
        (
            json!({ "providers": { "text": {
                    "default": "a\nb", "endpoints": { "a\nb": { "kind": "demo" } }
                } } }),
            vec![("providers.text.endpoints.a\\nb", "1 to 64 letters")],
        ),
        (
            sample_with(
                "/providers/realtime/endpoints/ultravox",
                json!({
                    "sampleRate": "48000", "encoding": 16, "voice": [], "model": {}, "api_key": "ä"
                }),
            ),
            vec![
                (
                    "providers.realtime.endpoints.ultravox.api_key",
                    "visible ASCII",
                ),
                (
                    "providers.realtime.endpoints.ultravox.encoding",
                    "expected a string",
                ),
                (
                    "providers.realtime.endpoints.ultravox.model",
                    "expected a string",
                ),
                (
                    "providers.realtime.endpoints.ultravox.sampleRate",
                    "a whole number",
                ),
                (
                    "providers.realtime.endpoints.ultravox.voice",
                    "expected a string",
                ),
            ],
        ),
        (
            sample_with(
                "/caching",
                json!({
                    "enabled": "yes", "text_ttl": -1, "transcription_ttl": 1e12, "fee_percentage": 101
                }),
            ),
            vec![
                ("caching.enabled", "expected true or false, not a string"),
                ("caching.fee_percentage", "from 0 to 100, not 101"),
                ("caching.text_ttl", "not -1"),
                ("caching.transcription_ttl", "a whole number"),
            ],
        ),
        (
            sample_with(
                "/auth",
                json!({
                    "stripe": { "api_key": 1 }, "google_oauth": "id",
                    "apple_oauth": { "client_secret": [] }
                }),
            ),
            vec![
                ("auth.apple_oauth.client_id", "is required"),
                (
                    "auth.apple_oauth.client_secret",
                    "expected a string, not a list",
                ),
                ("auth.google_oauth", "expected an object"),
                ("auth.stripe.api_key", "expected a string, not a number"),
            ],
        ),
    ];
    for (config, expected) in cases {
        let mut faults = read(&config).unwrap_err();
        faults.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let expected_paths: Vec<&str> = expected.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths, expected_paths, "{config}");
        for (fault, (_, part)) in faults.iter().zip(&expected) {
            assert!(fault.message.contains(part), "{fault} lacks {part:?}");
        }
    }
}

#[test]
fn a_fault_prints_with_its_place() {
    let fault = |config| read(&config).unwrap_err()[0].to_string();
    assert_eq!(fault(json!(1)), "expected an object, not a number");
    assert_eq!(
        fault(json!({ "auth": 1 })),
        "auth: expected an object, not a number"
    );
}

#[test]
fn no_secret_is_printed() {
    let mut config = sample();
    config["providers"]["text"]["endpoints"]["openai"]["url"] =
        json!("https://api.example/v1?key=sk-abc123");
    let printed = format!("{:?}", read(&config).unwrap());
    for secret in [
        "sk-abc",
        "sk-ant",
        "sk-rt",
        "sk_test",
        "secret-abc",
        "Zk9Ht7Lm",
    ] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    let misplaced = sample_with("/user_groups/anonymous/tokens", json!("sk-abc123"));
    assert!(!format!("{:?}", read(&misplaced)).contains("sk-abc123"));
}

#[test]
fn the_schema_knows_every_field_of_the_sample() {
    fn covered(value: &Value, schema: &Value, path: &str) {
        let Value::Object(fields) = value else { return };
        let forms = schema["anyOf"].as_array().into_iter().flatten();
        let mut forms = forms.chain([schema]).flat_map(|form| {
            let inner = form["anyOf"].as_array().into_iter().flatten();
            inner.chain([form]).collect::<Vec<_>>()
        });
        let is_of_object = |form: &&Value| {
            form["properties"].is_object() || form["additionalProperties"].is_object()
        };
        let of_object = forms.find(is_of_object).unwrap();
        for (name, field) in fields {
            let part = of_object["properties"]
                .get(name)
                .or_else(|| of_object.get("additionalProperties"))
                .unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
            covered(field, part, &format!("{path}.{name}"));
        }
    }
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    covered(&sample(), &schema, "");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "https?://[a-z0-9:\\[\\]@.%/?#-]{0,20}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        4 => proptest::sample::select(vec![
            "auth", "stripe", "google_oauth", "client_id", "user_groups", "anonymous", "tokens",
            "rate_limit", "rate_limit_window", "providers", "text", "realtime", "default",
            "endpoints", "fallbacks", "kind", "url", "api_key", "models", "caching", "enabled",
        ]).prop_map(str::to_owned),
        1 => ".*",
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reading_never_panics_and_faults_are_named(config in any_json()) {
        if let Err(faults) = read(&config) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| !fault.message.is_empty()));
        }
    }

    #[test]
    fn no_change_to_one_place_of_the_sample_panics(
        place in proptest::sample::select(places(&sample())), value in any_json()
    ) {
        let _ = read(&sample_with(&place, value));
    }

    #[test]
    fn a_url_that_is_read_reads_the_same_again(
        text in "https?://[A-Za-z0-9:\\[\\].-]{1,12}(/[a-z%20]{0,4})?(\\?[a-z=]{0,4})?"
    ) {
        if let Ok(url) = Url::parse(&text) {
            let scheme = if url.https { "https" } else { "http" };
            let again = format!("{scheme}://{}{}", url.authority(), url.path_and_query);
            prop_assert_eq!(Url::parse(&again), Ok(url));
        }
    }
}

fn places(value: &Value) -> Vec<String> {
    let mut list = vec![String::new()];
    for (name, field) in value.as_object().into_iter().flatten() {
        list.extend(places(field).iter().map(|place| format!("/{name}{place}")));
    }
    list
}

fn with_rates(rates: Value) -> Result<TextProviders, Vec<Fault>> {
    let at = |server: &str| json!({"url": "https://a.example/", "server": server});
    let deployment = "https://x.openai.azure.com/openai/deployments/big/chat/completions";
    let config = json!({"providers": {"text": {
        "default": "generic", "rates": rates, "endpoints": {
            "generic": at("generic"), "ollama": at("ollama"), "openrouter": at("openrouter"),
            "openai": at("openai"), "gemini": at("gemini"),
            "azure": {"url": deployment, "default_model": "bigger"},
        },
    }}});
    read(&config).map(|config| config.providers.text.unwrap())
}

impl TextProviders {
    /// Returns the output rate in millionths.
    fn output_at(&self, endpoint: &str, model: &str) -> u64 {
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints.find(|each| each.name == endpoint).unwrap();
        self.rate(endpoint, Some(model)).output
    }
}

#[test]
fn a_model_has_its_own_rate_or_that_of_all_others() {
    let text = with_rates(json!({"m": 2, "o": {"input": 0.5, "output": 3}, "*": 0.1})).unwrap();
    let endpoint = &text.endpoints[0];
    assert_eq!(text.rate(endpoint, Some("m")).output, 2_000_000);
    let o = text.rate(endpoint, Some("o"));
    assert_eq!(
        (o.input, o.cache_read, o.output),
        (500_000, 500_000, 3_000_000)
    );
    assert_eq!(text.rate(endpoint, None).input, 100_000);
    for (model, output) in [
        ("m-2024-08-06", 2_000_000),
        ("ft:m-2024-08-06:org::id", 2_000_000),
        ("mini", 100_000),
        ("m-pro", 100_000),
        ("m-mini-2024-08-06", 100_000),
        ("*", 100_000),
    ] {
        assert_eq!(text.output_at("openai", model), output, "{model}");
    }
    assert_eq!(text.named_rate(Server::OpenAi, "*"), None);
    assert_eq!(text.named_rate(Server::OpenAi, "m-pro"), None);
    let plain = with_rates(json!(null)).unwrap();
    assert_eq!(plain.output_at("openai", "m"), 1_000_000);
    for bad in [
        json!({"m": -1}),
        json!({"m": "2"}),
        json!({"m": {"input": 1e7}}),
        json!({"m": 0.0000001}),
    ] {
        let faults = with_rates(bad).unwrap_err();
        assert!(
            faults[0].path.starts_with("providers.text.rates.m"),
            "{faults:?}"
        );
    }
}

#[test]
fn no_spelling_of_a_name_is_cheaper_than_another() {
    let text = with_rates(json!({
        "llama3": 2, "library/llama3:70b": 50, "Llama3:8B": 3, "llama3:8b": 5,
        "gemini-2.5-pro": 50, "openai/o1": 50, "openai/o1:free": 0, "openai/gpt:nitro": 90,
        "openai/gpt": 5, "*": 1,
    }));
    let text = text.unwrap();
    for (endpoint, model, rate) in [
        ("ollama", "LLAMA3:70b", 50),
        ("ollama", "llama3:70b", 50),
        ("ollama", "registry.ollama.ai/library/Llama3:latest", 2),
        ("ollama", "llama3:1b", 1),
        // `rates` names this model in two spellings.
        ("ollama", "llama3:8b", 5),
        ("generic", "library/llama3:70b", 50),
        ("generic", "llama3:1b", 2),
        ("gemini", "models/Gemini-2.5-PRO", 50),
        ("openai", "O1", 1),
        ("openrouter", "OpenAI/o1:nitro", 50),
        ("openrouter", "openai/o1:free", 50),
        ("openrouter", "openai/gpt:nitro", 90),
        ("openrouter", "openai/gpt:floor", 5),
        ("openrouter", "other:free", 1),
    ] {
        let found = text.output_at(endpoint, model);
        assert_eq!(found, rate * 1_000_000, "{endpoint} {model}");
    }
    let dear = with_rates(json!({"llama3": 2, "*": 1000})).unwrap();
    assert_eq!(dear.output_at("generic", "llama3:70b"), 1_000_000_000);
    assert_eq!(dear.output_at("openrouter", "llama3:free"), 2_000_000);
}

#[test]
fn a_deployment_costs_what_it_is_whatever_a_body_asks_for() {
    let text = with_rates(json!({"big": 7, "bigger": 9, "biggest": 11, "*": 1})).unwrap();
    assert_eq!(text.output_at("azure", "small"), 9_000_000);
    assert_eq!(text.output_at("azure", "biggest"), 11_000_000);
    assert_eq!(text.output_at("openai", "small"), 1_000_000);
}

#[test]
fn a_group_that_lists_models_lists_some() {
    let with = |models: Value| {
        read(&json!({"user_groups": {"anonymous": {"tokens": 1, "models": models}}}))
            .map(|config| config.groups["anonymous"].models.clone())
    };
    assert_eq!(with(json!(["a/m"])).unwrap(), Some(vec!["a/m".to_owned()]));
    assert_eq!(with(json!(null)).unwrap(), None);
    for (bad, place) in [
        (json!([]), "models"),
        (json!("m"), "models"),
        (json!(["m", "m "]), "models.1"),
        (json!([""]), "models.0"),
    ] {
        let path = format!("user_groups.anonymous.{place}");
        assert_eq!(with(bad).unwrap_err()[0].path, path);
    }
}

#[test]
fn a_slip_in_a_rate_is_a_fault_that_names_what_was_meant() {
    for (rate, path, hint) in [
        (json!({"inputs": 15}), "inputs", "did you mean input?"),
        (
            json!({"cacheRead": 1}),
            "cacheRead",
            "did you mean cache_read?",
        ),
        (
            json!({"price": 15}),
            "price",
            "there are: input, output, cache_read, cache_write",
        ),
    ] {
        let config = json!({"providers": {"text": {
            "default": "a", "endpoints": {"a": {"url": "https://a.example/"}}, "rates": {"*": rate},
        }}});

        let faults = read(&config).unwrap_err();

        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].path, format!("providers.text.rates.*.{path}"));
        assert!(faults[0].message.contains(hint), "{faults:?}");
    }
}

#[test]
fn misspelt_price_member_is_a_fault() {
    for (slip, meant) in [("rate", "rates"), ("only_list", "only_listed")] {
        let mut config = json!({"providers": {"text": {
            "default": "a", "endpoints": {"a": {"url": "https://a.example/"}}, "comment": "free words",
        }}});
        assert!(read(&config).is_ok());
        config["providers"]["text"][slip] = json!({});

        let faults = read(&config).unwrap_err();

        assert_eq!(faults[0].path, format!("providers.text.{slip}"));
        assert!(faults[0].message.contains(meant), "{faults:?}");
    }
}

#[test]
fn origins_of_pages_are_exact_or_any() {
    let cors = |origins: Value| read(&json!({"cors": {"origins": origins}}));
    let origin = |text| crate::rules::origin::WebOrigin::parse(text).unwrap();

    let some = cors(json!(["https://App.example:443", "http://localhost:5173"]));
    let some = some.unwrap().cors.unwrap();
    assert!(some.allows(&origin("https://app.example")) && !some.is_any());
    assert!(!some.allows(&origin("http://app.example")));
    assert!(!some.allows(&origin("https://x.app.example")));
    assert!(cors(json!(["*"])).unwrap().cors.unwrap().is_any());
    assert_eq!(read(&json!({"cors": null})).unwrap().cors, None);

    for bad in [
        "app.example",
        "https://app.example/",
        "https://*.example",
        "null",
        "",
    ] {
        let faults = cors(json!(["https://a.example", bad])).unwrap_err();
        assert_eq!(faults[0].path, "cors.origins.1", "{bad}");
    }
    assert!(cors(json!("https://a.example")).is_err());
    assert!(read(&json!({"cors": []})).is_err());
}
