//! `server.admin_listen`: routes of admins answer there alone, clients on `server.listen` alone, also after a hand-over.

use super::stop::{KillOnDrop, successor};
use crate::harness::doors::LOOPBACK;
use crate::harness::{
    Authority, Client, Gateway, Http2, Provider, Response, Script, Setup, chat, eventually,
    free_port, mint, sample,
};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Methods that a hidden route may have or lack.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Pages and documents of the gateway that both listeners have.
const ON_BOTH: [&str; 4] = ["/", "/healthz", "/readyz", "/openapi.json"];

fn listening(setup: Setup) -> (Gateway, Client) {
    let port = free_port();
    let server = format!("server: {{ admin_listen: \"127.0.0.1:{port}\" }}");
    (Gateway::start(setup.yaml(&server)), client_of(port))
}

fn client_of(port: u16) -> Client {
    Client::new(format!("127.0.0.1:{port}").parse().unwrap())
}

fn call() -> Value {
    json!({"messages": [{"role": "user", "content": "Hi"}]})
}

fn ask(client: &Client, method: &str, path: &str, token: &str) -> Response {
    client.request(method, path).bearer(token).send()
}

/// Status, body and headers of an answer, without those that differ from one to the next.
fn seen(answer: &Response) -> (u16, String, Vec<(String, String)>) {
    let changing = ["x-request-id", "date"];
    let headers = answer.headers.iter();
    let headers = headers.filter(|(name, _)| !changing.contains(&name.as_str()));
    (answer.status, answer.text(), headers.cloned().collect())
}

/// Paths of the OpenAPI document with their methods, for tenant `abc`.
fn operations(client: &Client) -> Vec<(String, String)> {
    let document = client.get("/openapi.json").json();
    let mut all = Vec::new();
    for (pattern, methods) in document["paths"].as_object().unwrap() {
        let path = pattern.replace("{tenant}", "abc");
        let words = path.split('/').map(|word| match word.starts_with('{') {
            true => "x",
            false => word,
        });
        let path = words.collect::<Vec<_>>().join("/");
        let methods = methods.as_object().unwrap().keys();
        let methods = methods.filter(|method| *method != "parameters");
        all.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    all
}

fn is_for_admins(path: &str) -> bool {
    ["/admin", "/abc/admin", "/docs"]
        .iter()
        .any(|head| path.starts_with(head))
}

#[test]
fn the_public_sees_no_route_of_admins() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (gateway, _) = listening(Setup::new().tenant("abc", sample(&provider)));
    let (public, token) = (gateway.client(), gateway.admin_token());
    let mut paths: Vec<String> = operations(&public)
        .into_iter()
        .map(|(_, path)| path)
        .filter(|path| is_for_admins(path))
        .collect();
    paths.dedup();
    assert!(paths.len() > 20, "{paths:?}");
    let more = [
        "/admin",
        "/admin/",
        "/admin/keys",
        "/admin//tenants",
        "/admin/tenants?limit=1",
        "/docs/",
        "/console",
        "/console/",
        "/abc/admin",
        "/abc/admin/config/",
        "/abc//admin/config",
        "/abc/%61dmin/config",
    ];
    paths.extend(more.map(str::to_owned));

    for method in METHODS {
        let unknown = seen(&public.request(method, "/abc/nothing").send());
        assert_eq!(unknown.0, 404, "{method}");
        for path in &paths {
            let with_token = ask(&public, method, path, token);
            assert_eq!(seen(&with_token), unknown, "{method} {path} with a token");
            let without = public.request(method, path).send();
            assert_eq!(seen(&without), unknown, "{method} {path}");
        }
    }
}

#[test]
fn no_spelling_of_a_path_reaches_a_route_of_admins() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (gateway, _) = listening(Setup::new().tenant("abc", sample(&provider)));
    let (public, token) = (gateway.client(), gateway.admin_token());
    for (path, like) in [
        ("/%61dmin/tenants", "/n%6fthing"),
        ("//admin/tenants", "//nothing"),
        ("/./admin/tenants", "/./nothing"),
        ("/abc/../admin/tenants", "/abc/../nothing"),
        ("/abc/x/../admin/config", "/abc/x/../nothing"),
        ("/abc/admin%2fconfig", "/abc/nothing%2fat"),
        ("/abc/admin\\config", "/abc/nothing\\at"),
        ("/Admin/tenants", "/Nothing/at"),
        ("/nobody/admin/config", "/nobody/nothing"),
        ("/DOCS", "/NOTHING"),
    ] {
        for method in ["GET", "PUT", "OPTIONS"] {
            let hidden = ask(&public, method, path, token);
            let unknown = ask(&public, method, like, token);
            assert_eq!(seen(&hidden), seen(&unknown), "{method} {path}");
            assert!([400, 404].contains(&hidden.status), "{method} {path}");
        }
    }
    let absolute = format!("http://{}/admin/tenants", public.addr());
    assert_eq!(ask(&public, "GET", &absolute, token).status, 404);

    let http2 = Http2::plain(gateway.addr());
    for path in ["/docs", "/admin/tenants", "/abc/admin/config"] {
        assert_eq!(http2.get(path).status, 404, "{path}");
    }
}

