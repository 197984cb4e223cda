//! The OpenAPI document: every row of the routing tables and the types that they name, as one JSON text.
//!
//! The document is built at the first request for it, and kept. Rows, types and the table of provider calls describe
//! themselves; this file has the frame around them.

mod parts;
mod provider;

use super::operation::{Access, AnswerRow, Content, Operation, SchemaOf};
use super::table::{GLOBAL, OF_TENANT};
use parts::{COMPONENT, Described, header_references, keys};
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Returns the document with the server `/`, as indented JSON.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}", document()));
    &TEXT
}

/// Returns the document with this URL as its server.
pub(super) fn text_at(server: &str) -> String {
    text().replacen(SERVER, &format!("\"url\": {}", json!(server)), 1)
}

/// The only server entry of the document, as text.
const SERVER: &str = "\"url\": \"/\"";

const ABOUT: &str = "Each app is a tenant, and the first segment of the path says which. Paths without it, such as \
    `/v1/chat/completions`, belong to tenant `default`. End users hold keys with a balance of tokens; provider SDKs \
    take such a key as their API key and `http://<gateway>/<tenant>/v1` as their base URL.\n\n\
    A browser app calls from the origins in its tenant's `cors.origins`: `OPTIONS` with \
    `Access-Control-Request-Method` is answered before authentication on provider routes, `auth/anonymous` and \
    `auth/me`. A host that is not one of the gateway's (`server.hosts`) gets 421 everywhere but on `/healthz` and \
    `/readyz`.\n\n\
    Local routes answer errors as `{\"error\":\"<sentence>\"}`; provider routes answer them in the shape of the API \
    that was called. A failure that nobody foresaw is 500 `{\"error\":\"Internal Server Error\"}`.";

/// Tags, in the order of the paths.
const TAGS: &[(&str, &str)] = &[
    ("service", "The gateway itself."),
    ("auth", "Keys for end users."),
    ("provider", "Calls that are forwarded to a provider."),
    (
        "admin",
        "One tenant's config and keys. The operator's token opens every tenant; a tenant's own admin tokens open \
         that tenant alone.",
    ),
    (
        "operator",
        "All tenants. Only the operator's token opens these.",
    ),
];

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
    let generator = &mut settings.with_transform(plain).into_generator();
    let mut described: Vec<Described> = Vec::new();
    for (row, path) in rows() {
        described.push(Described {
            tag: tag(row),
            path,
            methods: methods(row, generator),
        });
    }
    described.extend(provider::operations(generator));
    described.sort_by_key(|one| TAGS.iter().position(|(name, _)| *name == one.tag));

    let mut paths = Map::new();
    let mut shared = Map::new();
    for Described { tag, path, methods } in described {
        let parameters = path_parameters(&path);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        if !parameters.is_empty() {
            entry["parameters"] = parameters.into();
        }
        for (method, mut operation) in methods {
            operation["tags"] = json!([tag]);
            parts::share(&mut operation["responses"], &mut shared);
            entry[method] = operation;
        }
    }
    let tags = TAGS.iter();
    let tags = tags.map(|(name, about)| json!({"name": name, "description": about}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ResuLLM",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An edge gateway in front of LLM providers.",
            "description": ABOUT,
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "security": [],
        "tags": tags.collect::<Vec<Value>>(),
        "paths": paths,
        "components": parts::components(generator, shared),
    })
}

/// Every local route with its whole path.
fn rows() -> impl Iterator<Item = (&'static Operation, String)> {
    let global = GLOBAL.iter().map(|row| (row, row.path.to_owned()));
    let of_tenant = OF_TENANT.iter().map(|row| {
        let path = format!("/{{tenant}}{}", row.path);
        (row, path.trim_end_matches('/').to_owned())
    });
    global.chain(of_tenant)
}

fn tag(row: &Operation) -> &'static str {
    match row.access {
        Access::Operator => "operator",
        Access::Admin => "admin",
        _ if row.path.starts_with("/auth/") => "auth",
        _ => "service",
    }
}

