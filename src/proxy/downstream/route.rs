//! Maps a request's path to a provider call.
//!
//! Base URLs are often misconfigured, so a call is found with `v1` once, twice or not at all, and with
//! doubled or trailing slashes.
//! Paths that are not in [`table`] are never served: end users must not browse the tenant's provider account.

use crate::dialect::call::Api;
use crate::dialect::{Dialect, table};

/// First path segments of the providers' APIs. An unserved path below one is refused in the error shape of
/// its [`Api`].
const API_FIRST_SEGMENTS: &[(&str, Api)] = &[
    ("messages", Api::Anthropic),
    ("chat", Api::OpenAi),
    ("completions", Api::OpenAi),
    ("responses", Api::OpenAi),
    ("embeddings", Api::OpenAi),
    ("moderations", Api::OpenAi),
    ("images", Api::OpenAi),
    ("audio", Api::OpenAi),
    ("models", Api::OpenAi),
    ("realtime", Api::OpenAi),
];

/// Parsed path of a provider's API.
#[derive(Clone)]
pub(crate) struct ProviderPath<'a> {
    pub api: Api,
    /// Dialect of the call. `None`: the path is not served.
    pub dialect: Option<&'static dyn Dialect>,
    /// Path segments below `v1`.
    pub words: Vec<&'a str>,
}

/// Parses a path. `None`: it is no path of a provider's API: neither below `v1` nor listed in `API_FIRST_SEGMENTS`.
pub(crate) fn provider(route: &str) -> Option<ProviderPath<'_>> {
    let mut words = route.split('/').filter(|word| !word.is_empty()).peekable();
    let mut versions = 0;
    while versions < 2 && words.next_if_eq(&"v1").is_some() {
        versions += 1;
    }
    let words: Vec<&str> = words.collect();
    let head = words.first().copied().unwrap_or_default();
    let api = API_FIRST_SEGMENTS
        .iter()
        .find(|(name, _)| *name == head)
        .map(|(_, api)| *api);
    if versions == 0 && api.is_none() {
        return None;
    }
    let dialect = table::find(&words);
    let api = dialect.map(Dialect::api).or(api).unwrap_or(Api::OpenAi);
    Some(ProviderPath {
        api,
        dialect,
        words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_answers_however_its_base_url_was_set() {
        for path in [
            "/v1/chat/completions",
            "/chat/completions",
            "/v1/v1/chat/completions",
            "/v1//chat/completions/",
        ] {
            let found = provider(path).unwrap();
            let served = found.dialect.map(Dialect::path);
            assert_eq!(
                (found.api, served),
                (Api::OpenAi, Some("chat/completions")),
                "{path}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused_in_the_shape_of_its_api() {
        for (path, api) in [
            ("/v1/files", Api::OpenAi),
            ("/v1", Api::OpenAi),
            ("/v1/v1/v1/chat/completions", Api::OpenAi),
            ("/v1/chat/completions/x", Api::OpenAi),
            ("/v1/messages/batches", Api::Anthropic),
        ] {
            let found = provider(path).unwrap();
            assert!(found.api == api && found.dialect.is_none(), "{path}");
        }
        assert!(provider("/auth/nobody").is_none());
        assert!(provider("/").is_none());
    }
}
