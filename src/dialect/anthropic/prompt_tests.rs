//! Tests of the bounds of prompts, by kind of content.

use super::*;
use proptest::prelude::*;

const IMAGE: u64 = 4_000;

fn of(text: &str) -> Result<u64, Unreadable> {
    let (_, prompt) = read(text.as_bytes(), &Bounds::default())?;
    Ok(prompt.prompt.count())
}

/// Returns the tokens of one block in one message, without the 8 tokens of each one's frame.
fn of_block(block: &str) -> u64 {
    let body = format!(r#"{{"messages":[{{"role":"user","content":[{block}]}}]}}"#);
    of(&body).unwrap() - 16
}

#[test]
fn every_kind_of_content_has_its_bound() {
    let base64 = |kind: &str, media: &str, length: usize| {
        let data = "A".repeat(length);
        format!(
            r#"{{"type":"{kind}","source":{{"type":"base64","media_type":"{media}","data":"{data}"}}}}"#
        )
    };
    for (block, expected) in [
        (r#"{"type":"text","text":"Hello"}"#, 5),
        (
            r#"{"cache_control":{"type":"ephemeral"},"type":"text","text":"Hello"}"#,
            5,
        ),
        (
            r#"{"type":"thinking","thinking":"Hm","signature":"abc"}"#,
            4 + 5,
        ),
        (
            r#"{"type":"tool_use","id":"t","name":"n","input":{"url":"https://x.example","role":"a"}}"#,
            3 + 3 + r#"{"url":"https://x.example","role":"a"}"#.len() as u64,
        ),
        (
            r#"{"type":"tool_result","tool_use_id":"t","content":"ok"}"#,
            3 + 2,
        ),
        (
            r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"ok"},{"type":"image","source":{"type":"url","url":"https://f"}}]}"#,
            3 + 8 + 2 + 8 + IMAGE,
        ),
        (&base64("image", "image/png", 1_000_000), IMAGE),
        (&base64("document", "application/pdf", 10), IMAGE),
        (&base64("document", "application/pdf", 50_001), 2 * IMAGE),
        // Not a PDF: its bytes may be text.
        (
            &base64("document", "text/plain", 100),
            100 + r#"{"type":"base64","media_type":"text/plain","data":""}"#.len() as u64,
        ),
        (
            r#"{"type":"image","source":{"type":"url","url":"https://x.example/a.png"}}"#,
            IMAGE,
        ),
        (
            r#"{"type":"document","source":{"type":"url","url":"https://x.example/a.pdf"}}"#,
            20 * IMAGE,
        ),
        (
            r#"{"type":"document","source":{"type":"\u0075rl","url":"https://x"}}"#,
            20 * IMAGE,
        ),
        (
            r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"Hello"}}"#,
            r#"{"type":"text","media_type":"text/plain","data":"Hello"}"#.len() as u64,
        ),
        (
            r#"{"type":"document","title":"T","source":{"type":"content","content":[{"type":"image","source":{"type":"url","url":"https://u"}}]}}"#,
            3 + 8 + IMAGE,
        ),
        (
            r#"{"type":"search_result","source":"https://x","title":"T","content":[{"type":"text","text":"ok"}]}"#,
            11 + 3 + 8 + 2,
        ),
        (
            r#"{"type":"web_fetch_tool_result","tool_use_id":"t","content":{"type":"web_fetch_result","content":{"type":"document","source":{"type":"url","url":"https://u"}}}}"#,
            3 + 8 + 8 + 20 * IMAGE,
        ),
    ] {
        assert_eq!(of_block(block), expected, "{block}");
    }
}

