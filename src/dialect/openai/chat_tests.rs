//! Fixtures and properties of `chat/completions`.

use super::*;
use crate::dialect::Meter;
use crate::dialect::call::Limit;
use crate::dialect::stream::pieces;
use proptest::prelude::*;

fn call(text: &str) -> Call {
    read(text.as_bytes(), &Bounds::default()).unwrap()
}

fn rewritten(text: &str, changes: &Changes<'_>) -> String {
    String::from_utf8(rewrite(text.as_bytes(), changes).unwrap()).unwrap()
}

const LIMIT: Option<Limit> = Some(Limit {
    tokens: 50,
    name: "max_tokens",
    always: false,
});

#[test]
fn a_call_is_read_without_its_unknown_members() {
    let read = call(
        r#"{"x":{"model":"no"},"model":"gpt\u002d4o","messages":[{"role":"user","content":"Hello"}],"stream":true,"stream_options":{"include_usage":true,"y":1},"max_tokens":10,"n":2}"#,
    );
    assert_eq!(read.model.as_deref(), Some("gpt-4o"));
    assert_eq!((read.stream, read.wants_usage), (true, true));
    assert_eq!((read.limit, read.answers), (Some(10), 2));
    // "Hello" (5 bytes), 8 framing tokens, and the unknown member `x` (14).
    assert_eq!(read.prompt, Tokens::new(5 + 8 + 14));
    let bare = call(r#"{"messages":[],"stream":null,"max_tokens":null}"#);
    assert_eq!((bare.stream, bare.limit, bare.answers), (false, None, 1));
}

#[test]
fn a_body_that_could_be_read_in_two_ways_is_refused() {
    for bad in [
        "",
        "[]",
        "nonsense",
        "{\"model\":\"a\"",
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":1}"#,
        r#"{"stream":"yes"}"#,
        r#"{"max_tokens":-1}"#,
        r#"{"max_tokens":0}"#,
        r#"{"max_tokens":1.5}"#,
        r#"{"messages":{}}"#,
        r#"{"max\u005ftokens":null}"#,
        r#"{"Max_Tokens":1000000}"#,
        "{} {}",
        "{\"messages\":[\u{0}]}",
    ] {
        assert!(read(bad.as_bytes(), &Bounds::default()).is_err(), "{bad}");
    }
    assert!(read(b"{\"model\":\"\xff\"}", &Bounds::default()).is_err());
}

#[test]
fn only_what_must_change_is_changed() {
    let body = r#" { "model" : "a" , "messages":[ ],"z":1.50, "max_tokens": 900 } "#;
    let changes = Changes {
        model: Some("b\"c"),
        limit: LIMIT,
        ..Changes::default()
    };
    assert_eq!(
        rewritten(body, &changes),
        r#" { "model" : "b\"c" , "messages":[ ],"z":1.50, "max_tokens": 50 } "#
    );
    assert_eq!(rewritten(body, &Changes::default()), body);
}

#[test]
fn limit_is_also_written_under_the_endpoints_own_name() {
    let always = LIMIT.map(|limit| Limit {
        always: true,
        ..limit
    });
    let changes = Changes {
        model: None,
        limit: always,
        ..Changes::default()
    };
    for (body, expected) in [
        (
            r#"{"max_completion_tokens":900}"#,
            r#"{"max_tokens":50,"max_completion_tokens":50}"#,
        ),
        (r#"{"max_tokens":900}"#, r#"{"max_tokens":50}"#),
    ] {
        assert_eq!(rewritten(body, &changes), expected);
    }
}

#[test]
fn every_readable_member_counts_as_prompt() {
    assert_eq!(
        call(r#"{"messages":[],"temperature":0.5}"#).prompt,
        Tokens::ZERO
    );
    let template = format!(
        r#"{{"messages":[],"chat_template":"{}"}}"#,
        "x".repeat(1000)
    );
    assert!(call(&template).prompt >= Tokens::new(1000));
    let image = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x.example/a.png"}}]}]}"#;
    assert!(call(image).prompt >= Tokens::new(4000));
    let inline = format!(
        r#"{{"messages":[{{"content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "A".repeat(100_000)
    );
    assert!(
        call(&inline).prompt < Tokens::new(5000),
        "an image is not its bytes"
    );
}

#[test]
fn every_text_of_the_messages_counts_and_the_frame_does_not() {
    for (messages, expected) in [
        ("[]", 0),
        (r#"[{"role":"user","content":"Hi"}]"#, 10),
        (
            r#"[{"role":"user","content":"Hello"},{"role":"user","content":[{"type":"text","text":"a\"b"}]}]"#,
            16 + 5 + 4,
        ),
        (
            r#"[{"role":"tool","tool_call_id":"c1","content":"42"},{"role":"assistant","content":null,"refusal":null,"name":"n"}]"#,
            16 + 2 + 2 + 1,
        ),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"c","function":{"arguments":"{}"}}]}]"#,
            8 + 42,
        ),
        (r#"["odd",{"content":["odd",7]}]"#, 16 + 3 + 3 + 1 + 1),
        (r#"[{"role":"assistant","audio":{"id":"a"}}]"#, 8 + 80_000),
    ] {
        let read = call(&format!(r#"{{"messages":{messages}}}"#));
        assert_eq!(read.prompt, Tokens::new(expected), "{messages}");
    }
    let text = "x".repeat(1_000);
    for message in [
        format!(r#"{{"role":"{text}"}}"#),
        format!(r#"{{"role":{{"{text}":1}}}}"#),
        format!(r#"{{"url":"{text}"}}"#),
        format!(r#"{{"{text}":1}}"#),
        format!(r#"{{"content":{{"{text}":1}}}}"#),
        format!(r#"{{"content":[{{"type":"{text}"}}]}}"#),
        format!(r#"{{"tool_calls":[{{"type":"{text}"}}]}}"#),
        format!(r#"{{"tool_calls":[{{"{text}":1}}]}}"#),
    ] {
        let read = call(&format!(r#"{{"messages":[{message}]}}"#));
        assert!(read.prompt >= Tokens::new(999), "{message}");
    }
}

#[test]
fn a_message_that_could_be_read_in_two_ways_is_refused() {
    for message in [
        r#"{"content":"a","content":"b"}"#,
        r#"{"content":"a","Content":"b"}"#,
        r#"{"c\u006fntent":"a"}"#,
    ] {
        let body = format!(r#"{{"messages":[{message}]}}"#);
        assert!(read(body.as_bytes(), &Bounds::default()).is_err(), "{body}");
    }
}

#[test]
fn a_search_by_the_provider_is_asked_for_once() {
    let extras = call(r#"{"web_search_options":{}}"#).extras;
    assert_eq!(extras.hosted, [("web_search".to_owned(), Some(1))]);
    assert!(extras.has_unshown_call);
    let none = call(r#"{"web_search_options":null,"plugins":null,"enable_search":false}"#);
    assert_eq!(
        (none.prompt, none.extras),
        (Tokens::ZERO, Extras::default())
    );
}

#[test]
fn missing_members_are_added() {
    let changes = Changes {
        model: Some("m"),
        limit: LIMIT,
        ..Changes::default()
    };
    assert_eq!(
        rewritten("{}", &changes),
        r#"{"model":"m","max_tokens":50}"#
    );
    assert_eq!(
        rewritten(r#"{"stream":true,"a":1}"#, &changes),
        r#"{"model":"m","max_tokens":50,"stream_options":{"include_usage":true},"stream":true,"a":1}"#
    );
    for nulls in [
        r#"{"model":null,"a":1,"max_tokens":null}"#,
        r#"{"a":1,"model":null , "max_tokens":null}"#,
        r#"{"model":null}"#,
    ] {
        let text = rewritten(nulls, &changes);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (value["model"].as_str(), value["max_tokens"].as_u64()),
            (Some("m"), Some(50)),
            "{text}"
        );
        assert_eq!(text.matches("model").count(), 1, "{text}");
    }
}

#[test]
fn a_stream_is_always_asked_for_its_usage() {
    for (options, expected) in [
        ("{}", r#"{"include_usage":true}"#),
        (r#"{"x":1}"#, r#"{"include_usage":true,"x":1}"#),
        (
            r#"{"include_usage":false,"x":1}"#,
            r#"{"include_usage":true,"x":1}"#,
        ),
        (r#"{"include_usage":true}"#, r#"{"include_usage":true}"#),
    ] {
        let body = format!(r#"{{"stream":true,"stream_options":{options}}}"#);
        let text = rewritten(&body, &Changes::default());
        assert_eq!(
            text,
            format!(r#"{{"stream":true,"stream_options":{expected}}}"#)
        );
    }
}

const PLAIN: &str = r#"{"choices":[{"message":{"role":"assistant","content":"Hello"}}],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":null}}"#;

#[test]
fn usage_counts_a_cached_part_once_and_absent_is_not_zero() {
    let reading = meter(PLAIN.as_bytes());
    let usage = reading.usage().unwrap();
    assert_eq!(
        (
            usage.uncached_input.count(),
            usage.cache_read.count(),
            usage.output.count()
        ),
        (5, 4, 5)
    );
    assert_eq!(usage.total(), Tokens::new(14));
    assert_eq!(meter(br#"{"choices":[]}"#).usage(), None);
    assert_eq!(meter(br#"{"choices":[],"usage":null}"#).usage(), None);
    assert_eq!(meter(br#"{"choices":[],"usage":{}}"#).usage(), None);
    let nought = meter(br#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#);
    assert_eq!(nought.usage().unwrap().total(), Tokens::ZERO);
}

const STREAM: &str = concat!(
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hé\"}}],\"usage\":null}\n\n",
    ": keep-alive\n\n",
    "data: {\"usage\":null,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\r\n\r\n",
    "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
);

const WITHOUT_USAGE: &str = concat!(
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hé\"}}]}\n\n",
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\r\n\r\n",
    "data: [DONE]\n\n",
);

fn streamed(wants_usage: bool, pieces: &[&[u8]]) -> (String, Reading) {
    let mut meter = StreamMeter::new(&Call {
        wants_usage,
        answers: 1,
        ..Call::default()
    });
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(meter.feed(piece));
    }
    out.extend(meter.finish());
    (
        String::from_utf8_lossy(&out).into_owned(),
        meter.reading().clone(),
    )
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_usage_and_the_same_bytes(
        cuts in proptest::collection::vec(0usize..STREAM.len(), 0..12),
        wants_usage: bool,
    ) {
        let pieces = pieces(STREAM.as_bytes(), cuts);
        let (text, reading) = streamed(wants_usage, &pieces);
        prop_assert_eq!(text.as_str(), if wants_usage { STREAM } else { WITHOUT_USAGE });
        prop_assert_eq!(reading.usage().unwrap().total(), Tokens::new(14));
        prop_assert_eq!((reading.delivered.kept.as_str(), reading.delivered.bytes), ("Héllo", 6));
        prop_assert!(reading.complete);
    }

    #[test]
    fn rewrite_changes_only_the_requested_members(
        members in proptest::collection::btree_map("[a-w]{1,6}", "\\PC{0,8}", 0..5),
        model in proptest::option::of("[a-z]{1,5}"),
        stream: bool,
    ) {
        let mut object: serde_json::Map<String, serde_json::Value> =
            members.into_iter().filter(|(name, _)| !["n", "model", "stream", "tools"].contains(&name.as_str()))
                .map(|(name, value)| (name, value.into())).collect();
        if let Some(model) = model {
            object.insert("model".into(), model.into());
        }
        object.insert("stream".into(), stream.into());
        let text = serde_json::to_string(&object).unwrap();
        let changed = rewritten(&text, &Changes { model: Some("new"), limit: LIMIT, ..Changes::default() });
        let mut value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&changed).unwrap();
        prop_assert_eq!(value["model"].as_str(), Some("new"));
        prop_assert_eq!(value.remove("max_tokens").unwrap().as_u64(), Some(50));
        prop_assert_eq!(value.remove("stream_options").is_some(), stream);
        object.insert("model".into(), "new".into());
        prop_assert_eq!(value, object);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, &Bounds::default());
        let _ = meter(&bytes);
        let _ = streamed(false, &[&bytes]);
    }
}

/// A server that flattens nested lists would find images where only bytes were counted.
#[test]
fn a_list_of_messages_holds_no_other() {
    let body = |messages: &str| format!(r#"{{"messages":[{messages}]}}"#);
    let read = |messages: &str| read(body(messages).as_bytes(), &Bounds::default());
    assert!(read(r#"[{"role":"user","content":"a"}]"#).is_err());
    assert!(read(r#""a",null"#).is_ok());
}

/// Some servers end a stream with its last chunk, and send no `[DONE]`.
#[test]
fn stream_without_done_is_complete_when_every_choice_has_ended() {
    let chunk = |index: u64, reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n";
    let reading = |answers: u64, text: String| {
        let mut meter = StreamMeter::new(&Call {
            answers,
            ..Call::default()
        });
        meter.feed(text.as_bytes());
        assert!(!meter.reading().complete);
        meter.finish();
        meter.reading().clone()
    };
    let ended = chunk(0, "\"stop\"");
    let whole = reading(1, format!("{}{ended}{usage}", chunk(0, "null")));
    assert!(whole.complete);
    assert_eq!(whole.usage().map(|usage| usage.output.count()), Some(2));
    let with_usage = |text: &str| format!("{text}{usage}");
    assert!(!reading(1, ended.clone()).complete, "without usage");
    assert!(!reading(1, with_usage(&chunk(0, "null"))).complete);
    assert!(!reading(2, with_usage(&ended)).complete);
    let other = chunk(1, "null");
    assert!(!reading(1, with_usage(&format!("{ended}{other}"))).complete);
    let other = chunk(1, "\"length\"");
    assert!(reading(2, with_usage(&format!("{ended}{other}"))).complete);
}
