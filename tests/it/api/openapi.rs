//! The OpenAPI document is whole, and true: every answer of a running gateway is as the document says.

use crate::harness::http::{Request, Response};
use crate::harness::issuer::Issuer;
use crate::harness::{Client, Gateway, Provider, Script, Setup, eventually, mint, resullm, sample};
use crate::sign_in::{self, flow, signing_in_to};
use resullm::api;
use resullm::local::route;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The document of a gateway, and what was compared with it.
struct Document {
    value: Value,
    /// Statuses that were seen of each operation.
    seen: BTreeMap<String, BTreeSet<u16>>,
}

impl Document {
    fn of(client: &Client) -> Document {
        Document {
            value: client.get("/openapi.json").json(),
            seen: BTreeMap::new(),
        }
    }

    /// Each operation with its path and method.
    fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let paths = self.value["paths"].as_object().unwrap().iter();
        let methods = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        });
        methods
            .filter(|(_, method, _)| *method != "parameters")
            .collect()
    }

    fn operation(&self, id: &str) -> (&str, &str, &Value) {
        let mut all = self.operations().into_iter();
        all.find(|(_, _, operation)| operation["operationId"] == id)
            .unwrap_or_else(|| panic!("no operation {id}"))
    }

    /// What a reference within the document refers to.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                let found = self.value.pointer(pointer);
                found.unwrap_or_else(|| panic!("{reference} is nowhere"))
            }
            None => value,
        }
    }

    /// Faults of a value by a schema of the document.
    fn faults(&self, schema: &Value, value: &Value) -> Option<String> {
        let mut whole = schema.clone();
        whole["components"] = self.value["components"].clone();
        let mut compiler = boon::Compiler::new();
        compiler.set_default_draft(boon::Draft::V2020_12);
        compiler.enable_format_assertions();
        let place = "http://gateway.example/schema.json";
        compiler.add_resource(place, whole).unwrap();
        let mut schemas = boon::Schemas::new();
        let schema = compiler.compile(place, &mut schemas);
        let schema = schema.unwrap_or_else(|error| panic!("{error:#}"));
        let checked = schemas.validate(value, schema);
        checked.err().map(|error| format!("{error:#}"))
    }

    /// Compares an answer with the operation's description of its status.
    #[track_caller]
    fn compare(&mut self, id: &str, answer: &Response) {
        let what = format!("{id} {}: {}", answer.status, answer.text());
        let (_, _, operation) = self.operation(id);
        let described = &operation["responses"][answer.status.to_string()];
        assert!(described.is_object(), "undocumented: {what}");
        let described = self.resolve(described);
        for name in described["headers"].as_object().into_iter().flatten() {
            self.compare_header(name, answer, &what);
        }
        let content = described["content"].as_object();
        match content {
            None => assert!(answer.body.is_empty(), "{what}"),
            Some(content) => {
                let kind = answer.header("content-type").unwrap();
                let kind = kind.split(';').next().unwrap();
                let described = &content
                    .get(kind)
                    .unwrap_or_else(|| panic!("{kind}: {what}"));
                let schema = &described["schema"];
                let body = match kind {
                    "application/json" => answer.json(),
                    _ => json!(answer.text()),
                };
                if let Some(faults) = self.faults(schema, &body) {
                    panic!("{what}\n{faults}");
                }
            }
        }
        let seen = self.seen.entry(id.to_owned()).or_default();
        seen.insert(answer.status);
    }

    fn compare_header(&self, (name, header): (&String, &Value), answer: &Response, what: &str) {
        let Some(text) = answer.header(name) else {
            return;
        };
        let schema = &self.resolve(header)["schema"];
        let value = match schema["type"].as_str() {
            Some("integer") => json!(text.parse::<u64>().unwrap()),
            _ => json!(text),
        };
        assert_eq!(self.faults(schema, &value), None, "{name} of {what}");
    }
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Names of the path parameters that are declared.
fn declared<'a>(document: &'a Document, path: &str) -> BTreeSet<&'a str> {
    let parameters = document.value["paths"][path]["parameters"].as_array();
    let parameters = parameters.into_iter().flatten();
    let parameters = parameters.map(|one| document.resolve(one));
    let of_path = parameters.filter(|one| one["in"] == "path" && one["required"] == true);
    of_path.map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn openapi_document_is_whole() {
    let gateway = Gateway::start(Setup::new());
    let document = Document::of(&gateway.client());
    assert_eq!(document.value["openapi"], "3.1.0");
    assert_eq!(document.value["info"]["version"], env!("CARGO_PKG_VERSION"));

    let mut found = Vec::new();
    references(&document.value, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in found {
        document.resolve(&json!({"$ref": reference}));
    }
    let mut ids = BTreeSet::new();
    for (path, method, operation) in document.operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} twice");
        let braces = path.split('{').skip(1);
        let braces = braces.map(|rest| rest.split('}').next().unwrap());
        assert_eq!(declared(&document, path), braces.collect(), "{path}");
        for field in ["summary", "tags", "responses"] {
            assert!(!operation[field].is_null(), "{field} of {method} {path}");
        }
        for way in operation["security"].as_array().into_iter().flatten() {
            let scheme = way.as_object().unwrap().keys().next().unwrap();
            let schemes = &document.value["components"]["securitySchemes"];
            assert!(schemes[scheme].is_object(), "{scheme} of {id}");
        }
    }
    for (of_tenant, pattern, method) in route::all() {
        let root = if of_tenant { "/{tenant}" } else { "" };
        let path = format!("{root}{pattern}");
        let path = path.strip_suffix('/').filter(|path| !path.is_empty());
        let path = path.map_or(format!("{root}{pattern}"), str::to_owned);
        let described = &document.value["paths"][&path][method.to_lowercase()];
        assert!(described.is_object(), "{method} {path}");
    }
}

