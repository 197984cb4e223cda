//! CORS: the web origins whose pages may read the answers of a tenant's routes (`cors.origins`).

use super::node::{Faults, Node};
use crate::rules::origin::WebOrigin;
use serde_json::{Value, json};

/// Allowed origins. A config without `cors` allows none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    any: bool,
    origins: Vec<WebOrigin>,
}

impl Cors {
    pub fn is_any(&self) -> bool {
        self.any
    }

    pub fn allows(&self, origin: &WebOrigin) -> bool {
        self.any || self.origins.contains(origin)
    }
}

const RULE: &str = "expected an origin such as https://app.example or http://localhost:5173, without a path, \
    or * for any";

pub(super) fn cors(node: &Node, faults: &mut Faults) -> Cors {
    let mut cors = Cors {
        any: false,
        origins: Vec::new(),
    };
    for each in node.elements("origins", faults) {
        match each.words(faults).as_deref() {
            None => {}
            Some("*") => cors.any = true,
            Some(text) => match WebOrigin::parse(text) {
                Some(origin) => cors.origins.push(origin),
                None => faults.add(each.path(), RULE),
            },
        }
    }
    cors
}

pub(super) fn schema() -> Value {
    json!({
        "description": "Which web pages of other origins may call this tenant from the browser. Absent: none.",
        "type": ["object", "null"],
        "properties": {
            "origins": {
                "description": "Exact origins, such as https://app.example; * stands for any.",
                "type": ["array", "null"],
                "items": { "type": "string", "pattern": "^(\\*|[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._:\\[\\]-]+)$" }
            }
        }
    })
}
