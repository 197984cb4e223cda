//! Fixtures and properties of `messages`: parsing and rewriting of calls.

use super::*;
use crate::dialect::call::Limit;
use crate::rules::amount::Tokens;
use proptest::prelude::*;

fn read(text: &str) -> Result<Call, Unreadable> {
    Messages.read(&Body::json(text.as_bytes()), &Bounds::default())
}

fn rewritten(text: &str, changes: &Changes<'_>) -> String {
    let body = Messages.rewrite(&Body::json(text.as_bytes()), changes);
    String::from_utf8(body.unwrap()).unwrap()
}

const CHANGES: Changes<'_> = Changes {
    cache_key: None,
    model: Some("b\"c"),
    limit: Some(Limit {
        tokens: 50,
        name: "max_completion_tokens",
        always: true,
    }),
    removed: &[],
    calls: None,
};

#[test]
fn a_call_is_read() {
    let call = read(
        r#"{"max_tokens":1024,"x":{"model":"no"},"model":"claude\u002dx","messages":[{"role":"user","content":"Hello"}],"stream":true}"#,
    )
    .unwrap();
    assert_eq!(call.model.as_deref(), Some("claude-x"));
    assert_eq!((call.stream, call.limit), (true, Some(1024)));
    assert_eq!((call.answers, call.answer, call.free), (1, None, false));
    assert_eq!(call.prompt, Tokens::new(8 + 5 + 14));
    let bare = read(r#"{"max_tokens":0,"model":null,"stream":null}"#).unwrap();
    assert_eq!(
        (bare.model, bare.stream, bare.limit),
        (None, false, Some(0))
    );
}

#[test]
fn a_limit_is_required() {
    for body in ["{}", r#"{"max_tokens":null}"#] {
        assert_eq!(
            read(body),
            Err(Unreadable("max_tokens is required".to_owned()))
        );
    }
}

#[test]
fn a_body_that_could_be_read_in_two_ways_is_refused() {
    for bad in [
        "",
        "[]",
        "[\"a\",1,true]",
        "nonsense",
        r#"{"max_tokens":1"#,
        r#"{"max_tokens":1,"max_tokens":2}"#,
        r#"{"max_tokens":1,"messages":[],"messages":[]}"#,
        r#"{"max_tokens":1,"tools":[],"tools":[]}"#,
        r#"{"max_tokens":1,"system":"","system":""}"#,
        r#"{"max_tokens":1,"model":1}"#,
        r#"{"max_tokens":1,"stream":"yes"}"#,
        r#"{"max_tokens":-1}"#,
        r#"{"max_tokens":1.5}"#,
        r#"{"max_tokens":1e3}"#,
        r#"{"max_tokens":"1"}"#,
        r#"{"max_tokens":1,"messages":{}}"#,
        r#"{"max_tokens":1,"mess\u0061ges":[]}"#,
        r#"{"max_tokens":1,"Max_Tokens":1000000}"#,
        r#"{"max_tokens":1} {}"#,
        "{\"max_tokens\":1,\"messages\":[\u{0}]}",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let latin = b"{\"max_tokens\":1,\"model\":\"\xff\"}";
    assert!(
        Messages
            .read(&Body::json(latin), &Bounds::default())
            .is_err()
    );
}

#[test]
fn only_what_must_change_is_changed() {
    let body = r#" { "system" : [ {"text":"é\u00e9", "cache_control":{"type":"ephemeral"}} ],"model" : "a" ,"z":1.50, "max_tokens": 900 , "thinking":{"budget_tokens":800} } "#;
    assert_eq!(
        rewritten(body, &CHANGES),
        r#" { "system" : [ {"text":"é\u00e9", "cache_control":{"type":"ephemeral"}} ],"model" : "b\"c" ,"z":1.50, "max_tokens": 50 , "thinking":{"budget_tokens":800} } "#
    );
    assert_eq!(rewritten(body, &Changes::default()), body);
    assert_eq!(
        rewritten(r#"{"max_tokens":900}"#, &CHANGES),
        r#"{"model":"b\"c","max_tokens":50}"#
    );
    assert_eq!(
        rewritten(r#"{"model":null,"max_tokens":900}"#, &CHANGES),
        r#"{"model":"b\"c","max_tokens":50}"#
    );
}

proptest! {
    #[test]
    fn rewrite_changes_only_the_requested_members(
        members in proptest::collection::btree_map("[a-w]{1,6}", "\\PC{0,8}", 0..5),
        model in proptest::option::of("[a-z]{1,5}"),
        limit: u32,
    ) {
        let mut object: serde_json::Map<String, serde_json::Value> = members
            .into_iter()
            .filter(|(name, _)| !prompt::KNOWN.contains(&name.as_str()))
            .map(|(name, value)| (name, value.into()))
            .collect();
        if let Some(model) = model {
            object.insert("model".into(), model.into());
        }
        object.insert("max_tokens".into(), limit.into());
        let text = serde_json::to_string(&object).unwrap();
        prop_assert_eq!(rewritten(&text, &Changes::default()), text.as_str());
        let changed = rewritten(&text, &CHANGES);
        object.insert("model".into(), "b\"c".into());
        object.insert("max_tokens".into(), 50.into());
        let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&changed).unwrap();
        prop_assert_eq!(value, object);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Messages.read(&Body::json(&bytes), &Bounds::default());
        let _ = Messages.rewrite(&Body::json(&bytes), &CHANGES);
        let _ = Messages.meter(&Call::default(), &bytes);
    }

    #[test]
    fn any_prompt_is_read_without_panic(
        prompt in "(\\{|\\}|\\[|\\]|\"|,|:|\\\\|\"type\":|\"source\":|\"content\":|\"base64\"|\"data\":|1){0,30}",
    ) {
        let _ = read(&format!(r#"{{"max_tokens":1,"messages":{prompt}}}"#));
        let _ = read(&format!(r#"{{"max_tokens":1,"messages":[{{"content":[{{{prompt}}}]}}]}}"#));
    }
}
