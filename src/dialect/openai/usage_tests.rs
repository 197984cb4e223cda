//! Expected usage for each server's convention of reporting it.

use super::*;

#[test]
fn every_convention_is_counted_once() {
    for (text, expected) in [
        (
            r#"{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4}}"#,
            Some((5, 4, 5)),
        ),
        (r#"{"prompt_tokens":9,"total_tokens":9}"#, Some((9, 0, 0))),
        (
            r#"{"input_tokens":50,"output_tokens":4160,"total_tokens":4210,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}"#,
            Some((50, 0, 4160)),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":5,"input_tokens":0,"output_tokens":0,"input_tokens_details":null}"#,
            Some((9, 0, 5)),
        ),
        (
            r#"{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":7}}"#,
            Some((0, 1, 0)),
        ),
        (
            r#"{"prompt_tokens":0,"completion_tokens":0}"#,
            Some((0, 0, 0)),
        ),
        ("{}", None),
        ("null", None),
        (r#"{"total_tokens":null}"#, None),
        (r#"{"prompt_tokens":-1}"#, None),
    ] {
        let counts = read(&Value::of(text.as_bytes())).map(|claim| {
            let Usage {
                uncached_input,
                cache_read,
                output,
                ..
            } = claim.usage();
            (uncached_input.count(), cache_read.count(), output.count())
        });
        assert_eq!(counts, expected, "{text}");
    }
}

#[test]
fn an_answer_that_is_not_json_says_nothing() {
    assert_eq!(of_answer(b"<html>"), Reading::default());
    let bare = of_answer(br#"{"data":[]}"#);
    assert!(bare.complete && bare.usage().is_none());
}