/// Describes a row, once for each method that it serves.
fn methods(row: &Operation, generator: &mut SchemaGenerator) -> Vec<(String, Value)> {
    let whole = operation(row, generator);
    let described = row.methods().map(|method| {
        let mut operation = whole.clone();
        if method == "HEAD" && row.method != "HEAD" {
            operation["operationId"] = format!("{}Head", row.id).into();
            let replies = operation["responses"].as_object_mut();
            let replies = replies.into_iter().flat_map(Map::values_mut);
            for reply in replies.filter_map(Value::as_object_mut) {
                reply.retain(|name, _| !["content", COMPONENT].contains(&name.as_str()));
            }
        }
        (method.to_ascii_lowercase(), operation)
    });
    described.collect()
}

fn operation(row: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({"operationId": row.id, "tags": [], "summary": row.summary});
    if !row.about.is_empty() {
        operation["description"] = row.about.into();
    }
    match row.access {
        Access::Anyone => {}
        Access::Key => operation["security"] = keys(),
        Access::Admin => operation["security"] = json!([{"admin": []}]),
        Access::Operator => operation["security"] = json!([{"operator": []}]),
    }
    let mut parameters = row.query.map(|query| query_parameters(query, generator));
    if row.if_match {
        let if_match = json!({"$ref": "#/components/parameters/ifMatch"});
        parameters.get_or_insert_default().push(if_match);
    }
    if let Some(parameters) = parameters {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = row.body {
        let content = json!({body.media_type: {"schema": (body.schema)(generator)}});
        operation["requestBody"] = json!({"required": body.required, "content": content});
    }
    let mut replies = Map::new();
    for reply in row.replies {
        replies.insert(reply.status.to_string(), answer(reply, generator));
    }
    operation["responses"] = replies.into();
    operation
}

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const HTML: &str = "text/html";

fn answer(reply: &AnswerRow, generator: &mut SchemaGenerator) -> Value {
    let mut answer = json!({"description": reply.about});
    if let Some(component) = reply.component {
        answer[COMPONENT] = component.into();
    }
    if !reply.headers.is_empty() {
        answer["headers"] = header_references(reply.headers);
    }
    let text = || json!({"type": "string"});
    let content = match reply.content {
        Content::None => return answer,
        Content::Json(schema) => vec![(JSON, schema(generator).to_value())],
        Content::AnyJson => vec![(JSON, json!({"type": "object"}))],
        Content::Either(one, other) => {
            vec![(JSON, json!({"oneOf": [one(generator), other(generator)]}))]
        }
        Content::JsonOrCsv(schema) => vec![(JSON, schema(generator).to_value()), (CSV, text())],
        Content::Html => vec![(HTML, text())],
    };
    for (media_type, schema) in content {
        answer["content"][media_type] = json!({"schema": schema});
    }
    answer
}

/// Fields of a query's type, as parameters.
fn query_parameters(query: SchemaOf, generator: &mut SchemaGenerator) -> Vec<Value> {
    let reference = query(generator);
    let name = reference.get("$ref").and_then(Value::as_str);
    let name = name.and_then(|name| name.rsplit('/').next());
    // A query is no body: its type is shown as parameters alone.
    let schema = name.and_then(|name| generator.definitions_mut().remove(name));
    let fields = schema
        .as_ref()
        .and_then(|schema| schema["properties"].as_object());
    let parameters = fields.into_iter().flatten().map(|(name, field)| {
        let mut schema = field.clone();
        if let Ok(schema) = <&mut Schema>::try_from(&mut schema) {
            plain(schema);
        }
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({"name": name, "in": "query", "required": false, "description": about, "schema": schema})
    });
    parameters.collect()
}

/// Parameters in the braces of a path, which may be a part of a segment: `{model}:countTokens`.
fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1);
    let names = names.filter_map(|rest| rest.split('}').next());
    let reference = |name| json!({"$ref": format!("#/components/parameters/{name}")});
    names.map(reference).collect()
}

/// Makes a schema plain JSON Schema: descriptions are one line, and numbers have no width of Rust's.
fn plain(schema: &mut Schema) {
    if let Some(Value::String(about)) = schema.get_mut("description") {
        *about = about.replace('\n', " ");
    }
    let width = schema.get("format").and_then(Value::as_str);
    if width.is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
    transform_subschemas(&mut plain, schema);
}
