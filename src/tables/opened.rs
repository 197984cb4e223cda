//! [`opened`]: the value type of secrets in tenants' configs, which are plain, sealed or named.

use super::node::Node;
use super::scalars::NOT_A_LINE;
use super::secret::Secret;
use super::value_type::ValueType;
use crate::url::{Origin, Url};
use serde_json::{Value, json};

/// Where a secret is sent.
#[derive(Clone, Copy)]
pub enum Goes {
    /// To the origin of the URL in this field of the same object.
    Beside(&'static str),
    /// To this host, over HTTPS. If a URL in a config could ever replace the host, its origin must be used instead, or
    /// a tenant could send an operator's secret anywhere.
    To(&'static str),
    /// Not known yet, so variables of the operator are refused.
    Unknown,
}

impl Goes {
    fn origin(self, node: &Node<'_>) -> Option<Origin> {
        match self {
            Goes::To(host) => Some(Origin::of(host)),
            Goes::Unknown => None,
            Goes::Beside(field) => {
                let object = node.object()?;
                let url = object.field(field)?;
                let url = Url::parse(url.value().as_str()?).ok()?;
                Some(url.origin())
            }
        }
    }
}

/// A secret in a tenant's config. `"format": "password"` in its schema marks the field as one that is sealed
/// before it is stored.
pub fn opened(goes: Goes) -> ValueType<Secret> {
    let schema = json!({"anyOf": [{"type": "string", "format": "password"}, {
        "description": "A variable of the gateway's environment that the operator has approved for where this is sent.",
        "type": "object",
        "required": ["env"],
        "additionalProperties": false,
        "properties": {"env": {"type": "string", "minLength": 1}},
    }]});
    ValueType::new(schema, move |node, reading| {
        let opened = reading.open(node, goes.origin(node).as_ref());
        opened.map_err(|message| reading.fault(node, message)).ok()
    })
}

/// A secret for a header or a form.
pub fn opened_line(goes: Goes) -> ValueType<Secret> {
    opened(goes).check(
        |secret| match secret.expose().chars().any(char::is_control) {
            true => Err(NOT_A_LINE),
            false => Ok(()),
        },
    )
}

/// Whether a schema is that of a secret.
pub(crate) fn is_secret(schema: &Value) -> bool {
    let parts = schema["anyOf"].as_array().into_iter().flatten();
    schema["format"] == "password" || parts.into_iter().any(is_secret)
}
