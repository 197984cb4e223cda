//! Fixtures and properties of `completions`.

use super::*;
use crate::dialect::call::Limit;
use proptest::prelude::*;

fn call(text: &str) -> Call {
    let body = Body::json(text.as_bytes());
    Completions.read(&body, &Bounds::default()).unwrap()
}

fn rewritten(text: &str, changes: &Changes<'_>) -> String {
    let body = Body::json(text.as_bytes());
    String::from_utf8(Completions.rewrite(&body, changes).unwrap()).unwrap()
}

const LIMIT: Option<Limit> = Some(Limit {
    tokens: 50,
    name: "max_completion_tokens",
    always: false,
});

#[test]
fn every_prompt_has_its_own_answers() {
    for (body, answers, prompt) in [
        (r#"{"prompt":"Hello"}"#, 1, 5 + 8),
        (r#"{"prompt":["ab","cd"],"n":3}"#, 6, 4 + 16),
        (r#"{"prompt":[1,2,3],"n":2,"best_of":5}"#, 5, 3 + 8),
        (r#"{"prompt":[[1],[2,3]],"best_of":2}"#, 4, 3 + 16),
        (r#"{"prompt":null,"n":null}"#, 1, 8),
        (r#"{"prompt":"a","suffix":"bc","echo":true}"#, 1, 1 + 8 + 4),
    ] {
        let read = call(body);
        assert_eq!(
            (read.answers, read.prompt.count()),
            (answers, prompt),
            "{body}"
        );
        assert_eq!((read.limit, read.answer), (None, None), "{body}");
    }
    let most = call(&format!(r#"{{"prompt":["a","b"],"n":{}}}"#, u64::MAX));
    assert_eq!(most.answers, u64::MAX);
}

#[test]
fn the_largest_of_all_limits_counts() {
    let read = call(r#"{"prompt":"a","max_tokens":5,"n_predict":900,"stream":true}"#);
    assert_eq!(
        (read.limit, read.stream, read.wants_usage),
        (Some(900), true, false)
    );
    for bad in [
        r#"{"n_predict":-1}"#,
        r#"{"max_tokens":0}"#,
        r#"{"n":0}"#,
        r#"{"N":7}"#,
        r#"{"best_of":1,"best_of":9}"#,
        r#"{"stream_options":[true]}"#,
        "[]",
    ] {
        let body = Body::json(bad.as_bytes());
        assert!(
            Completions.read(&body, &Bounds::default()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_limit_has_the_name_that_this_call_knows() {
    let changes = Changes {
        model: Some("m"),
        limit: LIMIT,
        ..Changes::default()
    };
    for (body, expected) in [
        (
            r#"{"prompt":"a"}"#,
            r#"{"model":"m","max_tokens":50,"prompt":"a"}"#,
        ),
        (
            r#"{"max_tokens": 900, "n_predict":7,"model":"x"}"#,
            r#"{"max_tokens": 50, "n_predict":50,"model":"m"}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"x":1}}"#,
            r#"{"model":"m","max_tokens":50,"stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        ),
    ] {
        assert_eq!(rewritten(body, &changes), expected);
    }
    let plain = r#" {"prompt" : ["a"],"z":1.50 } "#;
    assert_eq!(rewritten(plain, &Changes::default()), plain);
}

#[test]
fn a_plain_answer_is_read() {
    let answer = br#"{"choices":[{"text":"He","logprobs":{"tokens":["He"]}},{"text":"llo"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
    let reading = Completions.meter(&Call::default(), answer);
    assert_eq!(reading.usage().unwrap().total(), Tokens::new(5));
    assert!(reading.complete);
    let uncounted = br#"{"choices":[{"text":"He","logprobs":{"tokens":["He"]}},{"text":"llo"}]}"#;
    let reading = Completions.meter(&Call::default(), uncounted);
    assert_eq!(
        (reading.delivered.kept.as_str(), reading.usage()),
        ("Hello", None)
    );
    assert!(reading.complete);
}

const STREAM: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"text\":\"Hé\",\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"index\":1,\"text\":\"llo\"}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
);

const WITHOUT_USAGE: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"text\":\"Hé\",\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":1,\"text\":\"llo\"}]}\n\n",
    "data: [DONE]\n\n",
);

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_usage_and_the_same_bytes(
        cut in 0usize..STREAM.len(),
        wants_usage: bool,
    ) {
        let call = Call { wants_usage, ..Call::default() };
        let mut meter = Completions.stream(&call);
        let (before, after) = STREAM.as_bytes().split_at(cut);
        let out = [meter.feed(before), meter.feed(after), meter.finish()].concat();
        let expected = if wants_usage { STREAM } else { WITHOUT_USAGE };
        prop_assert_eq!(out.as_slice(), expected.as_bytes());
        let reading = meter.reading();
        prop_assert_eq!(reading.usage().unwrap().total(), Tokens::new(5));
        prop_assert_eq!((reading.delivered.kept.as_str(), reading.complete), ("Héllo", true));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let body = Body::json(&bytes);
        let _ = Completions.read(&body, &Bounds::default());
        let _ = Completions.rewrite(&body, &Changes::default());
        let _ = Completions.meter(&Call::default(), &bytes);
    }
}
