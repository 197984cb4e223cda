//! Provider routes in the OpenAPI document: every call of `dialect/table.rs`, and the list of models.
//!
//! Bodies and answers are the provider's: only what the gateway itself looks at or adds is described.

use super::super::operation::{SchemaOf, schema_of};
use super::parts::{COMPONENT, Described, header_references, keys};
use crate::api::{self, CODES, ErrorCode};
use crate::dialect::call::Api;
use crate::dialect::table::{SERVED, Served};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

const BALANCE: &str = "x-resullm-tokens-left";
/// Headers about ways to fill a balance that is spent.
const OFFER: [&str; 2] = ["x-resullm-refills-at", "x-resullm-plans"];
const WINDOW: [&str; 3] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];

/// Calls that are never answered as a stream of events.
const NEVER_STREAMED: &[&str] = &[
    "embeddings",
    "moderations",
    "images/variations",
    "messages/count_tokens",
    "models/{model}:countTokens",
];

/// Codes that no `POST` of a call gets.
const OF_OTHER_REQUESTS: &[&str] = &[
    "method_not_allowed",
    "websocket_not_served",
    "realtime_not_served",
];

/// Statuses of refused requests for models.
const OF_MODELS: &[u16] = &[400, 401, 404, 408, 421, 429, 431, 501, 503];

/// Describes every provider route.
pub(super) fn operations(generator: &mut SchemaGenerator) -> Vec<Described> {
    let mut described: Vec<_> = SERVED
        .iter()
        .map(|served| {
            let path = served.dialect.path();
            (served.dialect.api(), path, "post", call(served, generator))
        })
        .collect();
    let list = schema_of::<api::ModelList>;
    let list = models("listModels", "List the models", list, generator);
    described.push((Api::OpenAi, "models", "get", list));
    let one = schema_of::<api::Model>;
    let one = models("showModel", "Show a model", one, generator);
    described.push((Api::OpenAi, "models/{model}", "get", one));
    let whole = |(api, path, method, operation): (Api, &str, &str, Value)| Described {
        tag: "provider",
        path: format!("/{{tenant}}/{}/{path}", api.version()),
        methods: vec![(method.to_owned(), operation)],
    };
    described.into_iter().map(whole).collect()
}

fn call(served: &Served, generator: &mut SchemaGenerator) -> Value {
    let vendor = vendor(served.dialect.api());
    let about = format!(
        "Body and answer are as {vendor} documents them; members that are not shown here pass if the gateway knows \
         that they are safe; unknown ones are refused with 400. The key pays for the tokens that the provider \
         reports. `model` may name the endpoint too, as `<endpoint>/<model>`. A model outside the tenant's lists \
         gets 404 `model_not_found`."
    );
    let schema = match served.dialect.path() {
        "chat/completions" => schema_of::<api::ChatCall>(generator),
        _ if served.dialect.api() == Api::Gemini => schema_of::<api::GeminiCall>(generator),
        _ => schema_of::<api::ModelCall>(generator),
    };
    let kind = if served.dialect.is_form() {
        "multipart/form-data"
    } else {
        "application/json"
    };
    let mut replies = Map::new();
    replies.insert("200".to_owned(), success(served));
    let codes = CODES.iter();
    let codes = codes.filter(|code| !OF_OTHER_REQUESTS.contains(&code.code));
    replies.extend(failures(served.dialect.api(), codes, generator));
    let relayed = json!({
        "description": "What the provider itself refused, in its own words.",
        "headers": header_references(&["x-request-id"]),
        "content": {"application/json": {"schema": shaped(served.dialect.api(), generator)}},
    });
    replies.insert("default".to_owned(), relayed);
    json!({
        "operationId": served.id,
        "tags": [],
        "summary": served.summary,
        "description": about,
        "security": keys(),
        "requestBody": {"required": true, "content": {kind: {"schema": schema}}},
        "responses": replies,
    })
}

fn vendor(api: Api) -> &'static str {
    match api {
        Api::OpenAi => "OpenAI",
        Api::Anthropic => "Anthropic",
        Api::Gemini => "Google",
    }
}

fn success(served: &Served) -> Value {
    let mut content = Map::new();
    if served.dialect.answers_with_sound() {
        content.insert("audio/*".to_owned(), json!({}));
    } else {
        let object = json!({"schema": {"type": "object"}});
        content.insert("application/json".to_owned(), object);
    }
    let text = json!({"schema": {"type": "string"}});
    let path = served.dialect.path();
    if ["audio/transcriptions", "audio/translations"].contains(&path) {
        content.insert("text/plain".to_owned(), text.clone());
    }
    if !NEVER_STREAMED.contains(&path) {
        content.insert("text/event-stream".to_owned(), text);
    }
    let mut headers = vec![
        "x-request-id",
        BALANCE,
        "x-resullm-endpoint",
        "x-resullm-cache",
        "x-resullm-cost",
        "x-resullm-removed",
    ];
    headers.extend(WINDOW);
    json!({
        "description": "The provider's answer, whole or as server-sent events.",
        "headers": header_references(&headers),
        "content": content,
    })
}