#[test]
fn openapi_document_promises_nothing_that_is_not_there() {
    let gateway = Gateway::start(Setup::new());

    let text = gateway.client().get("/openapi.json").text();

    let printed = resullm(&["openapi"], &[]);
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim_end(), text);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(
        !text.contains("\"component\""),
        "a mark of the builder's own"
    );
    let refused = &document["paths"]["/{tenant}/auth/anonymous"]["post"]["responses"]["403"];
    let why = refused["description"].as_str().unwrap();
    assert!(why.contains("cors.origins"), "{why}");
}

#[test]
fn every_field_of_the_document_is_described() {
    let gateway = Gateway::start(Setup::new());
    let document = Document::of(&gateway.client());
    // Their value says it all.
    let plain = |field: &Value| !field["const"].is_null() || !field["enum"].is_null();

    let schemas = document.value["components"]["schemas"].as_object().unwrap();

    let mut bare = Vec::new();
    for (name, schema) in schemas {
        if schema["description"].is_null() {
            bare.push(name.clone());
        }
        let fields = schema["properties"].as_object().into_iter().flatten();
        let undescribed = fields
            .filter(|(_, field)| document.resolve(field)["description"].is_null() && !plain(field));
        bare.extend(undescribed.map(|(field, _)| format!("{name}.{field}")));
    }
    bare.retain(|name| !name.starts_with("TenantConfig."));
    assert_eq!(bare, Vec::<String>::new());
}

/// The errors of provider routes stand in three places.
#[test]
fn error_codes_of_code_document_and_api_page_agree() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let listed: BTreeSet<(u16, String)> = api::CODES
        .iter()
        .map(|code| (code.status, code.code.to_owned()))
        .collect();

    let source = read("src/proxy/error.rs");
    let pairs = source.split(" => (").skip(1).filter_map(|rest| {
        let (status, rest) = rest.split_once(", \"")?;
        Some((status.parse().ok()?, rest.split('"').next()?.to_owned()))
    });
    // They have no `code` on the wire.
    let unseen = ["invalid_tenant", "internal_error", "client_gone"];
    let mut thrown: BTreeSet<(u16, String)> = pairs
        .filter(|(_, code)| !unseen.contains(&code.as_str()))
        .collect();
    thrown.insert((429, "provider_rate_limited".to_owned()));

    let page = read("docs/api.md");
    let mut told = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let status = cells.next().and_then(|status| status.parse::<u16>().ok());
        let codes = cells.next().unwrap_or_default().split(", ");
        let codes = codes.filter_map(|code| code.strip_prefix('`')?.strip_suffix('`'));
        told.extend(
            status
                .into_iter()
                .flat_map(|status| codes.clone().map(move |code| (status, code.to_owned()))),
        );
    }
    assert!(listed.len() > 25, "{}", listed.len());
    assert_eq!(thrown, listed, "src/proxy/error.rs and api::CODES");
    assert_eq!(told, listed, "docs/api.md and api::CODES");
}

/// A gateway whose tenants are `abc`, with a provider and a limited group, and `spare`.
fn start(provider: &Provider, issuer: &Issuer) -> Gateway {
    let config = signing_in_to(sample(provider), issuer)
        .set(
            "auth.stripe",
            json!({"kind": "demo", "top_ups": {"small": {"price": "price_small_500", "tokens": 5}}}),
        )
        .set("user_groups.members.stripe_price", json!("price_members_999_month"))
        .set("cors.origins", json!(["https://app.example"]));
    let bare = json!({"user_groups": {"members": {"tokens": 1}}});
    let stripe = json!({"api_key": "sk_test_1", "webhook_secrets": ["whsec_1"]});
    let sells = json!({"auth": {"stripe": stripe}});
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let setup = sign_in::setup(issuer)
        .tenant("abc", config)
        .tenant("sells", sells)
        .tenant("spare", bare);
    // Sign-in with Apple needs https.
    let setup = setup.env("RESULLM__SERVER__PUBLIC_URL", "https://gateway.example");
    Gateway::start(setup.yaml(&format!("secrets: {{ key: \"{key}\" }}")))
}

