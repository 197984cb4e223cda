//! `GET /docs` in a real browser: every operation is listed and found, calls are made from the page, and what is hostile
//! stays text.

use crate::harness::http::Response;
use crate::harness::provider::Received;
use crate::harness::{Browser, Gateway, Page, Provider, Script, Setup};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MARKUP: &str = "<img src=x onerror=\"document.title='broken in'\"><b>bold</b>";
/// Opens all that is folded, until nothing is closed any more.
const OPEN_ALL: &str = "(async () => {
    for (;;) {
        const closed = [...document.querySelectorAll('main details:not([open])')];
        if (!closed.length) return;
        const opened = closed.map((one) => new Promise((done) => one.addEventListener('toggle', done, { once: true })));
        for (const one of closed) one.open = true;
        await Promise.all(opened);
    }
})()";

/// A gateway with a hostile name, whose tenant `abc` gives anonymous keys.
fn start() -> Gateway {
    let endpoint = json!({"kind": "demo", "default_model": "demo-1"});
    let config = json!({
        "user_groups": {"anonymous": {"tokens": 100}},
        "providers": {"text": {"default": "demo", "endpoints": {"demo": endpoint}}},
    });
    let name = json!({"name": MARKUP});
    Gateway::start(
        Setup::new()
            .tenant("abc", config)
            .yaml(&format!("service: {name}")),
    )
}

fn document(gateway: &Gateway) -> Value {
    gateway.client().get("/openapi.json").json()
}

fn operation_ids(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap().values();
    let methods = paths.flat_map(|path| path.as_object().unwrap().values());
    let ids = methods.filter_map(|operation| operation["operationId"].as_str());
    ids.map(str::to_owned).collect()
}

/// Opens the page, and waits until it shows this many operations.
fn open<'b>(browser: &'b Browser, url: &str, count: usize) -> Page<'b> {
    let page = browser.open(url);
    page.wait_text("search-count", &format!("{count} of {count} operations"));
    page
}

/// Types into a field as a person does, with the events of that.
fn type_in(page: &Page<'_>, id: &str, text: &str) {
    page.fill(id, text);
    let event = "new Event('input', { bubbles: true })";
    page.evaluate(&format!(
        "document.getElementById('{id}').dispatchEvent({event})"
    ));
}

/// Opens an operation by its link.
fn follow(page: &Page<'_>, id: &str) {
    page.evaluate(&format!("location.hash = '#{id}'"));
    page.wait(&format!("document.getElementById('{id}-send')"));
}

/// Presses an operation's button, waits for the answer, and returns its body.
fn send(page: &Page<'_>, id: &str, status: &str) -> Value {
    page.click(&format!("{id}-send"));
    page.wait_text(&format!("{id}-status"), status);
    page.wait(&format!("!document.getElementById('{id}-send').disabled"));
    serde_json::from_str(&page.text(&format!("{id}-answer"))).unwrap()
}

/// Asserts that nothing was asked of another origin, nothing threw, and nothing was refused by the page's policy.
fn assert_clean(browser: &Browser, origin: &str) {
    for name in [
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
    ] {
        let faults = browser.events(name);
        assert!(faults.is_empty(), "{faults:?}");
    }
    let asked = browser.asked_for();
    assert!(asked.len() > 1, "{asked:?}");
    for call in asked {
        let (_, url) = call.split_once(' ').unwrap();
        assert!(url.starts_with(&format!("{origin}/")), "{call}");
    }
}

#[test]
fn docs_page_is_html_with_a_strict_policy() {
    let gateway = start();

    let page = gateway.client().get("/docs");

    assert_eq!(page.status, 200);
    let header = |name: &str| page.header(name).unwrap_or_default().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-cache");
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for rule in [
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.split("; ").any(|one| one == rule), "{policy}");
    }
    let head = gateway.client().request("HEAD", "/docs").send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), page.header("content-length"));
    assert_eq!(gateway.client().get("/docs/").body, page.body);
    let posted = gateway.client().request("POST", "/docs").send();
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET, HEAD"))
    );
}

#[test]
fn docs_page_lists_every_operation_and_search_narrows_them() {
    let gateway = start();
    let browser = Browser::start();
    let origin = format!("http://{}", gateway.addr());
    let ids = operation_ids(&document(&gateway));
    let shown =
        "[...document.querySelectorAll('.operation:not([hidden])')].map((one) => one.id).sort()";

    let page = open(&browser, &format!("{origin}/docs"), ids.len());
    let listed: BTreeSet<String> = serde_json::from_value(page.evaluate(shown)).unwrap();
    assert_eq!(listed, ids);
    let links =
        "[...document.querySelectorAll('#contents-list a')].map((one) => one.hash.slice(1))";
    let linked: BTreeSet<String> = serde_json::from_value(page.evaluate(links)).unwrap();
    assert_eq!(linked, ids);

    type_in(&page, "search-box", "POST creditkey");
    page.wait_text("search-count", &format!("1 of {} operations", ids.len()));
    assert_eq!(page.evaluate(shown), json!(["creditKey"]));
    type_in(&page, "search-box", "zzzz");
    page.wait_text("search-count", &format!("0 of {} operations", ids.len()));
    follow(&page, "mintKey");
    page.wait_text("search-count", &format!("{0} of {0} operations", ids.len()));
    assert_eq!(
        page.evaluate("document.activeElement.parentElement.id"),
        "mintKey"
    );

    page.evaluate(OPEN_ALL);
    let text = page.evaluate("document.querySelector('main').textContent");
    let text = text.as_str().unwrap();
    for word in ["expiresInSeconds", "x-resullm-tokens-left", "tokens_held"] {
        assert!(text.contains(word), "{word}");
    }
    for slip in ["undefined", "[object", "NaN"] {
        assert!(!text.contains(slip), "{slip}");
    }
    let nameless = "[...document.querySelectorAll('input, textarea')].filter((one) => !one.labels.length).length";
    assert_eq!(page.evaluate(nameless), 0);
    assert_clean(&browser, &origin);
}

