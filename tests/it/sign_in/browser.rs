//! The page of `examples/browser` in a real browser, from another origin than the gateway's: a visitor asks, signs in,
//! takes the balance along, asks as a person and signs out.

use super::flow::split;
use crate::harness::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::harness::project::in_project;
use crate::harness::provider::Received;
use crate::harness::{Browser, Gate, Gateway, Page, Provider, Script, Step, mint};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, OnceLock};

const EXAMPLE: &str = "examples/browser";
/// Tenant in the example's `config.js`.
const TENANT: &str = "app";
/// Addresses that the example's files name, in place of which the test's own are served.
const GATEWAY: &str = "http://localhost:3000";
const SITE: &str = "http://localhost:5173";
const ISSUER: &str = "https://login.example";

const MARKUP: &str = "<img src=x onerror=\"document.title='broken in'\"><b>bold</b>";

struct World {
    browser: Browser,
    gateway: Gateway,
    provider: Provider,
    issuer: Issuer,
    site: Provider,
    /// Holds the second half of an answer to "slowly" back.
    gate: Gate,
}

impl World {
    fn start() -> World {
        World::with(|_| ())
    }

    /// Starts all with the tenant of the example's README, changed.
    fn with(change: impl FnOnce(&mut Value)) -> World {
        let gate = Gate::new();
        let held = gate.clone();
        let provider = Provider::start(move |request| answer(request, &held));
        let issuer = Issuer::start();
        let address: Arc<OnceLock<String>> = Arc::default();
        let of_gateway = address.clone();
        let site = Provider::start(move |request| file(request, of_gateway.get().unwrap()));
        let mut config = tenant(&issuer, &site, &provider);
        change(&mut config);
        let gateway = Gateway::start(super::setup(&issuer).tenant(TENANT, config));
        address.set(format!("http://{}", gateway.addr())).unwrap();
        World {
            browser: Browser::start(),
            gateway,
            provider,
            issuer,
            site,
            gate,
        }
    }

    fn open(&self) -> Page<'_> {
        self.browser.open(&self.site.url("/"))
    }

    /// Status of `auth/me` for a key, and its balance.
    fn books(&self, key: &str) -> (u16, Value) {
        let request = self.gateway.client().request("GET", "/app/auth/me");
        let me = request.bearer(key).send();
        (me.status, me.json()["tokensLeft"].clone())
    }

    /// Ways back from a sign-in that the site has seen.
    fn returns(&self) -> Vec<String> {
        let paths = self.site.requests().into_iter();
        paths
            .map(|request| request.path)
            .filter(|path| path.contains("code="))
            .collect()
    }

    /// Asserts that the keys stand in no address, no `Referer` and no log.
    fn assert_in_no_address(&self, keys: &[&str]) {
        let mut addresses = self.browser.asked_for();
        for request in [self.site.requests(), self.issuer.requests()].concat() {
            addresses.extend(request.header("referer").map(str::to_owned));
            addresses.push(request.path);
        }
        let log = self.gateway.logs();
        assert!(addresses.len() > 10, "{addresses:?}");
        for text in addresses.iter().chain(&log) {
            for key in keys {
                assert!(!text.contains(key), "{text}");
            }
            let is_key = text.contains("temp_") || text.contains("user_");
            assert!(!is_key, "{text}");
        }
    }

    /// Asserts that no script threw, and that the browser refused the page nothing.
    fn assert_no_faults(&self) {
        for name in ["Runtime.exceptionThrown", "Log.entryAdded"] {
            let faults = self.browser.events(name);
            assert!(faults.is_empty(), "{faults:?}");
        }
    }
}

/// The tenant's config of the README, with servers of this test.
fn tenant(issuer: &Issuer, site: &Provider, provider: &Provider) -> Value {
    let page = fs::read_to_string(in_project(EXAMPLE).join("README.md")).unwrap();
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (config, _) = rest.split_once("```").unwrap();
    let config = config
        .replace(ISSUER, &issuer.name())
        .replace(SITE, &site.url(""))
        .replace("your-client", CLIENT_ID)
        .replace("your-secret", CLIENT_SECRET);
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["providers"]["text"]["endpoints"]["demo"] = json!({
        "url": provider.url("/v1/chat/completions"), "default_model": "gpt-4o", "api_key": "sk-test",
    });
    config
}

