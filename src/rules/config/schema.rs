//! The JSON Schema of a tenant config, for editors and for programs that write configs.
//!
//! The schema agrees with `read_for` as far as a schema can. Only the reader checks that `default` and `fallbacks`
//! name an endpoint, and everything about a URL beyond its beginning.

use super::cors;
use super::shape::{
    Caching, LONGEST_TTL_SECONDS, LONGEST_WINDOW_SECONDS, MAX_CONCURRENT, MAX_NUMBER,
};
use crate::rules::hosted::BOUNDED;
use crate::rules::server::Server;
use serde_json::{Value, json};

/// Returns the schema (JSON Schema 2020-12). Unknown fields are allowed everywhere: they are stored and
/// returned unchanged.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ResuLLM tenant config",
        "type": "object",
        "properties": {
            "auth": section("How end users sign in.", json!({
                "stripe": section("The tenant's Stripe account.", json!({
                    "api_key": secret("Secret API key.", json!({}))
                })),
                "google_oauth": oauth("Sign-in with Google."),
                "apple_oauth": oauth("Sign-in with Apple.")
            })),
            "user_groups": {
                "description": "What an account of each group begins with. \
                    `anonymous` is who has not signed in.",
                "type": ["object", "null"],
                "additionalProperties": group()
            },
            "providers": section("Who answers.", json!({
                "text": providers("Chat, embeddings, images and audio files.", &text_endpoint(), json!({
                    "fallbacks": list("Endpoints to try, in order, when one fails."),
                    "rates": {
                        "description": "What a token of each model costs, in tokens of the balance, however \
                            its name is spelled; a dated version costs what its model costs. `*` stands for \
                            every other model. Absent: 1.",
                        "type": ["object", "null"],
                        "additionalProperties": rate()
                    },
                    "only_listed": {
                        "description": "Only models that an endpoint's `models` or `default_model` or a rate \
                            other than `*` names are served. Absent: false.",
                        "type": ["boolean", "null"]
                    }
                })),
                "realtime": providers("Voice over WebSockets.", &realtime_endpoint(), json!({}))
            })),
            "caching": caching(),
            "cors": cors::schema()
        }
    })
}

fn rate() -> Value {
    let number = json!({ "type": "number", "minimum": 0, "maximum": 1_000_000 });
    json!({
        "anyOf": [number, {
            "type": "object",
            "properties": {
                "input": number, "output": number, "cache_read": number, "cache_write": number
            },
            "additionalProperties": false
        }]
    })
}

fn group() -> Value {
    json!({
        "type": "object",
        "required": ["tokens"],
        "properties": {
            "tokens": {
                "description": "The balance an account begins with.",
                "type": "integer", "minimum": 0, "maximum": MAX_NUMBER
            },
            "models": {
                "description": "The only models its accounts may ask for, as they write them, or as \
                    `<endpoint>/<model>`; dated versions are the same. Absent: all.",
                "type": ["array", "null"], "minItems": 1,
                "items": { "type": "string", "minLength": 1, "maxLength": 256 }
            },
            "rate_limit": whole("Requests in any window. Absent: no limit.", 0, MAX_NUMBER),
            "rate_limit_window": whole("Length of the window in seconds.", 1, LONGEST_WINDOW_SECONDS),
            "max_concurrent": whole("Calls of one account in flight. Absent: no limit.", 1, MAX_CONCURRENT)
        },
        "dependentRequired": {
            "rate_limit": ["rate_limit_window"],
            "rate_limit_window": ["rate_limit"]
        }
    })
}

fn providers(description: &str, endpoint: &Value, more: Value) -> Value {
    let mut properties = json!({
        "default": {
            "description": "The endpoint that serves what no other is chosen for.",
            "type": "string"
        },
        "endpoints": {
            "description": "By name.",
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_.-]{1,64}$" },
            "additionalProperties": endpoint
        }
    });
    if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
        properties.extend(more);
    }
    json!({
        "description": description,
        "type": ["object", "null"],
        "required": ["default", "endpoints"],
        "properties": properties
    })
}

