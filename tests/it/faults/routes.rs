//! All operations of a gateway: those of the OpenAPI document that it serves, so that no new route is
//! forgotten, and the provider calls.

use crate::harness::Client;
use crate::harness::http::Response;
use serde_json::{Value, json};

/// Provider calls that are served, as paths below `v1`.
pub const PROVIDER_CALLS: &[&str] = &[
    "chat/completions",
    "responses",
    "completions",
    "embeddings",
    "moderations",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/transcriptions",
    "audio/translations",
    "audio/speech",
    "messages",
    "messages/count_tokens",
];

/// One method of one path in the OpenAPI document.
pub struct Operation {
    pub method: String,
    /// Path template, such as `/{tenant}/admin/keys/{key}`.
    pub template: String,
    pub has_body: bool,
    /// Requires an admin token.
    pub is_admins: bool,
    /// Requires an end user's key.
    pub is_users: bool,
}

impl Operation {
    pub fn path(&self, tenant: &str, key: &str) -> String {
        let path = self.template.replace("{tenant}", tenant);
        let path = path.replace("{key}", key).replace("{model}", "gpt-4o");
        let path = path.replace("{name}", "own");
        let path = path
            .replace("{id}", "0123456789ab")
            .replace("{user}", "somebody")
            .replace("{token}", "nobody")
            .replace("{version}", "1");
        assert!(!path.contains('{'), "a blank that nobody fills: {path}");
        path
    }

    pub fn is_provider(&self) -> bool {
        self.template.contains("/v1/")
    }
}

pub fn operations(client: &Client) -> Vec<Operation> {
    let document = client.get("/openapi.json").json();
    let mut operations = Vec::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().iter();
        for (method, operation) in methods.filter(|(name, _)| *name != "parameters") {
            let asks = |scheme: &str| {
                let mut ways = operation["security"].as_array().into_iter().flatten();
                ways.any(|way| way.get(scheme).is_some())
            };
            operations.push(Operation {
                method: method.to_uppercase(),
                template: template.clone(),
                has_body: operation.get("requestBody").is_some(),
                is_admins: asks("admin") || asks("operator"),
                is_users: asks("apiKey"),
            });
        }
    }
    assert!(operations.len() > 20, "{}", operations.len());
    operations
}

/// Content type and body of a call that takes a form.
pub fn form(call: &str, prompt: &str) -> Option<(String, String)> {
    let file = match call {
        "images/edits" | "images/variations" => "image",
        "audio/transcriptions" | "audio/translations" => "file",
        _ => return None,
    };
    let mut body = String::new();
    for (name, value) in [("model", "m"), ("prompt", prompt)] {
        body +=
            &format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!(
        "--b\r\ncontent-disposition: form-data; name=\"{file}\"; filename=\"f\"\r\n\r\nbytes\r\n--b--\r\n"
    );
    Some(("multipart/form-data; boundary=b".to_owned(), body))
}

/// Observable parts of a response: status, body, and the headers that do not differ each time.
pub fn face(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| {
        let own = ["date", "x-request-id", "request-id"];
        !own.iter().any(|own| name.eq_ignore_ascii_case(own))
    });
    let id = answer.header("x-request-id").unwrap_or("no request ID");
    (answer.status, headers, answer.text().replace(id, "its ID"))
}

/// JSON body of a call with this prompt.
pub fn asking(call: &str, prompt: &str, stream: bool) -> Value {
    let mut body = match call {
        "chat/completions" | "messages" | "messages/count_tokens" => {
            json!({"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": prompt}]})
        }
        "completions" | "images/generations" => json!({"model": "m", "prompt": prompt}),
        _ => json!({"model": "m", "input": prompt, "voice": "alloy"}),
    };
    if call == "completions" {
        body["max_tokens"] = json!(20);
    }
    if stream {
        body["stream"] = json!(true);
    }
    body
}