/// Serves the example as any server of static files does.
fn file(request: &Received, gateway: &str) -> Script {
    let name = match split(&request.path).0 {
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html",
        Some("js") => "text/javascript",
        _ => "text/css",
    };
    let found = fs::read_to_string(in_project(EXAMPLE).join(name));
    let (status, text) = found.map_or((404, String::new()), |text| (200, text));
    let text = text.replace(GATEWAY, gateway);
    let length = text.len().to_string();
    Script::new()
        .head(
            status,
            &[("content-type", kind), ("content-length", &length)],
        )
        .bytes(text)
}

/// Streams of seven tokens, torn into pieces of five bytes.
fn answer(request: &Received, gate: &Gate) -> Script {
    let text = request.text();
    let asked = |word: &str| text.contains(word);
    let script = if asked("markup") {
        Script::chat_stream(&[MARKUP], 3, 4)
    } else if asked("break off") {
        Script::chat_stream(&["Half"], 3, 4).after(2, Step::Cut)
    } else if asked("slowly") {
        let wait = Step::WaitUntilReleased(gate.clone());
        Script::chat_stream(&["Grüße, ", "Wörld 🌍"], 3, 4).after(2, wait)
    } else {
        Script::chat_stream(&["Hi again"], 3, 4)
    };
    script.split_every(5)
}

fn ask(page: &Page<'_>, question: &str) {
    page.fill("question", question);
    page.click("send");
}

/// Waits until the last entry of the conversation is this text.
#[track_caller]
fn wait_said(page: &Page<'_>, text: &str) {
    let last = "document.querySelector('#conversation li:last-child')?.textContent";
    page.wait(&format!("{last} === {}", json!(text)));
}

/// Key in a storage of the page, if there is one.
fn stored(page: &Page<'_>, storage: &str, name: &str) -> Option<String> {
    let kept = page.evaluate(&format!("JSON.parse({storage}.getItem('{name}'))"));
    kept["apiKey"].as_str().map(str::to_owned)
}

#[test]
fn visitor_of_the_example_becomes_a_person_and_keeps_what_is_left() {
    let world = World::start();
    let page = world.open();

    page.wait_text("balance", "100 tokens left");
    assert_eq!(page.text("who"), "You are a visitor.");
    ask(&page, "slowly, please");
    wait_said(&page, "Grüße, ");
    world.gate.open();
    wait_said(&page, "Grüße, Wörld 🌍");
    page.wait_text("balance", "93 tokens left");
    let visitor = stored(&page, "localStorage", "visitor-key").unwrap();
    assert_eq!(world.books(&visitor), (200, json!(93)));

    page.click("sign-in");

    page.wait_text("balance", "1,093 tokens left");
    assert_eq!(
        page.text("news"),
        "Welcome! 93 tokens of your visit were carried over."
    );
    assert!(page.text("who").starts_with("You are signed in as p_"));
    assert_eq!(page.address(), world.site.url("/"));
    let history = page.history();
    assert!(
        !history.iter().any(|url| url.contains("code=")),
        "{history:?}"
    );
    assert_eq!(world.books(&visitor).0, 401);
    assert_eq!(stored(&page, "localStorage", "visitor-key"), None);
    let person = stored(&page, "sessionStorage", "person-key").unwrap();
    assert_eq!(world.books(&person), (200, json!(1093)));

    ask(&page, "markup, please");
    wait_said(&page, MARKUP);
    page.wait_text("balance", "1,086 tokens left");
    assert_eq!(world.books(&person), (200, json!(1086)));
    assert_eq!(
        page.evaluate("document.querySelectorAll('#conversation li *').length"),
        0
    );
    assert_ne!(page.evaluate("document.title"), "broken in");

    page.click("sign-out");
    page.wait_text("who", "You are a visitor.");
    page.wait_text("balance", "100 tokens left");
    assert_eq!(world.books(&person).0, 401);
    assert_eq!(stored(&page, "sessionStorage", "person-key"), None);
    let next = stored(&page, "localStorage", "visitor-key").unwrap();
    world.assert_in_no_address(&[&visitor, &person, &next]);
    world.assert_no_faults();
}