fn text_endpoint() -> Value {
    json!({
        "type": "object",
        "properties": {
            "kind": {
                "description": "The wire format it speaks. Absent: follows from the URL. \
                    demo: the gateway's own stand-in.",
                "enum": ["openai", "anthropic", "demo", null]
            },
            "url": {
                "description": "The full URL of its main call; the other calls sit beside it.",
                "type": ["string", "null"],
                "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$",
                "maxLength": 2048
            },
            "server": {
                "description": "What it is, which decides which members a body may have there and what they \
                    mean. Absent: a vendor that is known by its host, else generic.",
                "type": ["string", "null"],
                "enum": Server::names().map(Value::from).chain([Value::Null]).collect::<Vec<_>>()
            },
            "members": list("Members of bodies that are forwarded to it besides those its server is known to \
                understand. They must not change how much is generated or read, or where. Betas and \
                members that change the price pass if they are named here."),
            "hosted_tools": hosted_tools(),
            "api_key": providers_key(),
            "default_model": word("For requests that name no model."),
            "models": list("The models it serves, and no others; dated versions and `default_model` are among them. \
                Absent or empty: any."),
            "max_output_tokens": {
                "description": "The most its models can answer with, so that a call without a limit \
                    is not given one that they refuse. Known models need none.",
                "type": ["integer", "null"],
                "minimum": 1
            }
        },
        "if": { "properties": { "kind": { "const": "demo" } }, "required": ["kind"] },
        "else": { "properties": { "url": { "type": "string" } }, "required": ["url"] }
    })
}

fn hosted_tools() -> Value {
    let prices: serde_json::Map<String, Value> = BOUNDED
        .iter()
        .map(|name| {
            (
                name.to_string(),
                whole("What one call costs at least.", 1, MAX_NUMBER),
            )
        })
        .collect();
    json!({
        "description": "Tools that the provider runs itself. remove (where absent): taken out of a request, \
            and named in x-resullm-removed of its answer. refuse: such a request is refused. An object: the \
            tokens that one call of each costs; the others are taken out.",
        "anyOf": [
            { "enum": ["remove", "refuse", null] },
            { "type": "object", "properties": prices, "additionalProperties": false }
        ]
    })
}

fn realtime_endpoint() -> Value {
    json!({
        "type": "object",
        "properties": {
            "model": word("The model of a session that names none."),
            "voice": word("The voice it speaks with."),
            "sampleRate": whole("Samples of audio a second.", 1, MAX_NUMBER),
            "encoding": word("How its audio is encoded, for example pcm_s16le."),
            "api_key": providers_key()
        }
    })
}

fn caching() -> Value {
    let unwritten = Caching::UNWRITTEN;
    let defaulting = |mut field: Value, default: Value| {
        field["default"] = default;
        field
    };
    section(
        "Answers given again without asking the provider. Absent: off.",
        json!({
            "enabled": { "type": ["boolean", "null"], "default": unwritten.enabled },
            "text_ttl": defaulting(
                whole("Seconds a text answer is kept.", 0, LONGEST_TTL_SECONDS),
                unwritten.text_ttl_seconds.into(),
            ),
            "transcription_ttl": defaulting(
                whole("Seconds a transcription is kept.", 0, LONGEST_TTL_SECONDS),
                unwritten.transcription_ttl_seconds.into(),
            ),
            "fee_percentage": defaulting(
                whole("What a cached answer costs, in percent of the first one.", 0, 100),
                unwritten.fee_percentage.into(),
            )
        }),
    )
}

fn oauth(description: &str) -> Value {
    let mut oauth = section(
        description,
        json!({
            "client_id": { "type": "string" },
            "client_secret": secret("Needed by the code flow only.", json!({}))
        }),
    );
    oauth["required"] = json!(["client_id"]);
    oauth
}

fn section(description: &str, properties: Value) -> Value {
    json!({ "description": description, "type": ["object", "null"], "properties": properties })
}

fn providers_key() -> Value {
    let about = "The provider's key. It never reaches a client.";
    secret(about, json!({ "pattern": "^[!-~]+$" }))
}

/// Returns the schema of a secret. Its `"format": "password"` marks the field as one that is sealed before it
/// is stored, if `secrets.key` is set.
fn secret(description: &str, text: Value) -> Value {
    let mut secret = json!({
        "description": description,
        "anyOf": [{ "type": ["string", "null"], "format": "password" }, {
            "description": "A variable of the gateway's environment that the operator has approved \
                for where this is sent.",
            "type": "object",
            "required": ["env"],
            "additionalProperties": false,
            "properties": { "env": { "type": "string", "minLength": 1 } }
        }]
    });
    if let (Value::Object(written), Value::Object(more)) = (&mut secret["anyOf"][0], text) {
        written.extend(more);
    }
    secret
}

/// Whether a schema is one that `secret` returned.
pub(super) fn is_secret(schema: &Value) -> bool {
    schema["anyOf"][0]["format"] == "password"
}

fn word(description: &str) -> Value {
    json!({ "description": description, "type": ["string", "null"], "minLength": 1 })
}

fn list(description: &str) -> Value {
    json!({
        "description": description,
        "type": ["array", "null"],
        "items": { "type": "string", "minLength": 1 }
    })
}

fn whole(description: &str, minimum: u64, maximum: u64) -> Value {
    json!({
        "description": description,
        "type": ["integer", "null"], "minimum": minimum, "maximum": maximum
    })
}
