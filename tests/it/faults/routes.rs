//! Everything that can be asked of a gateway: the operations of the document that it serves, so that
//! no new route is forgotten, and the providers' calls.

use crate::harness::Client;

/// The calls of the providers' APIs that are served, below `v1`.
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

/// One method of one path in the document.
pub struct Operation {
    pub method: String,
    /// With its blanks: `/{tenant}/admin/keys/{key}`.
    pub template: String,
    pub has_body: bool,
}

impl Operation {
    pub fn path(&self, tenant: &str, key: &str) -> String {
        let path = self.template.replace("{tenant}", tenant);
        let path = path.replace("{key}", key);
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
            operations.push(Operation {
                method: method.to_uppercase(),
                template: template.clone(),
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    assert!(operations.len() > 20, "{}", operations.len());
    operations
}

/// The content type and the body of the calls that are forms.
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
