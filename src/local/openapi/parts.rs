//! Parts of the OpenAPI document that several operations share: credentials, parameters, headers.

use crate::api;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

/// A path with some of its operations.
pub(super) struct Described {
    pub tag: &'static str,
    pub path: String,
    /// Operations by method, in lower case.
    pub methods: Vec<(String, Value)>,
}

/// Security requirement of an end user's key, in any of its headers.
pub(super) fn keys() -> Value {
    json!([{"apiKey": []}, {"apiKeyAsXApiKey": []}, {"apiKeyAsApiKey": []}, {"apiKeyAsXGoogApiKey": []}])
}

pub(super) fn header_references(names: &[&str]) -> Value {
    let reference = |name: &&str| {
        let reference = json!({"$ref": format!("#/components/headers/{name}")});
        ((*name).to_owned(), reference)
    };
    Value::Object(names.iter().map(reference).collect())
}

/// Member of an answer that names the component that it is to be. It does not leave this module's parent.
pub(super) const COMPONENT: &str = "component";

/// Moves answers that are components to `shared`, and leaves references.
pub(super) fn share(replies: &mut Value, shared: &mut Map<String, Value>) {
    let replies = replies.as_object_mut().into_iter();
    for reply in replies.flat_map(Map::values_mut) {
        let name = reply
            .as_object_mut()
            .and_then(|reply| reply.remove(COMPONENT));
        if let Some(Value::String(name)) = name {
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            shared.insert(name, std::mem::replace(reply, reference));
        }
    }
}

/// Returns the `components` of the document, with every schema that was referred to.
pub(super) fn components(generator: &mut SchemaGenerator, responses: Map<String, Value>) -> Value {
    let key = |name: &str| {
        json!({"type": "apiKey", "in": "header", "name": name,
            "description": "The same key where an SDK sends it so."})
    };
    let bearer = |about: &str| json!({"type": "http", "scheme": "bearer", "description": about});
    let tenant = generator.subschema_for::<api::TenantId>();
    let path_parameter = |name: &str, about: &str, schema: Value| json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema});
    json!({
        "securitySchemes": {
            "apiKey": bearer("An end user's key."),
            "apiKeyAsXApiKey": key("x-api-key"),
            "apiKeyAsApiKey": key("api-key"),
            "apiKeyAsXGoogApiKey": key("x-goog-api-key"),
            "admin": bearer("The operator's token, or one of the tenant's own admin tokens."),
            "operator": bearer("The operator's token."),
        },
        "parameters": {
            "tenant": path_parameter("tenant", "Which tenant.", tenant.to_value()),
            "key": path_parameter("key", "The key itself.",
                json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"})),
            "name": path_parameter("name", "Name of the issuer in the tenant's `auth.oidc`.",
                json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"})),
            "token": path_parameter("token", "Name of the token.",
                json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"})),
            "id": path_parameter("id", "The key's `id`.",
                json!({"type": "string", "pattern": "^[0-9a-f]{12}$"})),
            "version": path_parameter("version", "Number of a config that was replaced.",
                json!({"type": "integer", "minimum": 1})),
            "user": path_parameter("user", "Name of the account, or the app's own ID of the user.",
                json!({"type": "string"})),
            "model": path_parameter("model", "A model's name.", json!({"type": "string"})),
            "ifMatch": {
                "name": "If-Match", "in": "header", "required": false,
                "description": "The `ETag` that must still be the config's.",
                "schema": {"type": "string"},
            },
        },
        "headers": headers(),
        "responses": responses,
        "schemas": sorted(generator.take_definitions(true)),
    })
}

/// Headers of answers, by their names.
fn headers() -> Value {
    let whole = |about: &str, minimum: u64| json!({"description": about, "schema": {"type": "integer", "minimum": minimum}});
    let text = |about: &str| json!({"description": about, "schema": {"type": "string"}});
    json!({
        "Content-Disposition": text("Name of the file. Absent where the answer is JSON."),
        "Location": text("Where the browser goes next."),
        "Set-Cookie": text("Binds the sign-in to this browser, or ends that."),
        "ETag": text("Names this text of the config."),
        "Retry-After": whole("Seconds to wait before the next try.", 1),
        "WWW-Authenticate": {
            "description": "How to authenticate.",
            "schema": {"type": "string", "const": "Bearer"},
        },
        "x-request-id": text("Names this request in the gateway's log."),
        "x-resullm-tokens-left":
            whole("The key's balance when the request was admitted or refused.", 0),
        "x-resullm-refills-at": {
            "description": "When the group's next refill comes. Absent where it has none.",
            "schema": {"type": "string", "format": "date-time"},
        },
        "x-resullm-plans": text("Path of what the tenant sells. Absent where it sells nothing."),
        "x-resullm-endpoint": text("The endpoint that answered, by its name in the tenant's config."),
        "x-resullm-cache": text(
            "`hit`, `miss` or `bypass`. Absent where the tenant has no cache."),
        "x-resullm-cost": text(
            "Charge of the call in tokens of the balance, with its amount and currency where the tenant has a price for \
             the model. Only where the request has a header of this name, and not on streams: these end with a comment of \
             this name."),
        "x-resullm-removed": text(
            "What was taken out of the request, by name, separated by commas: tools that the provider would run \
             itself, and what changes the price of a call. Absent where nothing was."),
        "x-ratelimit-limit-requests":
            whole("Requests in any window. Absent where the group has no limit.", 0),
        "x-ratelimit-remaining-requests": whole("Requests that may still pass in this window.", 0),
        "x-ratelimit-reset-requests":
            text("Until the whole limit is free again, in milliseconds, such as `64369ms`."),
    })
}

fn sorted(schemas: Map<String, Value>) -> Map<String, Value> {
    let mut schemas: Vec<(String, Value)> = schemas.into_iter().collect();
    schemas.sort_by(|(one, _), (other, _)| one.cmp(other));
    schemas.into_iter().collect()
}