#[test]
fn clients_are_served_as_ever_on_the_public_listener() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (gateway, _) = listening(Setup::new().tenant("abc", sample(&provider)));

    let key = mint(&gateway, "abc");

    assert_eq!(chat(&gateway, "abc", &key, &call()).status, 200);
    for path in ON_BOTH.into_iter().chain(["/abc"]) {
        assert_eq!(gateway.client().get(path).status, 200, "{path}");
    }
    // The app's server has an admin token, and is a client all the same.
    let sessions = gateway.client().request("POST", "/abc/auth/sessions");
    assert_eq!(sessions.json(&json!({"userId": "u"})).send().status, 401);
}

#[test]
fn admins_are_served_on_their_listener() {
    let setup = Setup::new().yaml("log: { access: true }");
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (gateway, admin) = listening(setup.tenant("abc", sample(&provider)));
    let token = gateway.admin_token();
    gateway.wait_log(&format!("Admin routes on http://{}", admin.addr()));

    for path in ["/admin/tenants", "/admin/audit", "/abc/admin/config"] {
        assert_eq!(ask(&admin, "GET", path, token).status, 200, "{path}");
        assert_eq!(admin.get(path).status, 401, "{path}");
    }
    for path in ON_BOTH.into_iter().chain(["/docs"]) {
        assert_eq!(admin.get(path).status, 200, "{path}");
    }
    let minted = admin.request("POST", "/abc/admin/keys").bearer(token);
    let key = minted.json(&json!({"tokens": 1000})).send().json();
    let key = key["apiKey"].as_str().unwrap();
    assert_eq!(chat(&gateway, "abc", key, &call()).status, 200);
    for (method, path) in operations(&admin) {
        if is_for_admins(&path) {
            let answer = admin.request(&method, &path).send();
            assert_ne!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
    gateway.wait_log("GET /{tenant}/admin/config 200");
    // A path of the gateway's own that is no route is what it is without this setting.
    assert_eq!(ask(&admin, "GET", "/abc/admin/nothing", token).status, 404);
}

#[test]
fn clients_are_not_served_on_the_listener_of_admins() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (gateway, admin) = listening(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    let calls = [
        "/abc/v1/chat/completions",
        "/abc/chat/completions",
        "/abc/v1/messages",
        "/v1/chat/completions",
        "/abc/v1/v1/chat/completions",
        "/abc/v1/admin/chat/completions",
    ];
    for path in calls {
        let asked = admin.request("POST", path).bearer(&key).json(&call());
        let answer = asked.send();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let mut others = operations(&admin);
    others.retain(|(_, path)| !is_for_admins(path) && !ON_BOTH.contains(&path.as_str()));
    others.push(("GET".to_owned(), "/abc/v1/models".to_owned()));
    others.push(("GET".to_owned(), "/abc".to_owned()));
    assert!(others.len() > 20, "{others:?}");
    for (method, path) in others {
        for credential in [&key, gateway.admin_token()] {
            let answer = ask(&admin, &method, &path, credential);
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
    assert!(provider.requests().is_empty());
}

#[test]
fn wrong_tokens_count_on_the_listener_of_admins() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .yaml("accounts: { failures_per_address: 300 }")
        .tenant("abc", sample(&provider));
    let (gateway, admin) = listening(setup);
    for _ in 0..3 {
        let wrong = ask(&admin, "GET", "/abc/admin/config", "a-wrong-token");
        assert_eq!(wrong.status, 401);
    }

    let refused = || {
        let answer = ask(&admin, "GET", "/abc/admin/config", gateway.admin_token());
        (answer.status == 429).then_some(())
    };
    // A failure is counted after its answer was written.
    eventually(Duration::from_secs(5), "the address is refused", refused);

    let public = gateway.client();
    let hidden = ask(&public, "GET", "/abc/admin/config", gateway.admin_token());
    let unknown = ask(&public, "GET", "/abc/nothing", gateway.admin_token());
    assert_eq!(seen(&hidden), seen(&unknown));
    assert_eq!(hidden.status, 404);
}

/// Asserts that each listener answers its own, and no more.
#[track_caller]
fn assert_apart(gateway: &Gateway, admin: &Client) {
    let (public, token) = (gateway.client(), gateway.admin_token());
    for path in ["/admin/tenants", "/abc/admin/config", "/docs"] {
        assert_eq!(ask(admin, "GET", path, token).status, 200, "{path}");
        assert_eq!(ask(&public, "GET", path, token).status, 404, "{path}");
    }
    let key = mint(gateway, "abc");
    assert_eq!(chat(gateway, "abc", &key, &call()).status, 200);
    let asked = admin.request("POST", "/abc/v1/chat/completions");
    assert_eq!(asked.bearer(&key).json(&call()).send().status, 404);
}

/// Hands over to a new process, and waits until the old one has ended.
fn hand_over(gateway: &Gateway) -> KillOnDrop {
    gateway.signal("QUIT");
    let heir = eventually(Duration::from_secs(10), "a successor is started", || {
        successor(gateway)
    });
    let heir = KillOnDrop(heir);
    assert_eq!(gateway.wait_exit(Duration::from_secs(30)).code(), Some(0));
    heir
}

#[test]
fn a_hand_over_keeps_the_listeners_apart() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (gateway, admin) = listening(Setup::new().tenant("abc", sample(&provider)));
    assert_apart(&gateway, &admin);

    let heir = hand_over(&gateway);

    assert_apart(&gateway, &admin);
    drop(heir);
}

#[test]
fn a_hand_over_of_free_ports_keeps_the_listeners_apart() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", sample(&provider))
        .yaml("server: { ops_listen: \"127.0.0.1:0\", admin_listen: \"127.0.0.1:0\" }");
    let gateway = Gateway::start(setup);
    let line = gateway.wait_log("Admin routes on http://");
    let (_, address) = line.split_once("http://").unwrap();
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ':');
    let address = address.split(|c| !is_part(c)).next().unwrap();
    let admin = Client::new(address.parse().unwrap());
    assert_apart(&gateway, &admin);

    let heir = hand_over(&gateway);

    assert_apart(&gateway, &admin);
    drop(heir);
}

#[test]
fn a_reload_moves_admins_to_a_listener_of_their_own() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let token = gateway.admin_token();
    for path in ["/admin/tenants", "/abc/admin/config", "/docs"] {
        let answer = ask(&gateway.client(), "GET", path, token);
        assert_eq!(answer.status, 200, "{path}");
    }
    let port = free_port();
    let file = gateway.setup().path().join("gateway.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let server = format!("server: {{ admin_listen: \"localhost:{port}\" }}\n");
    fs::write(&file, text + &server).unwrap();

    let heir = hand_over(&gateway);

    assert_apart(&gateway, &client_of(port));
    drop(heir);
}

#[test]
fn idle_connection_of_an_admin_does_not_delay_the_stop() {
    let (gateway, admin) = listening(Setup::new());
    let mut idle = admin.connect();
    assert_eq!(idle.request("GET", "/docs").send().status, 200);

    gateway.signal("TERM");

    assert_eq!(gateway.wait_exit(Duration::from_secs(5)).code(), Some(0));
    assert!(admin.try_connect().is_err());
}

#[test]
fn listener_of_admins_speaks_tls() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let port = free_port();
    let tls = json!({"cert": cert, "key": key});
    let server = json!({"admin_listen": {"address": format!("127.0.0.1:{port}"), "tls": tls}});
    let gateway = Gateway::start(Setup::new().yaml(&format!("server: {server}")));
    gateway.wait_log(&format!("Admin routes on https://127.0.0.1:{port}"));

    let address = client_of(port).addr();
    let client = Http2::tls(address, "localhost", &authority.ca());

    assert_eq!(client.get("/docs").status, 200);
    assert_eq!(client.get("/admin/tenants").status, 401);
    assert_eq!(client.get("/abc/v1/models").status, 404);
}

/// A page of another name that leads to this machine must not talk to admins' routes.
#[test]
fn listener_of_admins_on_loopback_answers_to_names_of_this_machine() {
    let port = free_port();
    let listen = "listen: [\"127.0.0.1:0\", \"0.0.0.0:0\"]";
    let server = format!("server: {{ {listen}, admin_listen: \"127.0.0.1:{port}\" }}");
    let setup = Setup::new().env("RESULLM__SERVER__HOSTS", "").yaml(&server);
    let (gateway, admin) = (Gateway::start(setup), client_of(port));
    let status = |client: &Client, host: &str| {
        let request = client.request("GET", "/openapi.json");
        request.header("host", host).send().status
    };
    assert_eq!(status(&admin, "evil.example"), 421);
    assert_eq!(status(&admin, "localhost:3100"), 200);
    assert_eq!(status(&gateway.client(), "gateway.example"), 200);
}

#[test]
fn an_address_of_two_settings_is_named() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = format!("server: {{ ops_listen: \"{address}\", admin_listen: \"{address}\" }}");

    let (status, logs, _) = Gateway::run_to_end(Setup::new().yaml(&server));

    assert_eq!(status.code(), Some(1));
    let fault = format!("server.ops_listen: {address} is taken by server.admin_listen");
    assert!(logs.iter().any(|line| line.contains(&fault)), "{logs:#?}");
}