#[test]
fn unknown_members_count_their_bytes_as_prompt() {
    assert_eq!(
        of(r#"{"messages":[{"role":"user","content":"Hello"}]}"#),
        Ok(8 + 5)
    );
    assert_eq!(of(r#"{"system":"Hello"}"#), Ok(8 + 5));
    assert_eq!(
        of(r#"{"system":[{"type":"text","text":"Hello"}]}"#),
        Ok(8 + 8 + 5)
    );
    assert_eq!(of(r#"{"messages":["odd",7]}"#), Ok(5 + 1));
    assert_eq!(
        of(r#"{"messages":[{"content":null,"x":[1,2]}]}"#),
        Ok(8 + 4 + 5)
    );
    assert_eq!(of(r#"{"thinking":{"type":"enabled"},"y":12}"#), Ok(18 + 2));
    for name in SETTINGS {
        assert_eq!(of(&format!(r#"{{"{name}":"{}"}}"#, "x".repeat(99))), Ok(0));
    }
}

/// Text can be hidden in any member that is expected to be small, such as `role`.
#[test]
fn a_member_of_the_frame_counts_beyond_its_usual_length() {
    let long = "a".repeat(200);
    let with_role = |role: &str| of(&format!(r#"{{"messages":[{{"role":{role}}}]}}"#)).unwrap();
    assert_eq!(with_role("\"assistant\"") - with_role("\"user\""), 0);
    assert_eq!(
        with_role(&format!("{{\"a\":\"{long}\"}}")) - with_role("\"user\""),
        208 - 11
    );
    let usual = of_block(r#"{"type":"text","cache_control":{"type":"ephemeral","ttl":"1h"}}"#);
    assert_eq!(usual, 0);
    assert_eq!(of_block(&format!(r#"{{"type":"{long}"}}"#)), 202 - 40);
    assert_eq!(
        of_block(&format!(r#"{{"cache_control":"{long}"}}"#)),
        202 - 60
    );
}

#[test]
fn a_source_that_is_a_text_may_be_an_address() {
    let of_kind = |kind: &str| of_block(&format!(r#"{{"type":"{kind}","source":"https://x"}}"#));
    assert_eq!(of_kind("image"), IMAGE);
    assert_eq!(of_kind("document"), 80_000);
    assert_eq!(of_kind("search_result"), 11);
}

#[test]
fn a_list_of_messages_holds_no_other() {
    assert!(of(r#"{"messages":[[{"role":"user","content":"a"}]]}"#).is_err());
    assert!(of(r#"{"messages":["a"]}"#).is_ok());
}

#[test]
fn tools_count_with_what_the_provider_adds_for_them() {
    let of_tools = |tools: &str| of(&format!(r#"{{"tools":{tools}}}"#)).unwrap();
    let custom = r#"{"name":"n","input_schema":{"type":"object"}}"#;
    assert_eq!(of_tools("[]"), 0);
    assert_eq!(of_tools("null"), 4);
    assert_eq!(
        of_tools(&format!("[{custom}]")),
        1_000 + custom.len() as u64
    );
    for kind in [
        "custom",
        "bash_20250124",
        "text_editor_20250728",
        "computer_20250124",
        "memory_20250818",
    ] {
        let tool = format!(r#"{{"type":"{kind}","name":"n"}}"#);
        let expected = 1_000 + tool.len() as u64;
        assert_eq!(of_tools(&format!("[{tool}]")), expected, "{kind}");
    }
}

#[test]
fn files_of_the_operators_account_are_nobody_elses() {
    let block = |block: &str| of(&format!(r#"{{"messages":[{{"content":[{block}]}}]}}"#));
    for bad in [
        r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#,
        r#"{"type":"document","source":{"type":"file"}}"#,
        r#"{"type":"image","source":{"type":"url","url":"x","file_id":"f"}}"#,
        r#"{"type":"container_upload","file_id":"f"}"#,
        r#"{"type":"tool_result","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}"#,
    ] {
        assert!(block(bad).unwrap_err().0.starts_with("file_id"), "{bad}");
    }
}

#[test]
fn a_prompt_that_could_be_read_in_two_ways_is_refused() {
    let block = |block: &str| of(&format!(r#"{{"messages":[{{"content":[{block}]}}]}}"#));
    for bad in [
        r#"{"type":"document","\u0073ource":{"type":"url"}}"#,
        r#"{"type":"document","type":"image","source":{"type":"url"}}"#,
        r#"{"type":"image","Type":"document","source":{"type":"url"}}"#,
        r#"{"type":"document","source":{"type":"url","typ\u0065":"text"}}"#,
        r#"{"type":"document","source":{"type":"text","type":"url"}}"#,
    ] {
        assert!(block(bad).is_err(), "{bad}");
    }
    for bad in [
        r#"{"messages":{}}"#,
        r#"{"messages":[{"content":"a","content":[]}]}"#,
        r#"{"tools":[{"type":"custom","type":"web_search"}]}"#,
    ] {
        assert!(of(bad).is_err(), "{bad}");
    }
    let nested = |depth: usize| {
        let (open, close) = (r#"{"content":["#.repeat(depth), "]}".repeat(depth));
        of(&format!(r#"{{"messages":[{open}{close}]}}"#))
    };
    assert!(nested(9).is_ok());
    assert!(nested(10).is_err());
    assert!(nested(100_000).is_err());
}

proptest! {
    /// Content other than images and documents never counts less than its strings, frames aside.
    #[test]
    fn text_never_counts_less_than_its_bytes(
        parts in proptest::collection::vec(("\\PC{0,20}", 0..4usize), 0..6),
        system in "\\PC{0,20}",
    ) {
        let blocks: Vec<_> = parts.iter().map(|(text, kind)| match kind {
            0 => serde_json::json!({"type": "text", "text": text}),
            1 => serde_json::json!({"type": "tool_use", "id": "t", "name": "n", "input": {(text): 1}}),
            2 => serde_json::json!({"type": "tool_result", "content": [{"type": "text", "text": text}]}),
            _ => serde_json::json!({"type": "document", "source": {"type": "text", "data": text}}),
        }).collect();
        let body = serde_json::json!({"system": system, "messages": [{"role": "user", "content": blocks}]});
        let bytes = system.len() + parts.iter().map(|(text, _)| text.len()).sum::<usize>();
        prop_assert!(of(&body.to_string()).unwrap() >= bytes as u64);
    }
}