/// Asks one operation after the other, and compares each answer with the document.
struct Asking<'a> {
    document: Document,
    client: Client,
    admin: &'a str,
}

impl Asking<'_> {
    /// Asks an operation at this path.
    fn request(&self, id: &str, path: &str) -> Request<'static> {
        let (template, method, _) = self.document.operation(id);
        let plain = path.split('?').next().unwrap();
        let fits = template.split('/').count() == plain.split('/').count();
        assert!(fits, "{path} is not {template}");
        self.client.request(&method.to_uppercase(), path)
    }

    /// Sends the request and expects this status.
    #[track_caller]
    fn send(&mut self, id: &str, request: Request<'static>, status: u16) -> Response {
        let answer = request.send();
        assert_eq!(answer.status, status, "{id}: {}", answer.text());
        self.document.compare(id, &answer);
        answer
    }

    /// Asks as the operator.
    #[track_caller]
    fn ask(&mut self, id: &str, path: &str, body: Value, status: u16) -> Response {
        let request = self.request(id, path).bearer(self.admin);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        self.send(id, request, status)
    }
}

/// The type reads the whole answer, and writes it as it came.
#[track_caller]
fn is_of<T: DeserializeOwned + Serialize>(answer: &Response) {
    let read: T = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), answer.text());
}

fn ask_service(asking: &mut Asking<'_>) {
    for (id, path) in [
        ("root", "/"),
        ("healthz", "/healthz"),
        ("readyz", "/readyz"),
    ] {
        let answer = asking.ask(id, path, Value::Null, 200);
        asking.ask(&format!("{id}Head"), path, Value::Null, 200);
        match id {
            "root" => is_of::<api::Root>(&answer),
            "healthz" => is_of::<api::Alive>(&answer),
            _ => is_of::<api::Ready>(&answer),
        }
    }
    asking.ask("openapi", "/openapi.json", Value::Null, 200);
    asking.ask("openapiHead", "/openapi.json", Value::Null, 200);
    asking.ask("docs", "/docs", Value::Null, 200);
    asking.ask("docsHead", "/docs", Value::Null, 200);
    is_of::<api::Root>(&asking.ask("tenant", "/abc", Value::Null, 200));
    asking.ask("tenantHead", "/abc", Value::Null, 200);
    is_of::<api::Error>(&asking.ask("tenant", "/nobody", Value::Null, 400));
    asking.ask("tenantHead", "/nobody", Value::Null, 400);
}

fn ask_auth(asking: &mut Asking<'_>) -> String {
    let path = "/abc/auth/anonymous";
    let minted = asking.ask("signInAnonymously", path, Value::Null, 200);
    is_of::<api::NewKey>(&minted);
    let request = asking.request("signInAnonymously", path);
    let request = request.header("origin", "https://evil.example");
    is_of::<api::Error>(&asking.send("signInAnonymously", request, 403));
    let none = asking.ask(
        "signInAnonymously",
        "/spare/auth/anonymous",
        Value::Null,
        403,
    );
    is_of::<api::Error>(&none);

    let key = minted.json()["apiKey"].as_str().unwrap().to_owned();
    let me = asking.request("me", "/abc/auth/me").bearer(&key);
    is_of::<api::Me>(&asking.send("me", me, 200));
    let nobody = asking.request("me", "/abc/auth/me");
    is_of::<api::Error>(&asking.send("me", nobody, 401));
    key
}

fn ask_sign_in(asking: &mut Asking<'_>, issuer: &Issuer) {
    for (kind, path) in [
        ("Google", "google"),
        ("Apple", "apple"),
        ("Oidc", "oidc/own"),
    ] {
        let id = format!("signInWith{kind}");
        for (tenant, token, status) in [
            ("abc", issuer.token("somebody"), 200),
            ("abc", "a.b.c".to_owned(), 401),
            ("spare", "a.b.c".to_owned(), 404),
        ] {
            let request = asking.request(&id, &format!("/{tenant}/auth/{path}"));
            let answer = asking.send(&id, request.json(&json!({"idToken": token})), status);
            match status {
                200 => is_of::<api::SignedIn>(&answer),
                _ => is_of::<api::Error>(&answer),
            }
        }
        for way in ["end", "post"] {
            ask_code_flow(asking, issuer, (kind, path), way);
        }
    }
}

