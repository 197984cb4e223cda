//! Admin tokens of a tenant: names and scopes, and what each scope opens. Masks of secrets, and that no secret follows
//! a host that was changed.

use crate::harness::{Gateway, Redis, Response, Setup, mint};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SECRET: &str = "sk-secret-of-the-provider";
const URL: &str = "https://api.openai.com/v1/chat/completions";
const EVIL: &str = "https://evil.example/v1/chat/completions";
const SEAL_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

fn config() -> Value {
    json!({
        "user_groups": {"anonymous": {"tokens": 100}, "members": {"tokens": 100}},
        "providers": {"text": {"default": "one", "endpoints": {"one": {"url": URL, "api_key": SECRET, "default_model": "m"}}}},
        "events": {"url": "https://app.example/events", "secrets": ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"]},
    })
}

fn on_both(test: impl Fn(Gateway)) {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let setup = setup.tenant("abc", config()).tenant("other", config());
        test(Gateway::start(setup));
    }
}

fn ask(gateway: &Gateway, token: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
    let request = gateway.client().request(method, path).bearer(token);
    match body {
        Some(body) => request.json(body).send(),
        None => request.send(),
    }
}

/// Makes a token of a scope with the operator's.
#[track_caller]
fn token(gateway: &Gateway, scope: &str) -> String {
    let body = json!({"name": format!("of-{scope}"), "scope": scope});
    let made = ask(
        gateway,
        gateway.admin_token(),
        "POST",
        "/abc/admin/tokens",
        Some(&body),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn tokens_are_made_listed_and_deleted_by_their_names() {
    on_both(|gateway| {
        let admin = token(&gateway, "admin");
        let body = json!({"name": "support-anna", "scope": "support"});
        let path = "/abc/admin/tokens";
        let made = ask(&gateway, &admin, "POST", path, Some(&body));
        assert_eq!(made.status, 201, "{}", made.text());
        let anna = made.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(ask(&gateway, &admin, "POST", path, Some(&body)).status, 409);
        for name in ["", "a b", "../x", "-x"] {
            let body = json!({"name": name, "scope": "read"});
            let refused = ask(&gateway, &admin, "POST", path, Some(&body));
            assert_eq!(refused.status, 400, "{name}: {}", refused.text());
        }

        let listed = ask(&gateway, &admin, "GET", path, None);
        let names: Vec<(&str, &str)> = vec![("of-admin", "admin"), ("support-anna", "support")];
        let list = listed.json();
        let found: Vec<(&str, &str)> = list["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| {
                (
                    token["name"].as_str().unwrap(),
                    token["scope"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, names);
        assert_eq!(list["tokens"][1]["createdBy"], "of-admin");
        assert!(!listed.text().contains(&anna) && !listed.text().contains("hash"));

        let usage = "/abc/admin/usage";
        assert_eq!(ask(&gateway, &anna, "GET", usage, None).status, 200);
        assert_eq!(
            ask(&gateway, &anna, "GET", "/other/admin/usage", None).status,
            401
        );
        let one = format!("{path}/support-anna");
        assert_eq!(ask(&gateway, &admin, "DELETE", &one, None).status, 200);
        assert_eq!(ask(&gateway, &admin, "DELETE", &one, None).status, 404);
        assert_eq!(ask(&gateway, &anna, "GET", usage, None).status, 401);
    });
}

#[test]
fn tokens_that_are_made_at_the_same_time_are_all_there() {
    on_both(|gateway| {
        let path = "/abc/admin/tokens";
        let makers: Vec<_> = (0..6)
            .map(|at| {
                let (client, operator) = (gateway.client(), gateway.admin_token().to_owned());
                std::thread::spawn(move || {
                    let mut made = BTreeSet::new();
                    for number in 0..5 {
                        let name = format!("t-{at}-{number}");
                        let request = client.request("POST", path).bearer(&operator);
                        let body = json!({"name": name, "scope": "read"});
                        match request.json(&body).send().status {
                            201 => made.insert(name),
                            409 => false,
                            other => panic!("{other}"),
                        };
                    }
                    made
                })
            })
            .collect();
        let made: BTreeSet<String> = makers
            .into_iter()
            .flat_map(|maker| maker.join().unwrap())
            .collect();
        let list = ask(&gateway, gateway.admin_token(), "GET", path, None).json();
        let listed: BTreeSet<String> = list["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token["name"].as_str().unwrap().to_owned())
            .collect();
        assert!(made.len() > 6);
        assert_eq!(listed, made);
    });
}

/// What the operation of an admin route lets one do, and a request for it.
const ROUTES: &[(&str, &str, &str, &str)] = &[
    ("openSession", "POST", "/abc/auth/sessions", "sessions"),
    ("listPaymentEvents", "GET", "/abc/admin/payments", "look"),
    (
        "readUserLedger",
        "GET",
        "/abc/admin/users/nobody/ledger",
        "look",
    ),
    (
        "listUserPayments",
        "GET",
        "/abc/admin/users/nobody/payments",
        "look",
    ),
    ("deleteUser", "DELETE", "/abc/admin/users/nobody", "manage"),
    (
        "exportUser",
        "GET",
        "/abc/admin/users/nobody/export",
        "look",
    ),
    ("listTokens", "GET", "/abc/admin/tokens", "manage"),
    ("makeToken", "POST", "/abc/admin/tokens", "manage"),
    (
        "deleteToken",
        "DELETE",
        "/abc/admin/tokens/nobody",
        "manage",
    ),
    ("readConfig", "GET", "/abc/admin/config", "look"),
    ("replaceConfig", "PUT", "/abc/admin/config", "manage"),
    ("listConfigs", "GET", "/abc/admin/config/history", "look"),
    ("showConfig", "GET", "/abc/admin/config/history/1", "look"),
    (
        "restoreConfig",
        "POST",
        "/abc/admin/config/history/99/restore",
        "manage",
    ),
    ("listChanges", "GET", "/abc/admin/audit", "look"),
    ("showUsage", "GET", "/abc/admin/usage", "look"),
    ("listKeys", "GET", "/abc/admin/keys", "look"),
    ("listUsers", "GET", "/abc/admin/users", "look"),
    ("showUser", "GET", "/abc/admin/users/nobody", "look"),
    (
        "creditUser",
        "POST",
        "/abc/admin/users/nobody/credit",
        "credit",
    ),
    (
        "debitUser",
        "POST",
        "/abc/admin/users/nobody/debit",
        "credit",
    ),
    (
        "suspendUser",
        "POST",
        "/abc/admin/users/nobody/suspend",
        "manage",
    ),
    ("rollKey", "POST", "/abc/admin/keys/unknown/roll", "manage"),
    (
        "suspendKey",
        "POST",
        "/abc/admin/keys/KEY/suspend",
        "manage",
    ),
    ("mintKey", "POST", "/abc/admin/keys", "manage"),
    ("showKey", "GET", "/abc/admin/keys/KEY", "look"),
    ("moveKey", "PATCH", "/abc/admin/keys/KEY", "manage"),
    ("revokeKey", "DELETE", "/abc/admin/keys/unknown", "manage"),
    ("readKeyLedger", "GET", "/abc/admin/keys/KEY/ledger", "look"),
    ("creditKey", "POST", "/abc/admin/keys/KEY/credit", "credit"),
    ("debitKey", "POST", "/abc/admin/keys/KEY/debit", "credit"),
];

#[test]
fn each_scope_opens_what_it_says_and_nothing_else() {
    on_both(|gateway| {
        let key = mint(&gateway, "abc");
        let tokens =
            ["admin", "support", "read", "sessions"].map(|scope| (scope, token(&gateway, scope)));
        let document = gateway.client().get("/openapi.json").json();
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for operation in methods.as_object().unwrap().values() {
                if operation["security"] == json!([{"admin": []}]) {
                    let id = operation["operationId"].as_str();
                    documented.insert(id.unwrap_or_else(|| panic!("{path}")).to_owned());
                }
            }
        }
        let listed: BTreeSet<String> = ROUTES.iter().map(|row| row.0.to_owned()).collect();
        assert_eq!(listed, documented, "every admin route is tried");

        let before = ask(
            &gateway,
            gateway.admin_token(),
            "GET",
            "/abc/admin/config",
            None,
        )
        .text();
        for (id, method, path, right) in ROUTES {
            for (scope, token) in &tokens {
                let opens = match *right {
                    "look" => *scope != "sessions",
                    "credit" => matches!(*scope, "admin" | "support"),
                    "manage" => *scope == "admin",
                    "sessions" => matches!(*scope, "admin" | "sessions"),
                    other => panic!("{other}"),
                };
                let path = path.replace("KEY", &key);
                // A body that is refused: only the scope is tried.
                let body = json!({"colour": "red"});
                let body = (*method != "GET" && *method != "DELETE").then_some(&body);
                let answer = ask(&gateway, token, method, &path, body);
                if opens {
                    assert!(
                        !matches!(answer.status, 401 | 403),
                        "{id} {scope}: {}",
                        answer.text()
                    );
                } else {
                    assert_eq!(answer.status, 403, "{id} {scope}: {}", answer.text());
                    let why = answer.json()["error"].as_str().unwrap().to_owned();
                    assert!(
                        why.contains(&format!("this one's scope is `{scope}`")),
                        "{why}"
                    );
                }
            }
        }
        let after = ask(
            &gateway,
            gateway.admin_token(),
            "GET",
            "/abc/admin/config",
            None,
        )
        .text();
        assert_eq!(before, after);
    });
}

#[test]
fn secrets_are_shown_to_who_may_manage_the_tenant_alone() {
    on_both(|gateway| {
        let path = "/abc/admin/config";
        let admin = token(&gateway, "admin");
        let whole = ask(&gateway, &admin, "GET", path, None);
        assert!(whole.text().contains(SECRET));
        for scope in ["support", "read"] {
            let token = token(&gateway, scope);
            for query in ["", "?redact=false", "?redact=true"] {
                let shown = ask(&gateway, &token, "GET", &format!("{path}{query}"), None);
                assert_eq!(shown.status, 200, "{}", shown.text());
                assert!(!shown.text().contains("sk-") && !shown.text().contains("whsec_"));
                assert_eq!(shown.text().matches("\"masked:v1:").count(), 2);
                assert_eq!(shown.header("etag"), whole.header("etag"));
            }
        }
        let refused = ask(&gateway, &admin, "GET", &format!("{path}?redact=yes"), None);
        assert_eq!(refused.status, 400);
        let operator = gateway.admin_token();
        let shown = ask(
            &gateway,
            operator,
            "GET",
            "/admin/tenants/abc?redact=true",
            None,
        );
        assert!(!shown.text().contains("sk-"), "{}", shown.text());
    });
}

#[test]
fn a_config_that_is_put_back_with_masks_keeps_what_was_there() {
    on_both(|gateway| {
        let (path, operator) = ("/abc/admin/config", gateway.admin_token());
        let whole = ask(&gateway, operator, "GET", path, None);
        let masked = ask(
            &gateway,
            operator,
            "GET",
            &format!("{path}?redact=true"),
            None,
        );
        let mut body = masked.json();
        body["config"]["user_groups"]["anonymous"]["tokens"] = json!(7);
        let put = ask(&gateway, operator, "PUT", path, Some(&body));
        assert_eq!(put.status, 200, "{}", put.text());
        let mut expected = whole.json();
        expected["config"]["user_groups"]["anonymous"]["tokens"] = json!(7);
        assert_eq!(ask(&gateway, operator, "GET", path, None).json(), expected);

        let endpoint = "/config/providers/text/endpoints/one";
        *body.pointer_mut(&format!("{endpoint}/url")).unwrap() = EVIL.into();
        let refused = ask(&gateway, operator, "PUT", path, Some(&body));
        assert_eq!(refused.status, 400, "{}", refused.text());
        let detail = &refused.json()["details"][0];
        assert_eq!(detail["path"], "providers.text.endpoints.one.api_key");
        let why = detail["message"].as_str().unwrap();
        assert!(why.contains("enter the secret again"), "{why}");
        *body.pointer_mut(&format!("{endpoint}/api_key")).unwrap() = "masked:v1:12345678".into();
        let refused = ask(&gateway, operator, "PUT", path, Some(&body));
        assert!(
            refused.text().contains("is a mask of no secret"),
            "{}",
            refused.text()
        );
        assert_eq!(ask(&gateway, operator, "GET", path, None).json(), expected);
    });
}

#[test]
fn a_sealed_secret_does_not_follow_a_host_that_was_changed() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let setup = setup.env("SECRETS_KEY", SEAL_KEY).tenant("abc", config());
        let gateway = Gateway::start(setup);
        let (path, operator) = ("/abc/admin/config", gateway.admin_token());
        let stored = ask(&gateway, operator, "GET", path, None);
        assert!(stored.text().contains("sealed:v1:") && !stored.text().contains(SECRET));
        // As it was read it can be put back, at other places of the same host too.
        assert_eq!(
            ask(&gateway, operator, "PUT", path, Some(&stored.json())).status,
            200
        );
        let url = "/config/providers/text/endpoints/one/url";
        let mut body = stored.json();
        *body.pointer_mut(url).unwrap() = "https://api.openai.com/v2/chat/completions".into();
        assert_eq!(
            ask(&gateway, operator, "PUT", path, Some(&body)).status,
            200
        );
        *body.pointer_mut(url).unwrap() = EVIL.into();
        let refused = ask(&gateway, operator, "PUT", path, Some(&body));
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(
            refused.text().contains("enter the secret again"),
            "{}",
            refused.text()
        );
        // Masks of sealed secrets keep them sealed.
        let masked = ask(
            &gateway,
            operator,
            "GET",
            &format!("{path}?redact=true"),
            None,
        );
        assert!(!masked.text().contains("sealed:"), "{}", masked.text());
        assert_eq!(
            ask(&gateway, operator, "PUT", path, Some(&masked.json())).status,
            200
        );
        let now = ask(&gateway, operator, "GET", path, None).json();
        let sealed = |of: &Value| {
            of.pointer("/config/providers/text/endpoints/one/api_key")
                .cloned()
        };
        assert_eq!(sealed(&now), sealed(&stored.json()));
    }
}
