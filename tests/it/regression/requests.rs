//! HTTP requests, forms and JSON bodies of clients.

use super::hi;
use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RESET, Raw, SETTINGS, call_headers, frame,
};
use crate::harness::{
    CHAT_PATH, Gateway, Provider, Script, Setup, balance, eventually, mint, raw_for, sample,
};
use serde_json::json;
use std::time::Duration;

#[test]
fn refusal_after_100_continue_is_still_sent() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    for (method, path, status) in [("POST", CHAT_PATH, 401), ("PUT", "/abc/admin/config", 401)] {
        let refused = gateway
            .client()
            .request(method, path)
            .bearer("temp_nobody")
            .json(&hi())
            .expect_continue()
            .send();
        assert_eq!(
            (refused.status, refused.continued),
            (status, true),
            "{path}"
        );
    }
}

#[test]
fn ambiguous_requests_are_refused() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nx-long: {}\r\n\r\n",
        "y".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "x-many: 1\r\n".repeat(110)
    );

    for (bytes, status) in [
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
            400,
        ),
        (
            "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("nonsense\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (long.as_str(), 431),
        (many.as_str(), 431),
    ] {
        let answer = raw_for(gateway.addr(), bytes.as_bytes(), Duration::from_secs(3));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{}\n{answer}",
            &bytes[..bytes.len().min(80)]
        );
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let call = json!({"messages": [{"role": "user", "content": "x"}]}).to_string();
    let (length, half) = (call.len(), call.len() / 2);
    let bytes = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n\
         POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{call}\
         POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {half:x}\r\n{}\r\n{:x};x=y\r\n{}\r\n0\r\nTrailer: x\r\n\r\n\
         HEAD /abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        &call[..half],
        length - half,
        &call[half..]
    );
    let answer = raw_for(gateway.addr(), bytes.as_bytes(), Duration::from_secs(5));

    let answer = String::from_utf8_lossy(&answer).into_owned();

    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4, "{answer}");
    assert_eq!(answer.matches("\"content\":\"Hi\"").count(), 2, "{answer}");
    assert!(answer.ends_with("connection: close\r\n\r\n"), "{answer}");
    assert!(
        provider
            .requests()
            .iter()
            .all(|asked| asked.json()["messages"][0]["content"] == "x")
    );
}