/// A sign-in in the browser that comes back as a link (`end`) or as a form (`post`).
fn ask_code_flow(asking: &mut Asking<'_>, issuer: &Issuer, (kind, path): (&str, &str), way: &str) {
    let id = format!("startSignInWith{kind}");
    let path = format!("/abc/auth/{path}");
    let request = asking.request(&id, &format!("{path}/start"));
    asking.send(&id, request, 400);
    let request = asking.request(&id, &format!("{path}/start?{}", flow::start_query(&[])));
    let begun = flow::Begun::of(&asking.send(&id, request, 302), issuer);
    let page = begun.at_issuer(issuer);
    let fields = match page.header("location") {
        Some(location) => flow::split(location).1.to_owned(),
        None => page.text(),
    };
    let id = format!("{way}SignInWith{kind}");
    let request = match way {
        "end" => asking.request(&id, &format!("{path}/callback?{fields}")),
        _ => asking
            .request(&id, &format!("{path}/callback"))
            .body(fields),
    };
    let ended = asking.send(&id, request.header("cookie", &begun.cookie), 303);
    let body = json!({"code": flow::app_code(&ended), "codeVerifier": flow::VERIFIER});
    let request = asking.request("redeemCode", "/abc/auth/token").json(&body);
    is_of::<api::SignedIn>(&asking.send("redeemCode", request, 200));
    let request = asking.request("redeemCode", "/abc/auth/token").json(&body);
    asking.send("redeemCode", request, 401);
}

fn ask_people(asking: &mut Asking<'_>, issuer: &Issuer) {
    let path = "/abc/auth/sessions";
    let opened = asking.ask(
        "openSession",
        path,
        json!({"userId": "u/1", "group": "members"}),
        200,
    );
    is_of::<api::SessionKey>(&opened);
    asking.ask("openSession", path, json!({}), 400);
    asking.ask(
        "openSession",
        path,
        json!({"userId": "u", "group": "none"}),
        403,
    );
    let session = opened.json()["apiKey"].as_str().unwrap().to_owned();
    let token = json!({"idToken": issuer.token("leaver")});
    let signed_in = asking.request("signInWithGoogle", "/abc/auth/google");
    let signed_in = asking.send("signInWithGoogle", signed_in.json(&token), 200);
    let key = signed_in.json()["apiKey"].as_str().unwrap().to_owned();
    let with = |asking: &mut Asking<'_>, id: &str, path: &str, key: &str, status: u16| {
        let request = asking.request(id, path).bearer(key);
        asking.send(id, request, status)
    };

    let usage = with(asking, "ownUsage", "/abc/auth/usage?days=7", &session, 200);
    is_of::<api::OwnUsage>(&usage);
    with(asking, "ownUsage", "/abc/auth/usage?days=x", &session, 400);
    with(asking, "listOwnKeys", "/abc/auth/keys", &session, 403);
    let request = asking.request("makeOwnKey", "/abc/auth/keys").bearer(&key);
    let bounds = json!({"name": "n", "ttl": "1d", "models": ["gpt-4o"], "allowedAddresses": ["::1"], "tokensMax": 5});
    let made = asking.send("makeOwnKey", request.json(&bounds), 201);
    is_of::<api::OwnKey>(&made);
    is_of::<api::OwnKeys>(&with(asking, "listOwnKeys", "/abc/auth/keys", &key, 200));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let rolled = with(
        asking,
        "rollOwnKey",
        &format!("/abc/auth/keys/{id}/roll"),
        &key,
        201,
    );
    is_of::<api::OwnKey>(&rolled);
    with(
        asking,
        "revokeOwnKey",
        &format!("/abc/auth/keys/{id}"),
        &key,
        404,
    );
    let id = rolled.json()["id"].as_str().unwrap().to_owned();
    with(
        asking,
        "revokeOwnKey",
        &format!("/abc/auth/keys/{id}"),
        &key,
        200,
    );

    ask_billing(asking, &session, &key);
    is_of::<api::Export>(&with(
        asking,
        "exportAccount",
        "/abc/auth/export",
        &key,
        200,
    ));
    with(asking, "deleteAccount", "/abc/auth/me", &session, 403);
    with(asking, "deleteAccount", "/abc/auth/me", &key, 200);
    with(asking, "deleteAccount", "/abc/auth/me", &key, 401);
    let account = opened.json()["account"].as_str().unwrap().to_owned();
    let path = format!("/abc/admin/users/{account}");
    let users = "/abc/admin/users";
    is_of::<api::AdminUsers>(&asking.ask("listUsers", users, Value::Null, 200));
    is_of::<api::Error>(&asking.ask("listUsers", &format!("{users}?x=1"), Value::Null, 400));
    is_of::<api::UserDetails<Value>>(&asking.ask("showUser", &path, Value::Null, 200));
    for (id, below) in [("creditUser", "credit"), ("debitUser", "debit")] {
        let body = json!({"tokens": 1, "id": below});
        is_of::<api::Credited>(&asking.ask(id, &format!("{path}/{below}"), body, 200));
    }
    let too_much = json!({"tokens": 9_000_000_000_000_000u64});
    is_of::<api::Error>(&asking.ask("debitUser", &format!("{path}/debit"), too_much, 409));
    for suspended in [true, false] {
        let body = json!({"suspended": suspended});
        let path = format!("{path}/suspend");
        is_of::<api::Suspended>(&asking.ask("suspendUser", &path, body, 200));
    }
    is_of::<api::Export>(&asking.ask("exportUser", &format!("{path}/export"), Value::Null, 200));
    asking.ask("deleteUser", &path, Value::Null, 200);
    asking.ask("deleteUser", &path, Value::Null, 404);
}

