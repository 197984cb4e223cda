//! Place of a call at its provider: the path has the model.

use crate::rules::identity::form;

/// Version of the API for an endpoint whose URL names none.
const VERSION: &str = "/v1beta";

const MODELS: &str = "/models";

/// Returns path and query of a call, for the URL of an endpoint: that of its main call, of its models, or of the API.
/// `path`: the call's own, such as `models/{model}:generateContent`.
pub fn target(url: &str, path: &str, model: &str, is_stream: bool) -> String {
    let (at, query) = url.split_once('?').unwrap_or((url, ""));
    let base = base(at);
    let base = if base.is_empty() { VERSION } else { base };
    let model = model.strip_prefix("models/").unwrap_or(model);
    // As one segment, in which no reader finds another one or another method.
    let call = path.replace("{model}", &form::encoded(model));
    let queries = [query, if is_stream { "alt=sse" } else { "" }];
    let queries: Vec<&str> = queries
        .into_iter()
        .filter(|query| !query.is_empty())
        .collect();
    let mark = if queries.is_empty() { "" } else { "?" };
    format!("{base}/{call}{mark}{}", queries.join("&"))
}

/// Returns what stands before `/models`.
fn base(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    let is_whole = |at: usize| {
        let rest = &path[at + MODELS.len()..];
        rest.is_empty() || rest.starts_with('/')
    };
    let at = path
        .rmatch_indices(MODELS)
        .map(|(at, _)| at)
        .find(|at| is_whole(*at));
    at.map_or(path, |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "models/{model}:generateContent";

    #[test]
    fn a_call_stands_beside_the_main_call_of_the_endpoint() {
        for url in [
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "/v1beta/models/",
            "/v1beta/models",
            "/v1beta/",
            "/v1beta",
            "/",
            "",
        ] {
            let target = target(url, CALL, "m-1.5", false);
            assert_eq!(target, "/v1beta/models/m-1.5:generateContent", "{url}");
        }
        let vertex = "/v1/publishers/google/models/x:generateContent?key=a";
        assert_eq!(
            target(
                vertex,
                "models/{model}:streamGenerateContent",
                "models/y",
                true
            ),
            "/v1/publishers/google/models/y:streamGenerateContent?key=a&alt=sse"
        );
        assert_eq!(
            target("/models-proxy/v1", CALL, "y", false),
            "/models-proxy/v1/models/y:generateContent"
        );
    }

    #[test]
    fn a_model_cannot_leave_its_place() {
        for (model, written) in [
            ("a/../b", "a%2F..%2Fb"),
            ("a:countTokens", "a%3AcountTokens"),
            ("a?b#c%2f", "a%3Fb%23c%252f"),
            ("é", "%C3%A9"),
        ] {
            let target = target("/v1", CALL, model, false);
            assert_eq!(target, format!("/v1/models/{written}:generateContent"));
        }
    }
}