#[test]
fn calls_from_the_docs_page_are_answered_and_their_key_stays_in_its_field() {
    let gateway = start();
    let browser = Browser::start();
    let origin = format!("http://{}", gateway.addr());
    let count = operation_ids(&document(&gateway)).len();
    let page = open(&browser, &format!("{origin}/docs#signInAnonymously"), count);
    page.wait("document.getElementById('signInAnonymously-send')");
    type_in(&page, "use-tenant", "abc");

    let minted = send(&page, "signInAnonymously", "200 OK");
    let key = minted["apiKey"].as_str().unwrap();
    page.click("signInAnonymously-use");
    follow(&page, "me");
    let me = send(&page, "me", "200 OK");

    assert_eq!(me["tokensLeft"], 100);
    let headers = page.text("me-headers");
    assert!(
        headers.contains("content-type: application/json"),
        "{headers}"
    );
    assert_eq!(
        page.text("me-curl"),
        format!("curl '{origin}/abc/auth/me' -H \"Authorization: Bearer $KEY\"")
    );
    follow(&page, "root");
    let root = send(&page, "root", "200 OK");
    assert_eq!(root["message"], format!("{MARKUP} API is running"));
    assert_eq!(
        page.evaluate("document.querySelectorAll('img, b').length"),
        0
    );
    let kept = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])";
    let kept = page.evaluate(kept).to_string();
    let history = page.history().join(" ");
    let asked = browser.asked_for().join(" ");
    for place in [&kept, &history, &asked] {
        assert!(!place.contains(key), "{place}");
    }
    assert_clean(&browser, &origin);
}

#[test]
fn curl_line_of_the_docs_page_is_quoted_and_bodies_are_prefilled() {
    let gateway = start();
    let browser = Browser::start();
    let origin = format!("http://{}", gateway.addr());
    let count = operation_ids(&document(&gateway)).len();
    let page = open(&browser, &format!("{origin}/docs#creditKey"), count);
    page.wait("document.getElementById('creditKey-send')");
    let body = page.evaluate("document.getElementById('creditKey-body').value");
    let body: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    assert_eq!(body, json!({"tokens": 0}));
    page.click("creditKey-send");
    page.wait_text("creditKey-problem", "Fill in key.");

    type_in(&page, "use-tenant", "a'b");
    type_in(&page, "creditKey-path-key", "$(x) y");
    type_in(&page, "creditKey-body", "{\"comment\":\"it's `x`\"}");

    assert_eq!(
        page.text("creditKey-curl"),
        format!(
            "curl -X POST '{origin}/a'\\''b/admin/keys/%24(x)%20y/credit' -H \"Authorization: Bearer $KEY\" \
             -H 'Content-Type: application/json' --data-raw '{{\"comment\":\"it'\\''s `x`\"}}'"
        )
    );
    assert_clean(&browser, &origin);
}

/// The document with markup in all its texts and names, and with an operation that has no other name.
fn hostile(mut document: Value) -> Value {
    add_markup(&mut document);
    let mut operation = document["paths"]["/{tenant}/admin/keys"]["post"].clone();
    operation["operationId"] = json!(MARKUP);
    operation["tags"] = json!([MARKUP]);
    operation["parameters"] =
        json!([{"name": MARKUP, "in": "query", "schema": {"enum": [MARKUP]}}]);
    operation["responses"]["200"] = json!({
        "description": MARKUP,
        "headers": {MARKUP: {"schema": {"type": MARKUP, "pattern": MARKUP}}},
        "content": {MARKUP: {"schema": {"properties": {MARKUP: {"const": MARKUP}}, "not": {"const": MARKUP}}}},
    });
    document["paths"][format!("/{MARKUP}")] = json!({"post": operation});
    document["servers"] = json!([{"url": format!("javascript:{MARKUP}"), "description": MARKUP}]);
    document
}

fn add_markup(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text)
                        if ["title", "summary", "description"].contains(&name.as_str()) =>
                    {
                        text.push_str(MARKUP);
                    }
                    member => add_markup(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(add_markup),
        _ => {}
    }
}

/// The gateway's page below a path, as a proxy in front of it serves it, with another document beside it.
fn below_a_path(page: Response, document: Value) -> Provider {
    Provider::start(move |request: &Received| match request.path.as_str() {
        "/llm/docs" => {
            let headers = page.headers.iter();
            let headers: Vec<(&str, &str)> = headers
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            Script::new().head(200, &headers).bytes(page.body.clone())
        }
        "/llm/openapi.json" => Script::json(200, &document),
        _ => Script::json(404, &json!({})),
    })
}

#[test]
fn hostile_texts_of_a_document_stay_texts_on_the_docs_page() {
    let gateway = start();
    let browser = Browser::start();
    let document = hostile(document(&gateway));
    let count = operation_ids(&document).len();
    let proxy = below_a_path(gateway.client().get("/docs"), document);

    let page = open(&browser, &proxy.url("/llm/docs"), count);
    page.evaluate(OPEN_ALL);

    assert_eq!(
        page.evaluate("document.querySelectorAll('img, b').length"),
        0
    );
    assert_ne!(page.evaluate("document.title"), "broken in");
    let addresses =
        "[...document.links].filter((one) => !one.href.startsWith(location.origin)).length";
    assert_eq!(page.evaluate(addresses), 0);
    let about = page.text("page-about");
    assert!(about.contains(MARKUP), "{about}");
    let asked = browser.asked_for();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_clean(&browser, &proxy.url(""));
}
