//! Request bodies: malformed ones, every size and framing, and keep-alive around them.

use super::{hi, left, start};
use crate::harness::{CHAT_PATH, Gateway, Provider, Script, Setup, chat, mint, raw_for, sample};
use serde_json::json;
use std::time::Duration;

#[test]
fn malformed_bodies_are_refused_and_cost_nothing() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(1000))
        .yaml("server: { max_body: 1KiB }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");

    for body in [
        "",
        "nonsense",
        "[]",
        "{\"model\":1}",
        "{\"model\":\"a\",\"model\":\"b\"}",
        "{\"stream\":\"yes\"}",
        "{\"max_tokens\":-5}",
    ] {
        let refused = gateway
            .client()
            .request("POST", CHAT_PATH)
            .bearer(&key)
            .body(body.as_bytes().to_vec())
            .send();
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (400, &json!("invalid_body")),
            "{body}"
        );
    }

    let long = json!({"messages": [{"role": "user", "content": "x".repeat(2000)}]});
    let refused = chat(&gateway, "abc", &key, &long);
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (413, &json!("body_too_large"))
    );

    let chunks = long.to_string();
    let chunks: Vec<&[u8]> = chunks.as_bytes().chunks(300).collect();
    let refused = gateway
        .client()
        .request("POST", CHAT_PATH)
        .bearer(&key)
        .chunked(&chunks)
        .send();
    assert_eq!(refused.status, 413);
    for key in ["", "temp_nobody"] {
        assert_eq!(chat(&gateway, "abc", key, &hi()).status, 401);
    }

    let none = gateway
        .client()
        .request("POST", CHAT_PATH)
        .json(&hi())
        .send();
    assert_eq!(
        (
            none.status,
            &none.json()["error"]["code"],
            none.header("www-authenticate")
        ),
        (401, &json!("invalid_api_key"), Some("Bearer"))
    );
    assert_eq!((provider.served(), left(&gateway, &key)), (0, 1000));
}

#[test]
fn bodies_of_every_size_and_framing_arrive_whole() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 9_000_000_000_000_000);
    for size in [10, 4_000, 65_536, 70_000, 1_000_000, 20_000_000] {
        let call =
            json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "y".repeat(size)}], "max_tokens": 5})
                .to_string();
        let answer = gateway
            .client()
            .request("POST", CHAT_PATH)
            .bearer(&key)
            .body(call.clone())
            .send();
        assert_eq!(answer.status, 200, "{size}");
        assert_eq!(provider.requests().pop().unwrap().body, call.as_bytes());
        let chunks: Vec<&[u8]> = call.as_bytes().chunks(50_000).collect();
        assert_eq!(
            gateway
                .client()
                .request("POST", CHAT_PATH)
                .bearer(&key)
                .chunked(&chunks)
                .send()
                .status,
            200,
            "{size} chunked"
        );
        assert_eq!(provider.requests().pop().unwrap().body, call.as_bytes());
        let expecting = gateway
            .client()
            .request("POST", CHAT_PATH)
            .bearer(&key)
            .body(call.clone())
            .expect_continue()
            .send();
        assert_eq!(
            (expecting.status, expecting.continued),
            (200, true),
            "{size} after 100-continue"
        );
    }
}

#[test]
fn connections_are_kept_alive_on_both_sides() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 1_000_000);
    let mut connection = gateway.client().connect();

    for _ in 0..20 {
        assert_eq!(
            connection
                .request("POST", CHAT_PATH)
                .bearer(&key)
                .json(&hi())
                .send()
                .status,
            200
        );
        assert_eq!(
            connection
                .request("GET", "/abc/auth/me")
                .bearer(&key)
                .send()
                .status,
            200
        );
        assert_eq!(
            connection
                .request("GET", "/abc/auth/me")
                .bearer("temp_x")
                .send()
                .status,
            401
        );
    }
    assert!(connection.is_open());
    assert_eq!(provider.connections(), 1);
}

#[test]
fn early_reply_leaves_no_body_to_parse_as_a_request() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 1000);
    let smuggled = "GET /abc/auth/me HTTP/1.1\r\nHost: x\r\n\r\n";

    for head in [
        format!(
            "POST /nobody/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "POST /abc/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "PUT /abc/admin/config HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 99999999999\r\n\r\n"
        ),
        format!(
            "POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
    ] {
        let answer = raw_for(
            gateway.addr(),
            format!("{head}{smuggled}").as_bytes(),
            Duration::from_secs(4),
        );
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{head}\n{text}");
        assert!(text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(provider.served(), 0);
}