/// Buys a top-up from the stand-in of kind `demo`.
fn ask_billing(asking: &mut Asking<'_>, session: &str, key: &str) {
    let plans = asking.request("listPlans", "/abc/billing/plans");
    is_of::<api::Plans>(&asking.send("listPlans", plans, 200));
    let item = json!({"topUp": "small", "successUrl": "https://app.example/thanks"});
    let check_out = |asking: &mut Asking<'_>, key: &str, item: &Value, status: u16| {
        let request = asking
            .request("checkOut", "/abc/billing/checkout")
            .bearer(key);
        asking.send("checkOut", request.json(item), status)
    };
    check_out(asking, session, &item, 403);
    check_out(asking, "user_nobody", &item, 401);
    check_out(
        asking,
        key,
        &json!({"successUrl": "https://app.example/"}),
        400,
    );
    let portal = |asking: &mut Asking<'_>, status: u16| {
        let request = asking
            .request("openPortal", "/abc/billing/portal")
            .bearer(key);
        asking.send("openPortal", request, status)
    };
    portal(asking, 409);
    let page = check_out(asking, key, &item, 200);
    is_of::<api::CheckoutPage>(&page);
    pay(page.json()["url"].as_str().unwrap());
    let me = asking
        .client
        .request("GET", "/abc/auth/me")
        .bearer(key)
        .send()
        .json();
    let user = format!(
        "/abc/admin/users/{}/payments",
        me["userId"].as_str().unwrap()
    );
    eventually(Duration::from_secs(10), "the payment is granted", || {
        let ledger = user.replace("/payments", "/ledger");
        let ledger = asking.ask("readUserLedger", &ledger, Value::Null, 200);
        is_of::<api::AccountLedger>(&ledger);
        let paid = asking.ask("listUserPayments", &user, Value::Null, 200);
        is_of::<api::AccountPayments>(&paid);
        (paid.json()["payments"][0]["tokens"] == 5).then_some(())
    });
    is_of::<api::CheckoutPage>(&portal(asking, 200));
    asking.ask(
        "listUserPayments",
        "/abc/admin/users/nobody/payments",
        Value::Null,
        404,
    );
    let told = asking.ask("listPaymentEvents", "/abc/admin/payments", Value::Null, 200);
    is_of::<api::PaymentEvents>(&told);
    let forged = json!({"id": "evt_1", "object": "event", "type": "invoice.paid"});
    let request = asking
        .request("stripeWebhook", "/abc/billing/stripe")
        .json(&forged);
    asking.send("stripeWebhook", request, 400);
    let body = json!({"id": "evt_1", "object": "event", "type": "a.b", "data": {"object": {}}});
    let (body, time) = (body.to_string(), crate::harness::issuer::now());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"whsec_1");
    let signature = ring::hmac::sign(&key, format!("{time}.{body}").as_bytes());
    let signature = format!("t={time},v1={}", hex::encode(signature));
    let request = asking.request("stripeWebhook", "/sells/billing/stripe");
    let request = request.header("stripe-signature", &signature).body(body);
    is_of::<api::WebhookTaken>(&asking.send("stripeWebhook", request, 200));
}

/// Presses the button of a page of the stand-in's.
fn pay(page: &str) {
    let (address, path) = page
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let client = Client::new(address.parse().unwrap());
    let paid = client.request("POST", &format!("/{path}")).send();
    assert_eq!(paid.status, 303, "{}", paid.text());
}

