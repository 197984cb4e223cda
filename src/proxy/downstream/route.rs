//! Maps a request's path to a provider call.
//!
//! Base URLs are often misconfigured, so a call is found with its version (`v1`, `v1beta`) once, twice or not at all,
//! and with doubled or trailing slashes.
//! Paths that are not in [`table`] are never served: end users must not browse the tenant's provider account.

use crate::dialect::call::Api;
use crate::dialect::{Dialect, table};
use crate::rules::percent;
use std::borrow::Cow;

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
    /// Path segments below the version.
    pub words: Vec<&'a str>,
    /// Model that the path names.
    pub model: Option<Cow<'a, str>>,
}

/// Versions of the APIs, as first segments of their paths.
const VERSIONS: [&str; 2] = ["v1", "v1beta"];
/// Version that Gemini alone has.
const GEMINI_VERSION: &str = VERSIONS[1];
/// What stands for the model in a dialect's path.
const MODEL: &str = "{model}";

/// Parses a path. `None`: it is no path of a provider's API: neither below `v1` nor listed in `API_FIRST_SEGMENTS`.
pub(crate) fn provider(route: &str) -> Option<ProviderPath<'_>> {
    let mut words = route.split('/').filter(|word| !word.is_empty()).peekable();
    let (mut versions, mut is_gemini) = (0, false);
    while versions < 2
        && let Some(version) = words.next_if(|word| VERSIONS.contains(word))
    {
        versions += 1;
        is_gemini |= version == GEMINI_VERSION;
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
    if let Some((method, model)) = method_of_model(&words) {
        return Some(ProviderPath {
            api: Api::Gemini,
            dialect: table::find(&["models", &format!("{MODEL}:{method}")])
                .filter(|_| !model.is_empty()),
            words,
            model: Some(model),
        });
    }
    let dialect = table::find(&words);
    let of_path = match is_gemini {
        true => Some(Api::Gemini),
        false => api,
    };
    Some(ProviderPath {
        api: dialect.map(Dialect::api).or(of_path).unwrap_or(Api::OpenAi),
        dialect,
        words,
        model: None,
    })
}

/// Returns the method behind a model's name, as in `models/gemini-2.5-pro:generateContent`, and the name. A name may
/// have slashes and colons of its own.
fn method_of_model<'a>(words: &[&'a str]) -> Option<(&'a str, Cow<'a, str>)> {
    let ["models", before @ .., last] = words else {
        return None;
    };
    let (end, method) = last.rsplit_once(':')?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_gemini = is_method && (method.ends_with("Content") || method.ends_with("Tokens"));
    if !is_gemini {
        return None;
    }
    let name = match before {
        [] => Cow::Borrowed(end),
        before => Cow::Owned(format!("{}/{end}", before.join("/"))),
    };
    let name = match name.contains('%') {
        true => Cow::Owned(percent::decoded(&name)?),
        false => name,
    };
    Some((method, name))
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
    fn a_model_in_the_path_is_read_as_it_was_meant() {
        for (path, model) in [
            (
                "/v1beta/models/gemini-2.5-pro:generateContent",
                "gemini-2.5-pro",
            ),
            ("/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
            ("/v1/v1beta/models/a/b:1:streamGenerateContent", "a/b:1"),
            ("/v1beta/v1beta/models/a%2Fb%3A1:countTokens", "a/b:1"),
            ("/v1/models/models/x:generateContent", "models/x"),
        ] {
            let found = provider(path).unwrap();
            assert_eq!(found.model.as_deref(), Some(model), "{path}");
            assert_eq!(found.dialect.map(Dialect::api), Some(Api::Gemini), "{path}");
        }
        let list = provider("/v1beta/models").unwrap();
        assert!(list.api == Api::Gemini && list.words == ["models"]);
    }

    #[test]
    fn everything_else_is_refused_in_the_shape_of_its_api() {
        for (path, api) in [
            ("/v1/files", Api::OpenAi),
            ("/v1", Api::OpenAi),
            ("/v1/v1/v1/chat/completions", Api::OpenAi),
            ("/v1/chat/completions/x", Api::OpenAi),
            ("/v1/messages/batches", Api::Anthropic),
            ("/v1beta/files", Api::Gemini),
            ("/v1/models/m:embedContent", Api::Gemini),
            ("/v1beta/models/:generateContent", Api::Gemini),
            ("/v1beta/tunedModels/m:generateContent", Api::Gemini),
            ("/v1beta/models/%zz:generateContent", Api::Gemini),
            ("/v1/models/ft:gpt-4o:org", Api::OpenAi),
        ] {
            let found = provider(path).unwrap();
            assert!(found.api == api && found.dialect.is_none(), "{path}");
        }
        assert!(provider("/auth/nobody").is_none());
        assert!(provider("/tunedModels/m:generateContent").is_none());
        assert!(provider("/").is_none());
    }
}
