//! Fixtures and properties of streams of `completions` and their whole answers.

use super::*;
use crate::dialect::openai::completions::Completions;
use crate::dialect::replay::tests::{
    any_text, assemble, comes_back, events, is_metered_alike, judge, maybe, members,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn every_choice_is_judged() {
    for (choices, verdict) in [
        (
            json!([{"text": "a", "finish_reason": "stop"}]),
            Verdict::Whole,
        ),
        (
            json!([{"text": "a", "finish_reason": "stop"}, {"text": "", "finish_reason": "length"}]),
            Verdict::Truncated,
        ),
        (
            json!([{"text": "a", "finish_reason": "content_filter"}]),
            Verdict::Refused,
        ),
        (
            json!([{"text": "a", "finish_reason": null}]),
            Verdict::Unfit,
        ),
        (json!([{"finish_reason": "stop"}]), Verdict::Unfit),
        (json!([]), Verdict::Unfit),
        (json!({}), Verdict::Unfit),
    ] {
        assert_eq!(
            judge(&Completions, &json!({"choices": choices})),
            verdict,
            "{choices}"
        );
    }
}

#[test]
fn texts_and_logprobs_of_a_stream_are_joined() {
    let stream = r#"data: {"id":"c","object":"text_completion","created":7,"choices":[{"text":"He","index":0,"logprobs":{"tokens":["He"],"token_logprobs":[-0.5],"top_logprobs":null,"text_offset":[0]},"finish_reason":null}],"model":"m","usage":null}

data: {"id":"c","object":"text_completion","created":7,"choices":[{"text":"y","index":0,"logprobs":{"tokens":["y"],"token_logprobs":[-1.5],"top_logprobs":null,"text_offset":[2]},"finish_reason":null}],"model":"m","usage":null}

data: {"id":"c","object":"text_completion","created":7,"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop","stop_reason":null}],"model":"m","usage":null}

data: {"id":"c","object":"text_completion","created":7,"choices":[],"model":"m","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}

data: [DONE]

"#;
    let answer = json!({"id": "c", "object": "text_completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "text": "Hey", "logprobs": {"tokens": ["He", "y"], "token_logprobs": [-0.5, -1.5],
            "top_logprobs": null, "text_offset": [0, 2]}, "finish_reason": "stop", "stop_reason": null}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
    assert_eq!(assemble(&Completions, stream).as_ref(), Some(&answer));
    is_metered_alike(&Completions, &answer, stream);
}

#[test]
fn a_choice_is_a_chunk_with_its_text_and_one_with_its_end() {
    let answer = json!({"id": "c", "object": "text_completion", "model": "m", "x": 1,
        "choices": [{"text": "Hey", "index": 0, "logprobs": null, "finish_reason": "length"}],
        "usage": {"total_tokens": 3}});
    let expected = [
        json!({"id": "c", "object": "text_completion", "model": "m", "x": 1,
            "choices": [{"text": "Hey", "index": 0, "logprobs": null, "finish_reason": null}], "usage": null}),
        json!({"id": "c", "object": "text_completion", "model": "m",
            "choices": [{"text": "", "index": 0, "logprobs": null, "finish_reason": "length"}], "usage": null}),
        json!({"id": "c", "object": "text_completion", "model": "m", "choices": [], "usage": {"total_tokens": 3}}),
        json!("[DONE]"),
    ];
    assert_eq!(events(&Completions, &answer, true), expected);
    let without = events(&Completions, &answer, false);
    assert_eq!(without.len(), 3);
    assert!(without.iter().all(|event| event.get("usage").is_none()));
}

proptest! {
    #[test]
    fn completions_come_back_from_their_streams(
        texts in vec((any_text(), maybe(Just(Value::Null)), proptest::sample::select(vec!["stop", "length"])), 1..4),
        usage in maybe((1u64..99, 0u64..99).prop_map(|(input, output)| {
            json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
        })),
    ) {
        let choices = texts.into_iter().enumerate().map(|(index, (text, logprobs, reason))| members([
            ("index", Some(index.into())),
            ("text", Some(text.into())),
            ("logprobs", logprobs),
            ("finish_reason", Some(reason.into())),
        ]));
        let answer = members([
            ("id", Some("cmpl-1".into())),
            ("object", Some("text_completion".into())),
            ("created", Some(1_700_000_000.into())),
            ("model", Some("m".into())),
            ("choices", Some(choices.collect())),
            ("usage", usage),
        ]);
        comes_back(&Completions, &answer);
    }
}