fn ask_keys(asking: &mut Asking<'_>) {
    let keys = "/abc/admin/keys";
    is_of::<api::MintedKey>(&asking.ask("mintKey", keys, Value::Null, 201));
    let mint = json!({"group": "members", "tokens": 7, "expiresInSeconds": 60, "userId": "u"});
    let minted = asking.ask("mintKey", keys, mint, 201);
    is_of::<api::MintedKey>(&minted);
    asking.ask("mintKey", keys, json!({"group": "nobody"}), 400);
    asking.ask("mintKey", keys, json!({"colour": "x".repeat(2 << 20)}), 413);

    let key = format!("{keys}/{}", minted.json()["apiKey"].as_str().unwrap());
    is_of::<api::Account>(&asking.ask("showKey", &key, Value::Null, 200));
    let credit = json!({"tokens": 5, "id": "once"});
    for _ in 0..2 {
        let path = format!("{key}/credit");
        is_of::<api::Credited>(&asking.ask("creditKey", &path, credit.clone(), 200));
    }
    asking.ask("creditKey", &format!("{key}/credit"), json!({}), 400);
    let debit = json!({"tokens": 3, "comment": "by mistake"});
    is_of::<api::Credited>(&asking.ask("debitKey", &format!("{key}/debit"), debit.clone(), 200));
    let too_much = json!({"tokens": 1_000_000});
    is_of::<api::Error>(&asking.ask("debitKey", &format!("{key}/debit"), too_much, 409));
    let ledger = format!("{key}/ledger");
    is_of::<api::AccountLedger>(&asking.ask("readKeyLedger", &ledger, Value::Null, 200));
    let wrong = format!("{ledger}?limit=0");
    is_of::<api::Error>(&asking.ask("readKeyLedger", &wrong, Value::Null, 400));
    let group = json!({"group": "anonymous"});
    is_of::<api::Moved>(&asking.ask("moveKey", &key, group.clone(), 200));
    is_of::<api::AdminKeys>(&asking.ask("listKeys", &format!("{keys}?limit=1"), Value::Null, 200));
    let wrong = format!("{keys}?limit=0");
    is_of::<api::Error>(&asking.ask("listKeys", &wrong, Value::Null, 400));
    let suspend = format!("{key}/suspend");
    for suspended in [true, false] {
        let body = json!({"suspended": suspended});
        is_of::<api::Suspended>(&asking.ask("suspendKey", &suspend, body, 200));
    }
    let rolled = asking.ask("rollKey", &format!("{key}/roll"), Value::Null, 201);
    is_of::<api::RolledKey>(&rolled);
    let key = format!("{keys}/{}", rolled.json()["id"].as_str().unwrap());
    let ledger = format!("{key}/ledger");
    asking.ask("moveKey", &key, json!({"group": "nobody"}), 400);
    is_of::<api::Success>(&asking.ask("revokeKey", &key, Value::Null, 200));
    for (id, path, body) in [
        ("showKey", &key, Value::Null),
        ("moveKey", &key, group),
        ("creditKey", &format!("{key}/credit"), credit),
        ("debitKey", &format!("{key}/debit"), debit),
        ("readKeyLedger", &ledger, Value::Null),
        ("revokeKey", &key, Value::Null),
        ("rollKey", &format!("{key}/roll"), Value::Null),
        (
            "suspendKey",
            &format!("{key}/suspend"),
            json!({"suspended": true}),
        ),
    ] {
        is_of::<api::Error>(&asking.ask(id, path, body, 404));
    }
}

fn ask_tokens(asking: &mut Asking<'_>) {
    let path = "/abc/admin/tokens";
    let new = json!({"name": "console", "scope": "read"});
    let made = asking.ask("makeToken", path, new.clone(), 201);
    is_of::<api::MadeToken>(&made);
    is_of::<api::Error>(&asking.ask("makeToken", path, new, 409));
    is_of::<api::Error>(&asking.ask(
        "makeToken",
        path,
        json!({"name": "a b", "scope": "read"}),
        400,
    ));
    is_of::<api::TokenList>(&asking.ask("listTokens", path, Value::Null, 200));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let request = asking.request("listTokens", path).bearer(&token);
    is_of::<api::Error>(&asking.send("listTokens", request, 403));
    let one = format!("{path}/console");
    is_of::<api::Success>(&asking.ask("deleteToken", &one, Value::Null, 200));
    is_of::<api::Error>(&asking.ask("deleteToken", &one, Value::Null, 404));
}

fn ask_config(asking: &mut Asking<'_>) {
    let path = "/abc/admin/config";
    let read = asking.ask("readConfig", path, Value::Null, 200);
    is_of::<api::Config<Value>>(&read);
    let config = read.json();
    is_of::<api::ConfigStored>(&asking.ask("replaceConfig", path, config.clone(), 200));
    let masked = format!("{path}?redact=true");
    is_of::<api::Config<Value>>(&asking.ask("readConfig", &masked, Value::Null, 200));
    let wrong = format!("{path}?redact=perhaps");
    is_of::<api::Error>(&asking.ask("readConfig", &wrong, Value::Null, 400));
    let bad = json!({"config": {"user_groups": {"anonymous": {"tokens": -5}}}});
    is_of::<api::InvalidConfig>(&asking.ask("replaceConfig", path, bad, 400));
    is_of::<api::Error>(&asking.ask("replaceConfig", path, json!([]), 400));
    let request = asking.request("replaceConfig", path).bearer(asking.admin);
    let request = request.header("if-match", "\"other\"").json(&config);
    is_of::<api::Error>(&asking.send("replaceConfig", request, 412));
    ask_history(asking);
}

