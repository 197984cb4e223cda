//! Hosted tools are found anywhere in a body, and removed together with everything that refers to them.

use super::*;
use crate::dialect::call::{Body, Bounds, Call};
use crate::dialect::{Dialect, openai};

fn hosted(call: &Call) -> Vec<&str> {
    let names = call.extras.hosted.iter();
    names.map(|(name, _)| name.as_str()).collect()
}

fn read(dialect: &dyn Dialect, body: &str) -> Result<Call, Unreadable> {
    dialect.read(&Body::json(body.as_bytes()), &Bounds::default())
}

fn without(dialect: &dyn Dialect, body: &str, removed: &[&str]) -> String {
    let removed: Vec<String> = removed.iter().map(|name| (*name).to_owned()).collect();
    let changes = Changes {
        removed: &removed,
        ..Changes::default()
    };
    let body = dialect
        .rewrite(&Body::json(body.as_bytes()), &changes)
        .unwrap();
    String::from_utf8(body).unwrap()
}

const CHAT: &dyn Dialect = &openai::chat::Chat;
const RESPONSES: &dyn Dialect = &openai::responses::Responses;

#[test]
fn a_providers_own_tools_are_found_by_name_wherever_they_stand() {
    for (tool, name) in [
        (
            r#"{"type":"file_search","vector_store_ids":["vs_1"]}"#,
            "file_search",
        ),
        (
            r#"{"type":"code_interpreter","container":{"type":"auto"}}"#,
            "code_interpreter",
        ),
        (r#"{"type":"image_generation"}"#, "image_generation"),
        (r#"{"type":"mcp","server_label":"x"}"#, "mcp"),
        (r#"{"type":"web_search"}"#, "web_search"),
        (r#"{"type":"web_search_preview"}"#, "web_search"),
        (r#"{"type":"web_search_preview_2025_03_11"}"#, "web_search"),
        (r#"{"type":"web\u005fsearch"}"#, "web_search"),
        (
            r#"{"type":"shell","environment":{"type":"container_auto"}}"#,
            "shell",
        ),
        (r#"{"type":"tool_search"}"#, "tool_search"),
        (
            r#"{"type":"namespace","tools":[{"type":"web_search"}]}"#,
            "web_search",
        ),
    ] {
        for body in [
            format!(r#"{{"tools":[{tool}]}}"#),
            format!(r#"{{"input":[{{"type":"additional_tools","tools":[{tool}]}}]}}"#),
            format!(r#"{{"input":[{{"type":"tool_search_output","tools":[{tool}]}}]}}"#),
        ] {
            let call = read(RESPONSES, &body).expect(&body);
            assert_eq!(hosted(&call), [name], "{body}");
            let left = without(RESPONSES, &body, &[name]);
            assert!(
                !left.contains(r#""type":"web"#) && !left.contains("_search\""),
                "{left}"
            );
            let call = read(RESPONSES, &left).expect(&left);
            assert!(call.extras.hosted.is_empty(), "{left}");
        }
    }
    for (tool, name) in [
        (
            r#"{"type":"openrouter:web_search"}"#,
            "openrouter:web_search",
        ),
        (
            r#"{"type":"builtin_function","function":{"name":"$web_search"}}"#,
            "builtin_function",
        ),
        (r#"{"type":"browser_search"}"#, "browser_search"),
        (r#"{"type":"shell"}"#, "shell"),
    ] {
        let call = read(CHAT, &format!(r#"{{"tools":[{tool}]}}"#)).expect(tool);
        assert_eq!(hosted(&call), [name]);
    }
    for bad in [
        r#"{"type":"new"}"#,
        r#"{"google_search":{}}"#,
        "7",
        r#"{"Type":"function"}"#,
    ] {
        assert!(
            read(CHAT, &format!(r#"{{"tools":[{bad}]}}"#)).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn removed_tool_takes_its_tool_choice_along() {
    let own = r#"{"type":"function","name":"f"}"#;
    for (body, left) in [
        (
            r#"{"tools":[{"type":"web_search"},OWN],"tool_choice":"auto"}"#,
            r#"{"store":false,"tools":[OWN],"tool_choice":"auto"}"#,
        ),
        (
            r#"{"tools":[{"type":"web_search"}],"tool_choice":"auto","parallel_tool_calls":true}"#,
            r#"{"store":false}"#,
        ),
        (
            r#"{"tools":[OWN,{"type":"namespace","tools":[{"type":"web_search"}]}]}"#,
            r#"{"store":false,"tools":[OWN]}"#,
        ),
        (
            r#"{"tools":[{"type":"namespace","tools":[{"type":"web_search"},OWN]}]}"#,
            r#"{"store":false,"tools":[{"type":"namespace","tools":[OWN]}]}"#,
        ),
        (
            r#"{"tools":[OWN,{"type":"web_search"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[OWN,{"type":"web_search"}]}}"#,
            r#"{"store":false,"tools":[OWN],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[OWN]}}"#,
        ),
        (
            r#"{"include":["web_search_call.action.sources","reasoning.encrypted_content"],"tools":[{"type":"web_search"}]}"#,
            r#"{"store":false,"include":["reasoning.encrypted_content"]}"#,
        ),
        (
            r#"{"include":["web_search_call.results"],"tools":[{"type":"web_search"}]}"#,
            r#"{"store":false}"#,
        ),
        (
            r#"{"input":[{"type":"additional_tools","role":"developer","tools":[{"type":"web_search"}]},{"role":"user","content":"Hi"}]}"#,
            r#"{"store":false,"input":[{"type":"additional_tools","role":"developer","tools":[]},{"role":"user","content":"Hi"}]}"#,
        ),
    ] {
        let (body, left) = (body.replace("OWN", own), left.replace("OWN", own));
        assert_eq!(without(RESPONSES, &body, &["web_search"]), left);
    }
    let body = r#"{"model":"m","web_search_options":{},"plugins":[{"id":"web"}],"enable_search":false,"tools":[{"type":"browser_search"}],"tool_choice":"auto"}"#;
    let call = read(CHAT, body).unwrap();
    assert_eq!(hosted(&call), ["web_search", "plugins", "browser_search"]);
    assert_eq!(
        without(CHAT, body, &hosted(&call)),
        r#"{"model":"m","enable_search":false}"#
    );
}

#[test]
fn forced_tools_are_recognised() {
    let own = r#"{"type":"function","name":"f"}"#;
    let forced = |tools: &str, choice: &str| {
        let body = format!(r#"{{"tools":[{tools}],"tool_choice":{choice}}}"#);
        read(RESPONSES, &body).expect(choice).extras.forced
    };
    let web = r#"{"type":"web_search"}"#;
    for (tools, choice) in [
        (web, r#""required""#.to_owned()),
        (web, r#"{"type":"web_search_preview"}"#.to_owned()),
        (own, r#"{"type":"web_search"}"#.to_owned()),
        (
            web,
            format!(r#"{{"type":"allowed_tools","tools":[{web}]}}"#),
        ),
        (
            web,
            format!(r#"{{"type":"allowed_tools","allowed_tools":{{"tools":[{web}]}}}}"#),
        ),
    ] {
        assert_eq!(forced(tools, &choice), ["web_search"], "{tools} {choice}");
    }
    let both = format!("{own},{web}");
    for choice in [
        r#""required""#.to_owned(),
        r#""auto""#.to_owned(),
        r#"{"type":"function","name":"f"}"#.to_owned(),
        r#"{"type":"shell"}"#.to_owned(),
        format!(r#"{{"type":"allowed_tools","tools":[{own},{web}]}}"#),
    ] {
        assert!(forced(&both, &choice).is_empty(), "{choice}");
    }
}

#[test]
fn tiers_that_cost_more_are_taken_out() {
    for (tier, is_surcharged) in [
        ("priority", true),
        ("fast", true),
        ("auto", false),
        ("flex", false),
    ] {
        let body = format!(r#"{{"service_tier":"{tier}"}}"#);
        for dialect in [CHAT, RESPONSES] {
            let dear = read(dialect, &body).unwrap().extras.surcharged;
            assert_eq!(!dear.is_empty(), is_surcharged, "{tier}");
            let left = without(dialect, &body, &["service_tier"]);
            assert!(!left.contains("tier"), "{left}");
        }
    }
    let body = r#"{"multi_agent":{"enabled":true}}"#;
    assert_eq!(
        read(RESPONSES, body).unwrap().extras.surcharged,
        ["multi_agent"]
    );
}
