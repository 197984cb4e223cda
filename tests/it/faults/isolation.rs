//! Isolation of tenants, and of headers that speak for a proxy or to a provider.

mod headers;
mod tenants;

const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

fn with(name: &str, key: &str) -> (String, String) {
    let bearer = name == "authorization";
    let value = if bearer {
        format!("Bearer {key}")
    } else {
        key.to_owned()
    };
    (name.to_owned(), value)
}

/// Decodes `\xNN` escapes into bytes.
fn bytes_of(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}