fn ask_history(asking: &mut Asking<'_>) {
    let path = "/abc/admin/config/history";
    let listed = asking.ask("listConfigs", path, Value::Null, 200);
    is_of::<api::ConfigHistory>(&listed);
    let version = listed.json()["configs"][0]["version"].clone();
    let one = format!("{path}/{version}");
    let shown = asking.ask("showConfig", &one, Value::Null, 200);
    is_of::<api::ConfigVersion<Value>>(&shown);
    asking.ask("showConfig", &format!("{path}/9999"), Value::Null, 404);
    let restore = format!("{one}/restore");
    let restored = asking.ask("restoreConfig", &restore, Value::Null, 200);
    is_of::<api::ConfigStored>(&restored);
    let unknown = format!("{path}/x/restore");
    asking.ask("restoreConfig", &unknown, Value::Null, 404);
    let request = asking
        .request("restoreConfig", &restore)
        .bearer(asking.admin);
    let request = request.header("if-match", "\"other\"");
    is_of::<api::Error>(&asking.send("restoreConfig", request, 412));
    let changes = asking.ask("listChanges", "/abc/admin/audit?limit=2", Value::Null, 200);
    is_of::<api::AuditRecords>(&changes);
    assert!(changes.json()["cursor"].is_string(), "{}", changes.text());
    asking.ask("listChanges", "/abc/admin/audit?limit=x", Value::Null, 400);
    let changes = asking.ask("listOperatorChanges", "/admin/audit", Value::Null, 200);
    is_of::<api::AuditRecords>(&changes);
    asking.ask("listOperatorChanges", "/admin/audit?x", Value::Null, 400);
}

fn ask_tenants(asking: &mut Asking<'_>) {
    let all = "/admin/tenants";
    is_of::<api::Tenants>(&asking.ask("listTenants", all, Value::Null, 200));
    let totals = format!("{all}?totals=true");
    is_of::<api::Tenants>(&asking.ask("listTenants", &totals, Value::Null, 200));
    asking.ask("listTenants", &format!("{all}?totals=1"), Value::Null, 400);
    let new = json!({"id": "new", "config": {}});
    is_of::<api::TenantCreated>(&asking.ask("createTenant", all, new.clone(), 201));
    is_of::<api::Error>(&asking.ask("createTenant", all, new, 409));
    asking.ask(
        "createTenant",
        all,
        json!({"id": "admin", "config": {}}),
        400,
    );

    let one = "/admin/tenants/new";
    is_of::<api::Config<Value>>(&asking.ask("readTenant", one, Value::Null, 200));
    asking.ask("readTenant", "/admin/tenants/v1", Value::Null, 400);
    let config = json!({"config": {"auth": {"stripe": {"api_key": "sk-secret"}}}});
    is_of::<api::ConfigStored>(&asking.ask("putTenant", one, config.clone(), 200));
    is_of::<api::ConfigStored>(&asking.ask("putTenant", "/admin/tenants/other", config, 201));
    let sealed = asking.ask("sealTenant", &format!("{one}/seal"), Value::Null, 200);
    is_of::<api::TenantSealed>(&sealed);
    let tokens = json!({"tokens": ["a-token-of-16-signs"]});
    let path = format!("{one}/tokens");
    is_of::<api::TokensSet>(&asking.ask("setAdminTokens", &path, tokens.clone(), 200));
    let twice = ["0123456789abcdef", "fedcba9876543210"];
    let twice = twice.map(|token| json!({"token": token, "scope": "read", "name": "one"}));
    let twice = json!({"tokens": twice});
    is_of::<api::Error>(&asking.ask("setAdminTokens", &path, twice, 409));
    let blank = json!({"tokens": [" ".repeat(16)]});
    is_of::<api::Error>(&asking.ask("setAdminTokens", &path, blank, 400));
    is_of::<api::Success>(&asking.ask("deleteTenant", one, Value::Null, 200));
    for (id, path, body) in [
        ("readTenant", one, Value::Null),
        ("deleteTenant", one, Value::Null),
        ("sealTenant", "/admin/tenants/new/seal", Value::Null),
        ("setAdminTokens", "/admin/tenants/new/tokens", tokens),
    ] {
        is_of::<api::Error>(&asking.ask(id, path, body, 404));
    }
}

/// Every route that asks for a credential, without one.
fn ask_without_credential(asking: &mut Asking<'_>) {
    let operations = asking.document.operations().into_iter();
    let guarded = operations.filter(|(_, _, operation)| !operation["security"].is_null());
    let guarded: Vec<(String, String)> = guarded
        .map(|(path, _, operation)| {
            let path = path.replace("{tenant}", "abc").replace("{key}", "temp_x");
            let path = path.replace("{model}", "gpt-4o");
            (operation["operationId"].as_str().unwrap().to_owned(), path)
        })
        .collect();
    assert!(guarded.len() > 25, "{}", guarded.len());
    for (id, path) in guarded {
        let request = asking.request(&id, &path);
        asking.send(&id, request, 401);
    }
}

