//! Fixtures and properties of `responses`.

use super::*;
use crate::dialect::call::Limit;
use proptest::prelude::*;

fn call(text: &str) -> Result<Call, Unreadable> {
    read(text.as_bytes(), &Bounds::default())
}

fn prompt_of(input: &str) -> u64 {
    let body = format!(r#"{{"input":{input}}}"#);
    call(&body).expect(input).prompt.count()
}

fn rewritten(text: &str, changes: &Changes<'_>) -> String {
    String::from_utf8(rewrite(text.as_bytes(), changes).unwrap()).unwrap()
}

const LIMIT: Option<Limit> = Some(Limit {
    tokens: 50,
    name: "max_tokens",
    always: true,
});

#[test]
fn a_call_is_read_without_its_unknown_members() {
    let read = call(
        r#"{"x":{"model":"no"},"model":"gpt\u002d5","instructions":"Be brief","input":"Hello","stream":true,"max_output_tokens":100,"temperature":0.5}"#,
    )
    .unwrap();
    assert_eq!(read.model.as_deref(), Some("gpt-5"));
    assert_eq!((read.stream, read.wants_usage), (true, true));
    assert_eq!((read.limit, read.answers), (Some(100), 1));
    // `instructions` (8 bytes), `input` (5), 8 framing tokens each, and the unknown member `x` (14).
    assert_eq!(read.prompt, Tokens::new(8 + 8 + 5 + 8 + 14));
    let bare = call(r#"{"input":[],"stream":null,"max_output_tokens":null,"background":false}"#);
    let bare = bare.unwrap();
    assert_eq!(
        (bare.stream, bare.limit, bare.prompt),
        (false, None, Tokens::ZERO)
    );
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
        r#"{"max_output_tokens":-1}"#,
        r#"{"max_output_tokens":0}"#,
        r#"{"max_output_tokens":1.5}"#,
        r#"{"input":{}}"#,
        r#"{"input":7}"#,
        r#"{"input":["a"]}"#,
        r#"{"input":[{"role":"user","content":[["a"]]}]}"#,
        r#"{"instructions":["a"]}"#,
        r#"{"max\u005foutput_tokens":null}"#,
        r#"{"Max_Output_Tokens":1000000}"#,
        r#"{"Store":true}"#,
        r#"{"input":[{"role":"user","type":"message","Type":"item_reference"}]}"#,
        "{} {}",
        "{\"input\":[\u{0}]}",
    ] {
        assert!(call(bad).is_err(), "{bad}");
    }
    assert!(read(b"{\"model\":\"\xff\"}", &Bounds::default()).is_err());
}

#[test]
fn members_with_unseen_context_are_refused() {
    for (bad, named) in [
        (r#"{"background":true}"#, "background"),
        (
            r#"{"previous_response_id":"resp_1"}"#,
            "previous_response_id",
        ),
        (r#"{"conversation":"conv_1"}"#, "conversation"),
        (r#"{"conversation":{"id":"conv_1"}}"#, "conversation"),
        (r#"{"prompt":{"id":"pmpt_1"}}"#, "prompt"),
        (
            r#"{"context_management":[{"type":"compaction"}]}"#,
            "context_management",
        ),
        (
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
            "item_reference",
        ),
        (
            r#"{"input":[{"type":"item\u005freference","id":"msg_1"}]}"#,
            "item_reference",
        ),
        (r#"{"input":[{"id":"msg_1"}]}"#, "type"),
        (r#"{"input":[{"type":null,"id":"msg_1"}]}"#, "type"),
        (
            r#"{"input":[{"type":"image_generation_call","id":"ig_1"}]}"#,
            "image_generation_call",
        ),
        (
            r#"{"input":[{"type":"compaction_trigger"}]}"#,
            "compaction_trigger",
        ),
        (
            r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
            "reasoning",
        ),
    ] {
        let Unreadable(why) = call(bad).unwrap_err();
        assert!(why.contains(named), "{bad}: {why}");
    }
    let long = format!(r#"{{"input":[{{"type":"{}"}}]}}"#, "é".repeat(1000));
    assert!(call(&long).unwrap_err().0.len() < 250);
    let nulls = r#"{"background":null,"previous_response_id":null,"conversation":null,"prompt":null,"context_management":null,"tools":null,"input":null}"#;
    assert_eq!(call(nulls).unwrap().prompt, Tokens::ZERO);
}

#[test]
fn only_tools_that_run_at_the_client_are_served() {
    for good in [
        r#"{"type":"function","name":"f","parameters":{"type":"object"}}"#,
        r#"{"type":"custom","name":"c"}"#,
        r#"{"type":"local_shell"}"#,
        r#"{"type":"apply_patch"}"#,
        r#"{"type":"shell"}"#,
        r#"{"type":"shell","environment":{"type":"local"}}"#,
        r#"{"type":"tool_search","execution":"client"}"#,
        r#"{"type":"namespace","name":"n","tools":[{"type":"function","name":"f"}]}"#,
    ] {
        let read = call(&format!(r#"{{"tools":[{good}]}}"#)).expect(good);
        assert!(read.prompt.count() >= good.len() as u64, "{good}");
    }
    for bad in [
        r#"{"type":"computer_use_preview"}"#,
        r#"{"type":"computer"}"#,
        r#"{"type":"programmatic_tool_calling"}"#,
        r#"{"type":"namespace","tools":[{"type":"namespace","tools":[]}]}"#,
        r#"{"name":"nameless"}"#,
        "7",
    ] {
        // Tools may also come in an item of the input.
        for body in [
            format!(r#"{{"tools":[{bad}]}}"#),
            format!(r#"{{"input":[{{"type":"additional_tools","tools":[{bad}]}}]}}"#),
            format!(r#"{{"input":[{{"type":"tool_search_output","tools":[{bad}]}}]}}"#),
        ] {
            assert!(call(&body).is_err(), "{body}");
        }
    }
}

#[test]
fn every_text_of_the_input_counts() {
    for (input, expected) in [
        (r#""Hello""#, 8 + 5),
        (r#"[{"role":"user","content":"Hello"}]"#, 8 + 5),
        (
            r#"[{"type":"message","role":"user","content":[{"type":"input_text","text":"a\"b"},{"type":"input_text","text":"c"}]},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]"#,
            16 + 4 + 1 + 1 + 2,
        ),
        (
            r#"[{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"42"}]"#,
            16 + 2 + 1 + 2 + 2 + 2,
        ),
        (
            r#"[{"type":"reasoning","id":"r","encrypted_content":"abcd","summary":[]}]"#,
            8 + 1 + 4,
        ),
        (
            r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]"#,
            8 + 67 + 50,
        ),
    ] {
        assert_eq!(prompt_of(input), expected, "{input}");
    }
    // If it is not known how a model reads an item, all of its bytes count.
    let name = "n".repeat(1000);
    for input in [
        format!(r#"[{{"type":"shell_call","action":{{"{name}":1}}}}]"#),
        format!(r#"[{{"type":"function_call_output","output":{{"{name}":1}}}}]"#),
        format!(r#"[{{"role":"user","content":[{{"type":"{name}"}}]}}]"#),
        format!(r#"[{{"role":"{name}","content":""}}]"#),
        format!(r#"[{{"role":"user","content":[{{"type":"input_text","url":"{name}"}}]}}]"#),
    ] {
        assert!(prompt_of(&input) >= 990, "{input}");
    }
}

#[test]
fn an_image_and_a_file_are_not_their_bytes() {
    let data = "A".repeat(120_000);
    let pdf = format!("data:application/pdf;base64,JVBERi0{data}");
    for (part, from, to) in [
        (
            r#"{"type":"input_image","image_url":"https://x.example/a.png"}"#.to_owned(),
            4_000,
            4_010,
        ),
        (
            r#"{"type":"input_image","image_url":"https://x","detail":"high"}"#.to_owned(),
            4_000,
            4_020,
        ),
        (
            format!(r#"{{"type":"input_image","image_url":"data:image/png;base64,{data}"}}"#),
            4_000,
            4_010,
        ),
        (
            format!(r#"{{"type":"input_file","filename":"a.pdf","file_data":"{pdf}"}}"#),
            12_000,
            12_020,
        ),
        (
            r#"{"type":"input_file","filename":"a.pdf","file_data":"JVBERi0"}"#.to_owned(),
            4_000,
            4_020,
        ),
        (
            format!(r#"{{"type":"input_file","filename":"a.txt","file_data":"{pdf}"}}"#),
            120_000,
            121_000,
        ),
        (
            format!(r#"{{"type":"input_file","filename":"a.pdf","file_data":"{data}"}}"#),
            120_000,
            121_000,
        ),
        (
            r#"{"type":"input_file","file_url":"https://x.example/a.pdf"}"#.to_owned(),
            80_000,
            80_010,
        ),
        (
            r#"{"type":"input_file","file_url":"https://a"}"#.to_owned(),
            80_000,
            80_010,
        ),
        (
            format!(r#"{{"type":"input_text","text":"","image_url":"https://{data}"}}"#),
            124_000,
            125_000,
        ),
    ] {
        for input in [
            format!(r#"[{{"role":"user","content":[{part}]}}]"#),
            format!(r#"[{{"type":"function_call_output","output":[{part}]}}]"#),
        ] {
            let read = prompt_of(&input);
            assert!((from..to).contains(&(read - 8)), "{}: {read}", &part[..50]);
        }
    }
}

#[test]
fn only_what_must_change_is_changed() {
    let body =
        r#" { "model" : "a" , "input":[ ],"z":1.50, "store" : false, "max_output_tokens": 900 } "#;
    assert_eq!(rewritten(body, &Changes::default()), body);
    let changes = Changes {
        model: Some("b\"c"),
        limit: LIMIT,
        ..Changes::default()
    };
    assert_eq!(
        rewritten(&body.replace("false", "true"), &changes),
        r#" { "model" : "b\"c" , "input":[ ],"z":1.50, "store" : false, "max_output_tokens": 50 } "#
    );
    assert_eq!(
        rewritten(r#"{"input":"x"}"#, &Changes::default()),
        r#"{"store":false,"input":"x"}"#
    );
    assert_eq!(
        rewritten("{}", &changes),
        r#"{"model":"b\"c","max_output_tokens":50,"store":false}"#
    );
    assert_eq!(
        rewritten(r#"{"store":null,"max_output_tokens":null}"#, &changes),
        r#"{"model":"b\"c","store":false,"max_output_tokens":50}"#
    );
}

proptest! {
    #[test]
    fn rewrite_changes_only_the_requested_members(
        members in proptest::collection::btree_map("[a-w]{1,4}", "\\PC{0,8}", 0..5),
        store in proptest::option::of(any::<bool>()),
    ) {
        let mut object: serde_json::Map<String, serde_json::Value> =
            members.into_iter().map(|(name, value)| (name, value.into())).collect();
        if let Some(store) = store {
            object.insert("store".into(), store.into());
        }
        let text = serde_json::to_string(&object).unwrap();
        let changed = rewritten(&text, &Changes { model: Some("new"), limit: LIMIT, ..Changes::default() });
        let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&changed).unwrap();
        object.insert("model".into(), "new".into());
        object.insert("max_output_tokens".into(), 50.into());
        object.insert("store".into(), false.into());
        prop_assert_eq!(value, object);
    }

    #[test]
    fn the_prompt_is_never_less_than_its_text(
        texts in proptest::collection::vec("\\PC{0,20}", 0..5),
    ) {
        let parts: Vec<_> = texts.iter().map(|text| serde_json::json!({"type": "input_text", "text": text})).collect();
        let input = serde_json::json!([{"role": "user", "content": parts}]).to_string();
        let sum: usize = texts.iter().map(String::len).sum();
        prop_assert!(prompt_of(&input) >= sum as u64);
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "(\\{|\\}|\\[|\\]|,|:|\"|\"type\":|\"input\":|\"tools\":|\"role\":\"user\"|\"content\":|\"message\"|1| ){0,30}",
    ) {
        for bytes in [&bytes, text.as_bytes()] {
            let _ = read(bytes, &Bounds::default());
            let _ = rewrite(bytes, &Changes::default());
        }
    }
}
