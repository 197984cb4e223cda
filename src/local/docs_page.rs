//! `GET /docs`: the OpenAPI document as a page for people, with a form that tries each operation out.
//!
//! Style and script stand inside the page, so it loads nothing besides `/openapi.json` and works below any path. Its
//! policy names both by their hashes, and lets it ask no other origin. The page itself has no data in it.

use super::answer::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use ring::digest::{SHA256, digest};
use std::sync::LazyLock;

const MARKUP: &str = include_str!("docs_page/index.html");
const STYLE: &str = include_str!("docs_page/style.css");
const SCRIPT: &str = include_str!("docs_page/app.js");

/// Elements of the markup that are empty there, and get `style.css` and `app.js`.
const STYLE_ELEMENT: (&str, &str) = ("<style>", "</style>");
const SCRIPT_ELEMENT: (&str, &str) = ("<script type=\"module\">", "</script>");

/// Serves `GET /docs`. Every answer of the gateway has `x-content-type-options` already.
pub(super) fn page() -> Answer {
    static PAGE: LazyLock<String> = LazyLock::new(whole);
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(policy);
    let mut answer = Response::new(Bytes::from_static(PAGE.as_bytes()));
    let headers = answer.headers_mut();
    let mut add = |name, value| headers.insert(name, value);
    let fixed = HeaderValue::from_static;
    add(header::CONTENT_TYPE, fixed("text/html; charset=utf-8"));
    add(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    add(header::REFERRER_POLICY, fixed("no-referrer"));
    // The page of an upgraded gateway is seen at once.
    add(header::CACHE_CONTROL, fixed("no-cache"));
    answer
}

fn whole() -> String {
    let fill = |page: String, (start, end): (&str, &str), text: &str| {
        page.replacen(&format!("{start}{end}"), &format!("{start}{text}{end}"), 1)
    };
    let page = fill(MARKUP.to_owned(), STYLE_ELEMENT, STYLE);
    fill(page, SCRIPT_ELEMENT, SCRIPT)
}

fn policy() -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE),
    );
    // The text is ASCII; were it not, the page would do nothing.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Source of an inline element in a policy, as `sha256-…`.
fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        STANDARD.encode(digest(&SHA256, text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest page in bytes: it is for phones, too.
    const MAX_PAGE_BYTES: usize = 40_000;

    #[test]
    fn page_has_its_parts_inside_and_stays_small() {
        let page = whole();

        for ((start, end), text) in [(STYLE_ELEMENT, STYLE), (SCRIPT_ELEMENT, SCRIPT)] {
            assert!(page.contains(&format!("{start}{text}{end}")), "{start}");
            assert!(!text.contains(end), "{start} would end early");
        }
        assert!(page.len() < MAX_PAGE_BYTES, "{}", page.len());
    }

    #[test]
    fn page_names_no_other_server_and_makes_no_markup_of_texts() {
        let page = whole();

        for word in [
            "://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
        ] {
            assert!(!page.contains(word), "{word}");
        }
        for word in [
            "localStorage",
            "sessionStorage",
            "pushState",
            "replaceState",
            "cookie",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn policy_allows_the_page_its_own_parts_alone() {
        let policy = policy();

        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"));
        assert!(policy.contains(&hash(SCRIPT)) && policy.contains(&hash(STYLE)));
        assert!(!policy.contains("unsafe"));
    }
}