fn ask_provider(asking: &mut Asking<'_>, key: &str) {
    for version in [None, Some("2023-06-01")] {
        for (id, path, status) in [
            ("listModels", "/abc/v1/models", 200),
            ("showModel", "/abc/v1/models/gpt-4o", 200),
            ("showModel", "/abc/v1/models/nothing", 404),
        ] {
            let mut request = asking.request(id, path).bearer(key);
            if let Some(version) = version {
                request = request.header("anthropic-version", version);
            }
            asking.send(id, request, status);
        }
    }
    let poor = asking.ask("mintKey", "/abc/admin/keys", json!({"tokens": 1}), 201);
    let poor = poor.json()["apiKey"].as_str().unwrap().to_owned();
    let (id, path) = ("createChatCompletion", "/abc/v1/chat/completions");
    let hi = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
    for (key, body, status) in [
        (key, hi.clone(), 200),
        (&poor, hi.clone(), 402),
        (key, json!({"messages": [], "colour": 1}), 400),
    ] {
        let request = asking.request(id, path).bearer(key);
        asking.send(id, request.json(&body), status);
    }
    let (id, path) = ("createMessage", "/abc/v1/messages");
    let request = asking.request(id, path).bearer(key).json(&hi);
    asking.send(id, request, 200);
    let odd = json!({"messages": [], "max_tokens": 20, "colour": 1});
    let request = asking.request(id, path).bearer(key).json(&odd);
    is_of::<api::AnthropicError>(&asking.send(id, request, 400));
}

fn ask_usage(asking: &mut Asking<'_>) {
    let path = "/abc/admin/usage";
    let usage = eventually(Duration::from_secs(5), "a record", || {
        let usage = asking.ask("showUsage", path, Value::Null, 200);
        (usage.json()["total"]["requests"] != 0).then_some(usage)
    });
    is_of::<api::UsageReport>(&usage);
    asking.ask(
        "showUsage",
        &format!("{path}?days=1&limit=0&account=x"),
        Value::Null,
        200,
    );
    let query = "since=2026-01-01&by=day,model,key&limit=1";
    is_of::<api::UsageReport>(&asking.ask(
        "showUsage",
        &format!("{path}?{query}"),
        Value::Null,
        200,
    ));
    let table = asking.ask("showUsage", &format!("{path}?format=csv"), Value::Null, 200);
    assert!(
        table
            .header("content-type")
            .unwrap()
            .starts_with("text/csv")
    );
    is_of::<api::Error>(&asking.ask("showUsage", &format!("{path}?days=0"), Value::Null, 400));
}

#[test]
fn answers_of_a_running_gateway_are_as_documented() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let issuer = Issuer::start();
    let gateway = start(&provider, &issuer);
    let client = gateway.client();
    let mut asking = Asking {
        document: Document::of(&client),
        client,
        admin: gateway.admin_token(),
    };

    ask_service(&mut asking);
    let key = ask_auth(&mut asking);
    ask_sign_in(&mut asking, &issuer);
    ask_people(&mut asking, &issuer);
    ask_keys(&mut asking);
    ask_config(&mut asking);
    ask_tokens(&mut asking);
    ask_tenants(&mut asking);
    ask_without_credential(&mut asking);
    ask_provider(&mut asking, &key);
    ask_usage(&mut asking);

    // A new route needs a case above.
    for (_, _, operation) in asking.document.operations() {
        let id = operation["operationId"].as_str().unwrap();
        let is_provider = operation["tags"] == json!(["provider"]);
        let seen = asking.document.seen.get(id);
        let succeeded = seen.is_some_and(|seen| seen.iter().any(|status| *status < 400));
        assert!(succeeded || is_provider, "{id} was never answered");
    }
}

#[test]
fn sealing_without_a_key_is_refused_as_documented() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    let client = gateway.client();
    let mut document = Document::of(&client);
    let request = client.request("POST", "/admin/tenants/abc/seal");

    let refused = request.bearer(gateway.admin_token()).send();

    assert_eq!(refused.status, 409);
    document.compare("sealTenant", &refused);
}

/// A schema that fits everything would make the comparison worthless.
#[test]
fn document_rejects_an_answer_of_another_shape() {
    let gateway = Gateway::start(Setup::new().tenant("abc", sample_config()));
    let document = Document::of(&gateway.client());
    let key = mint(&gateway, "abc");
    let me = crate::harness::me(&gateway, &key);
    let schema = json!({"$ref": "#/components/schemas/Me"});
    assert_eq!(document.faults(&schema, &me), None);

    for (field, value) in [
        ("tokensLeft", json!(-1)),
        ("tokensLeft", json!("5")),
        ("tokensFree", Value::Null),
        ("expiresAt", json!("tomorrow")),
    ] {
        let mut wrong = me.clone();
        wrong[field] = value;
        assert!(document.faults(&schema, &wrong).is_some(), "{wrong}");
    }
}

fn sample_config() -> Value {
    json!({"user_groups": {"anonymous": {"tokens": 5}}})
}
