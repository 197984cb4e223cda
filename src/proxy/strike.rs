//! Strikes an endpoint's credentials out of what its provider says.
//!
//! Providers, and what stands before them, quote requests in their errors, the key in its header and
//! the query of the URL included. The caller must never read them.

use crate::rules::config::{Endpoint, Key};

/// What is shorter is hardly secret, and could be a word of an answer.
const SHORTEST: usize = 16;
const STRUCK: &[u8] = b"***";

/// The credentials of one endpoint.
pub struct Credentials<'a>(Vec<&'a str>);

impl<'a> Credentials<'a> {
    pub fn of(endpoint: &'a Endpoint) -> Credentials<'a> {
        let key = endpoint.api_key.as_ref().map(Key::expose);
        let query = endpoint
            .url
            .as_ref()
            .and_then(|url| url.path_and_query.split_once('?'));
        let values = query.into_iter().flat_map(|(_, query)| query.split('&'));
        let values = values.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let all = key.into_iter().chain(values);
        Credentials(all.filter(|text| text.len() >= SHORTEST).collect())
    }

    /// Some credential stands in these bytes.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        let stands = |text: &&str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        self.0.iter().any(stands)
    }

    /// The same bytes without them; `None`: they can stay as they came.
    pub fn strike(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if !self.are_in(bytes) {
            return None;
        }
        let mut text = bytes.to_vec();
        for credential in &self.0 {
            let mut out = Vec::with_capacity(text.len());
            let mut end = 0;
            for at in memchr::memmem::find_iter(&text, credential.as_bytes()) {
                out.extend_from_slice(&text[end..at]);
                out.extend_from_slice(STRUCK);
                end = at + credential.len();
            }
            out.extend_from_slice(&text[end..]);
            text = out;
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config;
    use serde_json::{Value, json};

    fn endpoint(endpoint: Value) -> Endpoint {
        let text = json!({"default": "a", "endpoints": {"a": endpoint}});
        let config = config::read(&json!({"providers": {"text": text}})).unwrap();
        config.text.unwrap().endpoints.remove(0)
    }

    #[test]
    fn keys_and_queries_are_struck_out_wherever_they_stand() {
        let endpoint = endpoint(json!({
            "url": "https://a.example/v1/chat/completions?version=1&key=query-0123456789",
            "api_key": "sk-0123456789abcdef",
        }));
        let credentials = Credentials::of(&endpoint);
        let struck = credentials.strike(
            b"Bearer sk-0123456789abcdef for ?version=1&key=query-0123456789; sk-0123456789abcdef",
        );
        let struck = String::from_utf8(struck.unwrap()).unwrap();
        assert_eq!(struck, "Bearer *** for ?version=1&key=***; ***");
        assert_eq!(credentials.strike(b"version=1, sk-0123"), None);
    }

    #[test]
    fn what_is_no_secret_is_left_alone() {
        let none = endpoint(json!({"url": "http://a.example/", "api_key": "not-needed"}));
        assert_eq!(Credentials::of(&none).strike(b"not-needed"), None);
        let none = endpoint(json!({"kind": "demo"}));
        assert!(!Credentials::of(&none).are_in(b""));
    }
}
