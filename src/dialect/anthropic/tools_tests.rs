//! Tests of tools in a Messages call: collected, removed, limited.

use super::*;
use crate::dialect::Dialect;
use crate::dialect::anthropic::messages::Messages;
use crate::dialect::call::{Body, Bounds, Call};

fn read_call(members: &str) -> Result<Call, Unreadable> {
    let body = format!(r#"{{"max_tokens":9,{members}}}"#);
    Messages.read(&Body::json(body.as_bytes()), &Bounds::default())
}

fn without(members: &str, removed: &[&str], calls: Option<u64>) -> String {
    let removed: Vec<String> = removed.iter().map(|name| (*name).to_owned()).collect();
    let changes = Changes {
        removed: &removed,
        calls,
        ..Changes::default()
    };
    let body = format!(r#"{{"max_tokens":9,{members}}}"#);
    let body = Messages.rewrite(&Body::json(body.as_bytes()), &changes);
    String::from_utf8(body.unwrap()).unwrap()
}

const OWN: &str = r#"{"name":"f","input_schema":{}}"#;

#[test]
fn a_providers_own_tools_are_found_and_taken_out() {
    for (kind, name) in [
        ("web_search_20250305", "web_search"),
        ("web_search_20260209", "web_search"),
        ("web_fetch_20250910", "web_fetch"),
        ("code_execution_20250825", "code_execution"),
        ("mcp_toolset", "mcp_toolset"),
        ("advisor_20260301", "advisor"),
    ] {
        let tool = format!(r#"{{"type":"{kind}","name":"x"}}"#);
        let members = format!(r#""tools":[{OWN},{tool}],"tool_choice":{{"type":"auto"}}"#);
        let extras = read_call(&members).unwrap().extras;
        assert_eq!(extras.hosted, [(name.to_owned(), None)]);
        assert_eq!(
            without(&members, &[name], None),
            format!(r#"{{"max_tokens":9,"tools":[{OWN}],"tool_choice":{{"type":"auto"}}}}"#)
        );
        let alone = format!(r#""tools":[{tool}],"tool_choice":{{"type":"auto"}}"#);
        assert_eq!(without(&alone, &[name], None), r#"{"max_tokens":9}"#);
    }
    let members = r#""mcp_servers":[{"url":"https://x"}],"container":"c""#;
    let extras = read_call(members).unwrap().extras;
    assert_eq!(extras.hosted.len(), 2);
    let left = without(members, &["mcp_servers", "container"], None);
    assert_eq!(left, r#"{"max_tokens":9}"#);
    for good in [
        "bash_20250124",
        "text_editor_20250728",
        "computer_20250124",
        "custom",
    ] {
        let members = format!(r#""tools":[{{"type":"{good}","name":"x"}}]"#);
        assert!(
            read_call(&members).unwrap().extras.hosted.is_empty(),
            "{good}"
        );
    }
    let unknown = r#""tools":[{"type":"new_20300101","name":"x"}]"#;
    assert!(read_call(unknown).unwrap_err().0.contains("new_20300101"));
}

#[test]
fn forced_tools_are_recognised() {
    let web = r#"{"type":"web_search_20250305","name":"web_search"}"#;
    for (tools, choice, forced) in [
        (web.to_owned(), r#"{"type":"any"}"#, true),
        (format!("{OWN},{web}"), r#"{"type":"any"}"#, false),
        (
            format!("{OWN},{web}"),
            r#"{"type":"tool","name":"web_search"}"#,
            true,
        ),
        (
            format!("{OWN},{web}"),
            r#"{"type":"tool","name":"f"}"#,
            false,
        ),
        (web.to_owned(), r#"{"type":"auto"}"#, false),
    ] {
        let members = format!(r#""tools":[{tools}],"tool_choice":{choice}"#);
        let extras = read_call(&members).unwrap().extras;
        assert_eq!(!extras.forced.is_empty(), forced, "{members}");
    }
}

#[test]
fn the_calls_of_what_is_priced_are_bounded() {
    let tools = r#""tools":[{"type":"web_search_20250305","name":"a"},{"type":"web_search_20250305","name":"b","max_uses":9},{"max_uses":2,"type":"web_search_20250305","name":"c"}]"#;
    let hosted = read_call(tools).unwrap().extras.hosted;
    let calls: Vec<_> = hosted.iter().map(|(_, calls)| *calls).collect();
    assert_eq!(calls, [None, Some(9), Some(2)]);
    let left = without(tools, &[], Some(5));
    assert!(
        left.contains(r#"[{"max_uses":5,"type":"web_search_20250305","name":"a"},"#),
        "{left}"
    );
    assert!(left.contains(r#""name":"b","max_uses":5}"#), "{left}");
    assert!(left.contains(r#"{"max_uses":2,"#), "{left}");
    assert!(read_call(r#""tools":[{"type":"web_search_20250305","max_uses":1e9}]"#).is_err());
}

#[test]
fn surcharged_members_are_removed() {
    let edits = |edits: &str| format!(r#""context_management":{{"edits":[{edits}]}}"#);
    let clear = r#"{"type":"clear_tool_uses_20250919"}"#;
    let compact = r#"{"type":"compact_20260112"}"#;
    for (members, dear, left) in [
        (r#""speed":"fast""#.to_owned(), "speed", String::new()),
        (
            r#""service_tier":"priority""#.to_owned(),
            "service_tier",
            String::new(),
        ),
        (
            r#""inference_geo":"us""#.to_owned(),
            "inference_geo",
            String::new(),
        ),
        (r#""compaction":{}"#.to_owned(), "compaction", String::new()),
        (edits(compact), "compact", String::new()),
        (
            edits(&format!("{clear},{compact}")),
            "compact",
            format!(",{}", edits(clear)),
        ),
    ] {
        assert_eq!(read_call(&members).unwrap().extras.surcharged, [dear]);
        let expected = format!(r#"{{"max_tokens":9{left}}}"#);
        assert_eq!(without(&members, &[dear], None), expected);
    }
    let plain = format!(
        r#""speed":"standard","service_tier":"auto",{}"#,
        edits(clear)
    );
    assert!(read_call(&plain).unwrap().extras.surcharged.is_empty());
}

#[test]
fn tools_that_a_message_brings_along_run_at_the_client() {
    let message = |tool: &str| {
        format!(
            r#""messages":[{{"role":"system","content":[{{"type":"tool_addition","tool":{tool}}}]}}]"#
        )
    };
    assert!(read_call(&message(OWN)).is_ok());
    let web = r#"{"type":"web_search_20250305","name":"w"}"#;
    assert!(read_call(&message(web)).is_err());
    let listed = format!(r#""messages":[{{"role":"system","content":"","tools":[{web}]}}]"#);
    assert!(read_call(&listed).is_err());
}
