//! Forms and queries as Stripe's API takes them: `line_items[0][price]=price_x&metadata[user]=u`.
//!
//! Pure. Parameters that a route does not know are refused by name, as Stripe refuses them.

use super::error::StripeError;
use serde_json::{Map, Value};

/// Limits of `metadata`, from Stripe's reference.
const MAX_METADATA_KEYS: usize = 50;
const MAX_METADATA_KEY_CHARS: usize = 40;
const MAX_METADATA_VALUE_CHARS: usize = 500;

/// Parsed parameters, each with its name and the name's segments: `a[b][c]` is `a`, `b`, `c`.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    fields: Vec<FormField>,
}

#[derive(Clone, Debug)]
struct FormField {
    name: String,
    segments: Vec<String>,
    value: String,
}

impl Form {
    pub(super) fn parse(text: &[u8]) -> Form {
        let fields = form_urlencoded::parse(text).map(|(name, value)| FormField {
            segments: segments(&name),
            name: name.into_owned(),
            value: value.into_owned(),
        });
        Form {
            fields: fields.collect(),
        }
    }

    /// Value by name; the last one counts where a name is sent twice.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.rfind(|field| field.name == name)?;
        Some(&found.value)
    }

    /// Value that must be there and not empty.
    pub(super) fn required(&self, name: &str) -> Result<&str, StripeError> {
        match self.text(name) {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(StripeError::invalid(format!(
                "You passed an empty string for '{name}'."
            ))
            .with_code("parameter_invalid_empty")
            .at(name)),
            None => Err(
                StripeError::invalid(format!("Missing required param: {name}."))
                    .with_code("parameter_missing")
                    .at(name),
            ),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, StripeError> {
        let parsed = self.text(name).map(|text| {
            text.parse().map_err(|_| {
                StripeError::invalid(format!("Invalid integer: {text}"))
                    .with_code("parameter_invalid_integer")
                    .at(name)
            })
        });
        parsed.transpose()
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, StripeError> {
        let parsed = self.text(name).map(|text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(StripeError::invalid(format!("Invalid boolean: {text}")).at(name)),
        });
        parsed.transpose()
    }

    /// Different segments that follow `name`, in the order of their first appearance: `0`, `1` of `line_items`.
    pub(super) fn entries(&self, name: &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for field in &self.fields {
            if let [first, second, ..] = field.segments.as_slice()
                && first == name
                && !found.contains(&second.as_str())
            {
                found.push(second);
            }
        }
        found
    }

    /// Values of a list such as `expand[]`, or `expand[0]`.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter();
        let listed = fields.filter(|field| field.segments.len() == 2 && field.segments[0] == name);
        listed.map(|field| field.value.as_str()).collect()
    }

    /// Checked key-value pairs of `metadata`, or of `subscription_data[metadata]` and the like.
    pub(super) fn metadata(&self, name: &str) -> Result<Map<String, Value>, StripeError> {
        let above = segments(name);
        let refuse = |message: String| Err(StripeError::invalid(message).at(name));
        let mut metadata = Map::new();
        for field in &self.fields {
            let Some([key]) = field.segments.strip_prefix(above.as_slice()) else {
                continue;
            };
            if key.is_empty() || key.chars().count() > MAX_METADATA_KEY_CHARS {
                return refuse(format!(
                    "Metadata keys can have up to {MAX_METADATA_KEY_CHARS} characters. Invalid key: {key}"
                ));
            }
            let chars = field.value.chars().count();
            if chars > MAX_METADATA_VALUE_CHARS {
                return refuse(format!(
                    "Metadata values can have up to {MAX_METADATA_VALUE_CHARS} characters, but you passed in a \
                     value that is {chars} characters. Invalid value: {}",
                    field.value
                ));
            }
            metadata.insert(key.clone(), Value::String(field.value.clone()));
        }
        if metadata.len() > MAX_METADATA_KEYS {
            return refuse(format!(
                "You can only set up to {MAX_METADATA_KEYS} metadata keys, but you passed in {}.",
                metadata.len()
            ));
        }
        Ok(metadata)
    }

    /// Refuses names that match none of the patterns, such as `line_items[*][price]`.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), StripeError> {
        let patterns: Vec<Vec<String>> = known.iter().map(|name| segments(name)).collect();
        let matches = |pattern: &Vec<String>, field: &FormField| {
            pattern.len() == field.segments.len()
                && pattern
                    .iter()
                    .zip(&field.segments)
                    .all(|(want, have)| want == "*" || want == have)
        };
        for field in &self.fields {
            let is_known = patterns.iter().any(|pattern| matches(pattern, field));
            if !is_known {
                let message = format!("Received unknown parameter: {}", field.name);
                return Err(StripeError::invalid(message)
                    .with_code("parameter_unknown")
                    .at(&field.name));
            }
        }
        Ok(())
    }
}

/// Splits `a[b][]` into `a`, `b` and an empty segment; a name that is not of this form stays whole.
fn segments(name: &str) -> Vec<String> {
    let whole = || vec![name.to_owned()];
    let Some((first, rest)) = name.split_once('[') else {
        return whole();
    };
    let Some(rest) = rest.strip_suffix(']').filter(|_| !first.is_empty()) else {
        return whole();
    };
    let inner = rest.split("][");
    if inner.clone().any(|segment| segment.contains(['[', ']'])) {
        return whole();
    }
    let inner = inner.map(str::to_owned);
    std::iter::once(first.to_owned()).chain(inner).collect()
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