#[test]
fn unknown_key_is_refused_before_a_large_body_is_read() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    // Only the head is sent; a gateway that reads the body first would wait.
    let head = format!(
        "POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer temp_nobody\r\nContent-Length: 5000000\r\n\r\n"
    );

    let answer = raw_for(gateway.addr(), head.as_bytes(), Duration::from_secs(5));

    assert!(
        answer.starts_with(b"HTTP/1.1 401 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[test]
fn local_routes_refuse_a_list_as_a_body() {
    let gateway = Gateway::start(
        Setup::new().tenant("abc", json!({"user_groups": {"anonymous": {"tokens": 1}}})),
    );
    let key = mint(&gateway, "abc");

    for (method, path, body) in [
        (
            "POST",
            "/abc/admin/keys".to_owned(),
            json!(["anonymous", 5, 100, "u"]),
        ),
        ("PUT", "/abc/admin/config".to_owned(), json!([{}])),
        (
            "PATCH",
            format!("/abc/admin/keys/{key}"),
            json!(["anonymous"]),
        ),
        (
            "POST",
            format!("/abc/admin/keys/{key}/credit"),
            json!([5, "id"]),
        ),
        ("POST", "/admin/tenants".to_owned(), json!(["new", {}])),
        ("PUT", "/admin/tenants/new".to_owned(), json!([{}])),
        (
            "PUT",
            "/admin/tenants/abc/tokens".to_owned(),
            json!([["a-token-of-16-signs"]]),
        ),
    ] {
        let text = format!(" \n{body}");
        let request = gateway
            .client()
            .request(method, &path)
            .bearer(gateway.admin_token());
        let refused = request.body(text).send();
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        assert!(
            refused.text().contains("must be a JSON object"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(balance(&gateway, &key), (1, 1));
}

/// The refusal spoke of types of the gateway's own.
#[test]
fn local_routes_say_what_they_expected_instead_of_the_body() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    for (body, got) in [
        ("[]", "a list"),
        ("5", "a number"),
        ("\"c4n4ry\"", "a string"),
        ("true", "a boolean"),
        ("null", "null"),
    ] {
        for (method, path) in [
            ("POST", "/abc/admin/keys"),
            ("PUT", "/abc/admin/config"),
            ("POST", "/admin/tenants"),
            ("PUT", "/admin/tenants/abc/tokens"),
        ] {
            let request = gateway.client().request(method, path);
            let refused = request.bearer(gateway.admin_token()).body(body).send();
            let told = format!(r#"{{"error":"The body must be a JSON object, not {got}"}}"#);
            assert_eq!(
                (refused.status, refused.text()),
                (400, told),
                "{path} {body}"
            );
        }
    }
}

#[test]
fn ambiguous_form_is_refused() {
    let provider = Provider::start(|_| Script::json(200, &json!({"data": []})));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let send = |kind: &str, field: &str| {
        let form = format!(
            "--A\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n\
             --A\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nx\r\n\
             --A\r\nContent-Disposition: form-data; {field}\r\n\r\n10\r\n--A--\r\n"
        );
        let request = gateway.client().request("POST", "/abc/v1/images/edits");
        let request = request.bearer(&key).header("content-type", kind);
        request.body(form).send().status
    };
    let plain = "multipart/form-data; boundary=A";

    assert_eq!(send(plain, "name=\"size\""), 200);
    for field in [
        "name=\"size\"; name*0=\"n\"",
        "name=\"size\"; name*0=\"mod\"; name*1=\"el\"",
        "name=\"size\"; filename*=utf-8''",
        "name=\"size\"; other=\"n\"",
        "name=\"\u{ff4e}\"",
    ] {
        assert_eq!(send(plain, field), 400, "{field}");
    }

    let other = "multipart/form-data; boundary=A; boundary*=utf-8''A%0D%0AX-J%3A%201";
    assert_eq!(send(other, "name=\"size\""), 400);
    assert_eq!(provider.served(), 1);
}

/// Starlette found no fields in a form with an upper-case content type, and a charset parameter doubled the
/// text.
#[test]
fn form_leaves_in_its_canonical_spelling() {
    let provider = Provider::start(|_| Script::json(200, &json!({"text": "Hi"})));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let field = |head: &str, value: &[u8]| {
        let head = format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let send = |kind: &str, odd: Vec<u8>| {
        let form = [
            field("name=\"model\"", b"m"),
            field("name=\"file\"; filename=\"a\"", b"sound"),
            odd,
            b"--b--".to_vec(),
        ];
        let request = gateway
            .client()
            .request("POST", "/abc/v1/audio/transcriptions");
        let request = request.bearer(&key).header("content-type", kind);
        request.body(form.concat()).send().status
    };
    let usual = "multipart/form-data; boundary=b";

    for kind in [
        usual,
        "Multipart/Form-Data; Boundary=\"b\";",
        "multipart/form-data; boundary=b; charset=us-ascii",
    ] {
        assert_eq!(send(kind, Vec::new()), 200, "{kind}");
    }

    let mut sent = provider.requests().into_iter();
    assert!(sent.all(|request| request.header("content-type") == Some(usual)));
    for (head, value) in [
        ("name=\"prompt\"; ", &b"a"[..]),
        ("name='prompt'", b"a"),
        ("name=\"prompt\"", b"\xff\xfe"),
    ] {
        assert_eq!(send(usual, field(head, value)), 400, "{head}");
    }
}

/// Texts of abandoned answers waited for the counting thread in unbounded memory.
#[test]
fn texts_waiting_to_be_counted_use_body_memory() {
    // Long words are slow to tokenise.
    let piece = "Z".repeat(1200);
    let provider = Provider::start(move |_| {
        let words: Vec<&str> = std::iter::repeat_n(piece.as_str(), 300).collect();
        Script::chat_stream(&words, 9, 100_000)
    });
    let config = sample(&provider)
        .server("openai", "openai")
        .tokens(1_000_000_000);
    let setup = Setup::new()
        .tenant("abc", config)
        .yaml("server: { max_buffered: 16MiB, ops_listen: '127.0.0.1:0' }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let call = json!({"model": "gpt-4o", "stream": true, "max_tokens": 400_000,
        "messages": [{"role": "user", "content": "Hi"}]});
    let settled = || {
        let (left, free) = balance(&gateway, &key);
        (left == free).then_some(left)
    };
    // An HTTP/2 window of zero keeps the answer in the gateway until the stream is reset.
    let abandon = |count: u32| {
        let mut raw = Raw::silent(&gateway);
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat());
        let streams = (0..count).map(|number| 2 * number + 1);
        for stream in streams.clone() {
            raw.write(&frame(HEADERS, END_HEADERS, stream, &call_headers(&key)));
            raw.write(&frame(
                DATA,
                END_STREAM,
                stream,
                call.to_string().as_bytes(),
            ));
        }
        eventually(Duration::from_secs(20), "all of them have begun", || {
            raw.take();
            let frames = raw.frames();
            let heads = frames.iter().filter(|(kind, ..)| *kind == HEADERS);
            (heads.count() == count as usize).then_some(())
        });
        for stream in streams {
            raw.write(&frame(RESET, 0, stream, &8u32.to_be_bytes()));
        }
        raw
    };
    // The first counted text loads the vocabulary.
    let raw = abandon(1);

    eventually(Duration::from_secs(60), "it is settled", || {
        settled().filter(|left| *left < 1_000_000_000)
    });

    drop(raw);
    let before = gateway.memory_kib();
    let raw = [abandon(90), abandon(90)];
    let mut most = 0;
    eventually(Duration::from_secs(60), "all of it is settled", || {
        most = most.max(gateway.memory_kib());
        settled()
    });

    drop(raw);
    let grown = most.saturating_sub(before) >> 10;
    assert!(grown < 150, "{grown} MiB");
}