#[test]
fn return_that_was_not_begun_in_this_tab_is_refused() {
    let world = World::start();
    let page = world.open();
    page.wait_text("balance", "100 tokens left");
    let under_way = json!({"verifier": "v".repeat(43), "state": "ours"}).to_string();
    page.evaluate(&format!(
        "sessionStorage.setItem('sign-in', {})",
        json!(under_way)
    ));
    let refused = |path: &str| {
        page.go(&world.site.url(path));
        page.wait_text("problem", "This sign-in was not begun here.");
        page.wait("!document.getElementById('send').disabled");
        assert_eq!(page.address(), world.site.url("/"));
        assert_eq!(
            page.evaluate("sessionStorage.getItem('sign-in')"),
            Value::Null
        );
    };
    let redeemed = || {
        let asked = world.browser.asked_for().into_iter();
        asked
            .filter(|call| call.starts_with("POST ") && call.ends_with("/auth/token"))
            .count()
    };

    refused("/?code=made-up&state=theirs");
    refused("/?code=made-up&state=ours");
    refused("/?code=made-up");
    refused("/?error=access_denied&state=");

    assert_eq!(redeemed(), 0);
    page.wait_text("balance", "100 tokens left");
    page.click("sign-in");
    page.wait_text("balance", "1,100 tokens left");
    let real = world.returns().pop().unwrap();
    assert!(!real.contains("made-up"), "{real}");
    refused(&real);
    assert_eq!(redeemed(), 1);
    page.wait_text("balance", "1,100 tokens left");
}

#[test]
fn page_of_an_unlisted_origin_reads_no_answer() {
    let world = World::start();
    let stranger = Provider::start(|_| {
        let html = "<!doctype html><title>Stranger</title>";
        let length = html.len().to_string();
        Script::new()
            .head(
                200,
                &[("content-type", "text/html"), ("content-length", &length)],
            )
            .bytes(html)
    });
    let key = mint(&world.gateway, TENANT);
    let base = format!("http://{}/{TENANT}", world.gateway.addr());
    let calls = [
        json!(["auth/anonymous", {"method": "POST"}]),
        json!(["auth/me", {"headers": {"authorization": format!("Bearer {key}")}}]),
        json!(["auth/token", {"method": "POST", "body": "{}"}]),
        json!(["v1/models", {"headers": {"authorization": format!("Bearer {key}")}}]),
        json!(["v1/chat/completions", {"method": "POST",
            "headers": {"authorization": format!("Bearer {key}"), "content-type": "application/json"},
            "body": "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"}]),
    ];
    let call = |page: &Page<'_>, call: &Value| {
        let url = format!("{base}/{}", call[0].as_str().unwrap());
        let options = &call[1];
        page.evaluate(&format!(
            "fetch({}, {options}).then((answer) => answer.status, String)",
            json!(url)
        ))
    };

    let page = world.browser.open(&stranger.url("/"));
    page.wait("document.title === 'Stranger'");
    for asked in &calls {
        assert_eq!(
            call(&page, asked),
            "TypeError: Failed to fetch",
            "{}",
            asked[0]
        );
    }

    assert_eq!(world.provider.requests().len(), 0);
    assert_eq!(world.books(&key), (200, json!(100)));
    let listed = world.open();
    listed.wait_text("balance", "100 tokens left");
    let statuses = calls.each_ref().map(|asked| call(&listed, asked));
    assert_eq!(statuses, [200, 200, 400, 200, 200].map(Value::from));
}

