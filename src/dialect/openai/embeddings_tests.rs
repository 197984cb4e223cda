//! Fixtures of `embeddings`: requests, answers, and the usage and bounds they must give.

use super::*;

#[test]
fn every_shape_of_input_is_bounded() {
    for (body, prompt) in [
        (
            r#"{"model":"e","input":"Hello","encoding_format":"base64"}"#,
            5 + 8,
        ),
        (r#"{"input":["a","bc"],"dimensions":256}"#, 3 + 16),
        (r#"{"input":[1,2,3],"instruction":"xy"}"#, 3 + 8 + 4),
        (r#"{"input":[[1,2],[3]]}"#, 3 + 16),
        ("{}", 8),
    ] {
        let call = Embeddings.read(&Body::json(body.as_bytes()), &Bounds::default());
        let call = call.unwrap();
        assert_eq!(call.prompt, Tokens::new(prompt), "{body}");
        assert_eq!((call.answer, call.unreported), (Some(Tokens::ZERO), None));
        assert_eq!((call.answers, call.limit, call.free), (1, None, false));
    }
}

#[test]
fn only_the_model_is_changed() {
    let body = Body::json(br#"{"input" : "a", "model":"x"}"#);
    let changes = Changes {
        model: Some("y"),
        limit: Some(crate::dialect::call::Limit {
            tokens: 5,
            name: "max_tokens",
            always: true,
        }),
        ..Changes::default()
    };
    let out = Embeddings.rewrite(&body, &changes).unwrap();
    assert_eq!(out, br#"{"input" : "a", "model":"y"}"#);
    let out = Embeddings.rewrite(&body, &Changes::default()).unwrap();
    assert_eq!(out, body.bytes);
}

#[test]
fn usage_is_read_past_the_vectors() {
    let answer = br#"{"data":[{"embedding":"AAAA"},{"embedding":[0.1,-2e9]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let reading = Embeddings.meter(&Call::default(), answer);
    assert_eq!(reading.usage().unwrap().total(), Tokens::new(8));
    assert!(reading.complete && reading.delivered.bytes == 0);
    let silent = Embeddings.meter(&Call::default(), br#"{"data":[]}"#);
    assert_eq!((silent.usage(), silent.complete), (None, true));
}