/// Schema of an error in the shape of an API.
fn shaped(api: Api, generator: &mut SchemaGenerator) -> Schema {
    match api {
        Api::OpenAi => generator.subschema_for::<api::OpenAiError>(),
        Api::Anthropic => generator.subschema_for::<api::AnthropicError>(),
        Api::Gemini => generator.subschema_for::<api::GeminiError>(),
    }
}

/// Errors of the gateway's own, by status: [`CODES`], and those that have one body on every route.
fn failures(
    api: Api,
    codes: impl Iterator<Item = &'static ErrorCode>,
    generator: &mut SchemaGenerator,
) -> Map<String, Value> {
    let plain = generator.subschema_for::<api::Error>();
    let shaped = shaped(api, generator);
    let mut replies: Map<String, Value> = Map::new();
    for code in codes {
        let told = format!("`{}`: {}.", code.code, code.meaning);
        let reply = replies.entry(code.status.to_string()).or_insert_with(|| {
            json!({
                "description": "",
                "headers": header_references(&headers_of(code.status)),
                "content": {"application/json": {"schema": shaped}},
            })
        });
        let about = reply["description"].as_str().unwrap_or_default();
        reply["description"] = format!("{about} {told}").trim_start().into();
    }
    let no_tenant = "There is no such tenant (a plain error), or the request cannot be read.";
    if let Some(bad) = replies.get_mut("400") {
        let about = bad["description"].as_str().unwrap_or_default();
        bad["description"] = format!("{no_tenant} {about}").trim_end().into();
        bad["content"]["application/json"]["schema"] = json!({"oneOf": [plain, shaped]});
    }
    let foreseen = json!({
        "description": "A failure that nobody foresaw.",
        "headers": header_references(&["x-request-id"]),
        "content": {"application/json": {"schema": plain}},
    });
    replies.insert("500".to_owned(), foreseen);
    let vendor = vendor(api);
    for (status, reply) in &mut replies {
        reply[COMPONENT] = format!("{vendor}{status}").into();
    }
    replies.sort_keys();
    replies
}

fn headers_of(status: u16) -> Vec<&'static str> {
    let mut headers = vec!["x-request-id"];
    match status {
        401 => headers.push("WWW-Authenticate"),
        402 => {
            headers.push(BALANCE);
            headers.extend(OFFER);
        }
        429 => {
            headers.extend(["Retry-After", BALANCE]);
            headers.extend(WINDOW);
        }
        503 => headers.push("Retry-After"),
        _ => {}
    }
    headers
}

fn models(id: &str, summary: &str, schema: SchemaOf, generator: &mut SchemaGenerator) -> Value {
    let answer = json!({
        "description": "From the tenant's config, for the group of the key; no provider is asked.",
        "headers": header_references(&["x-request-id"]),
        "content": {"application/json": {"schema": schema(generator)}},
    });
    let mut replies = Map::new();
    replies.insert("200".to_owned(), answer);
    let codes = CODES.iter();
    let codes = codes
        .filter(|code| OF_MODELS.contains(&code.status) && !OF_OTHER_REQUESTS.contains(&code.code));
    let openai = failures(Api::OpenAi, codes.clone(), generator);
    let anthropic = failures(Api::Anthropic, codes.clone(), generator);
    let gemini = failures(Api::Gemini, codes, generator);
    let others = anthropic.into_iter().zip(gemini);
    for ((status, mut reply), ((_, other), (_, third))) in openai.into_iter().zip(others) {
        let place = "/content/application~1json/schema";
        let all = [
            reply.pointer(place),
            other.pointer(place),
            third.pointer(place),
        ];
        let shapes: Vec<Value> = all.into_iter().flatten().cloned().collect();
        if let Some(schema) = reply.pointer_mut(place)
            && shapes.first() != shapes.last()
        {
            *schema = json!({"anyOf": shapes});
        }
        reply[COMPONENT] = format!("Models{status}").into();
        replies.insert(status, reply);
    }
    json!({
        "operationId": id,
        "tags": [],
        "summary": summary,
        "description": "In Anthropic's shape where `anthropic-version` is sent, in Gemini's below `v1beta` and where \
            `x-goog-api-key` is sent, else in OpenAI's.",
        "security": keys(),
        "responses": replies,
    })
}