#[test]
fn example_tells_refusals_in_words() {
    let world = World::with(|config| {
        // An answer that breaks off costs all that was held for it.
        config["user_groups"]["anonymous"]["tokens"] = json!(1000);
        config["user_groups"]["anonymous"]["rate_limit"] = json!(2);
    });
    let page = world.open();
    page.wait_text("balance", "1,000 tokens left");

    ask(&page, "Hello");
    wait_said(&page, "Hi again");
    ask(&page, "break off, please");
    page.wait_text(
        "problem",
        "The answer broke off: The provider did not answer as it should",
    );
    wait_said(&page, "Half");
    ask(&page, "Hello once more");
    page.wait(r"/^Too much at once. Try again in \d+ seconds.$/.test(document.getElementById('problem').textContent)");
    wait_said(&page, "Hello once more");

    world.gateway.kill9();
    ask(&page, "Is anybody there?");
    page.wait_text(
        "problem",
        "The gateway cannot be reached, or it does not know this page's origin.",
    );

    let poor = World::with(|config| config["user_groups"]["anonymous"]["tokens"] = json!(10));
    let page = poor.open();
    page.wait_text("balance", "10 tokens left");
    ask(&page, "Hello");
    page.wait_text("problem", "Your tokens do not suffice for this question.");
    assert_eq!(poor.provider.requests().len(), 0);
}

#[test]
fn answer_that_is_stopped_stays_and_the_next_question_is_answered() {
    let world = World::with(|config| {
        config["user_groups"]["anonymous"]["tokens"] = json!(1000);
    });
    let page = world.open();
    page.wait_text("balance", "1,000 tokens left");
    ask(&page, "slowly, please");
    wait_said(&page, "Grüße, ");

    page.click("stop");

    page.wait("!document.getElementById('send').disabled");
    wait_said(&page, "Grüße, ");
    assert_eq!(page.text("problem"), "");
    world.gate.open();
    ask(&page, "And now?");
    wait_said(&page, "Grüße, Wörld 🌍");
}

#[test]
fn key_that_ended_elsewhere_makes_way_for_a_new_one() {
    let world = World::start();
    let page = world.open();
    page.wait_text("balance", "100 tokens left");
    let ended = stored(&page, "localStorage", "visitor-key").unwrap();
    let path = format!("/{TENANT}/admin/keys/{ended}");
    let request = world.gateway.client().request("DELETE", &path);
    let deleted = request.bearer(world.gateway.admin_token()).send();
    assert_eq!(deleted.status, 200, "{}", deleted.text());

    page.go(&world.site.url("/"));

    page.wait_text("balance", "100 tokens left");
    assert_ne!(stored(&page, "localStorage", "visitor-key"), Some(ended));
}

/// One event in all its spellings, a byte at a time.
#[test]
fn example_reads_events_however_they_are_cut() {
    let world = World::start();
    let page = world.open();
    page.wait_text("balance", "100 tokens left");
    let read = |stream: &str, size: usize| {
        page.evaluate(&format!(
            "(async () => {{
                const {{ eventData }} = await import('/gateway.js');
                const bytes = new TextEncoder().encode({});
                const body = new ReadableStream({{
                    start(controller) {{
                        for (let at = 0; at < bytes.length; at += {size}) controller.enqueue(bytes.slice(at, at + {size}));
                        controller.close();
                    }}
                }});
                const all = [];
                for await (const data of eventData(body)) all.push(data);
                return all;
            }})()",
            json!(stream)
        ))
    };

    let text = "\u{feff}: hello\n\ndata: ä🌍\n\nevent: x\ndata:two\ndata: lines\nid: 1\n\ndata\n\n\n\ndata:  [DONE]\n\ndata: not whole\n";
    for end in ["\n", "\r\n", "\r"] {
        let stream = text.replace('\n', end);
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(
                read(&stream, size),
                json!(["ä🌍", "two\nlines", " [DONE]"]),
                "{end:?} {size}"
            );
        }
    }
}
