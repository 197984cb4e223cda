//! Generated text in every shape that servers write it.

use super::*;

fn said(choice: &str) -> Delivered {
    let mut delivered = Delivered::default();
    super::choice(&Value::of(choice.as_bytes()), &mut delivered);
    delivered
}

#[test]
fn everything_a_model_says_counts_once() {
    for (piece, kept) in [
        (
            r#"{"index":0,"message":{"role":"assistant","content":"a","refusal":"b"}}"#,
            "ab",
        ),
        (
            r#"{"delta":{"reasoning_content":"r","reasoning":"r","content":null}}"#,
            "r",
        ),
        (r#"{"delta":{"reasoning_content":"","reasoning":"r"}}"#, "r"),
        (
            r#"{"delta":{"content":[{"type":"text","text":"a"},{"type":"thinking","thinking":[{"text":"b"}]}]}}"#,
            "ab",
        ),
        (
            r#"{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]}}"#,
            "f{}",
        ),
        (
            r#"{"delta":{"tool_calls":{"function":{"name":"f","arguments":{"a":"b"}}}}}"#,
            "fb",
        ),
        (r#"{"delta":{"function_call":{"name":"f"}}}"#, "f"),
        (r#"{"delta":{"content":"a","content":"b"}}"#, "ab"),
        (r#"{"delta":{"con\u0074ent":"a"}}"#, "a"),
        (
            r#"{"text":"a","logprobs":{"tokens":["a"]},"finish_reason":"stop"}"#,
            "a",
        ),
        (r#"{"delta":"a"}"#, "a"),
    ] {
        assert_eq!(said(piece).kept, kept, "{piece}");
    }
}

#[test]
fn audio_images_and_unknown_members_count_beside_text() {
    let delivered = said(r#"{"delta":{"audio":{"id":"a","data":"AAAAAAAA","transcript":"hi"}}}"#);
    assert_eq!(
        (delivered.sound, delivered.unsure, delivered.bytes),
        (6, 4, 0)
    );
    let delivered = said(r#"{"message":{"images":[{"image_url":{"url":"data:"}}]}}"#);
    assert_eq!(delivered.images, 1);
    let delivered = said(r#"{"delta":{"reasoning_details":[{"text":"abc"}],"content":""}}"#);
    assert_eq!((delivered.unsure, delivered.bytes), (16, 0));
}

#[test]
fn unreadable_json_counts_its_bytes() {
    let broken = r#"{"delta":{"content":"a" "b"}}"#;
    assert_eq!(said(broken).bytes, 2 + 19);
    let broken = r#"{"delta":{"content":"abc""#;
    assert!(said(broken).bytes >= broken.len() as u64);
    let lone = r#"{"delta":{"content":"\ud83d abc"}}"#;
    assert_eq!(said(lone).kept, "\u{fffd} abc");
}

#[test]
fn a_usage_in_a_choice_is_found() {
    let mut delivered = Delivered::default();
    let choice = br#"{"delta":{},"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let claim = super::choice(&Value::of(choice), &mut delivered)
        .claim
        .unwrap();
    assert_eq!(claim.usage().total().count(), 7);
}
