//! Fixtures of `images/generations`, `images/edits` and `images/variations`.

use super::*;

const BOUNDS: Bounds = Bounds {
    page: 4_000,
    image: 2_000,
    detail: None,
    image_answer: 8_000,
    sound_second: 50,
};

const FORM: &str = concat!(
    "--b\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\n\r\nPNG\r\n",
    "--b\r\nContent-Disposition: form-data; name=\"mask\"\r\n\r\nPNG\r\n",
    "--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nA hat!\r\n",
    "--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n",
    "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n",
    "--b--\r\n",
);

fn form(bytes: &[u8]) -> Body<'_> {
    Body {
        bytes,
        content_type: Some("multipart/form-data; boundary=b"),
        model: None,
    }
}

#[test]
fn images_that_are_made_are_bounded_by_their_number() {
    let body = Body::json(br#"{"model":"m","prompt":"A hat","n":3,"size":"auto","stream":true}"#);
    let call = Generations.read(&body, &BOUNDS).unwrap();
    assert_eq!((call.model.as_deref(), call.stream), (Some("m"), true));
    // `prompt` with its quotes (7 bytes), and 8 framing tokens.
    assert_eq!(call.prompt, Tokens::new(7 + 8));
    assert_eq!(call.answer, Some(Tokens::new(24_000)));
    assert_eq!(
        call.unreported.map(|usage| usage.total()),
        Some(Tokens::new(24_002))
    );
    let most = format!(r#"{{"n":{}}}"#, u64::MAX);
    let most = Generations.read(&Body::json(most.as_bytes()), &BOUNDS);
    assert_eq!(most.unwrap().answer, Some(Tokens::MAX));
    for bad in [r#"{"n":"2"}"#, r#"{"n":1,"n":9}"#, r#"{"N":9}"#] {
        let body = Body::json(bad.as_bytes());
        assert!(Generations.read(&body, &BOUNDS).is_err(), "{bad}");
    }
}

#[test]
fn images_that_are_shown_count_as_prompt() {
    let call = EDITS.read(&form(FORM.as_bytes()), &BOUNDS).unwrap();
    assert_eq!(call.prompt, Tokens::new(2 * 2_000 + 6 + 8));
    assert_eq!(
        (call.answer, call.stream),
        (Some(Tokens::new(16_000)), true)
    );
    assert_eq!(
        call.unreported.map(|usage| usage.total()),
        Some(Tokens::new(16_002))
    );
    assert_eq!(
        call,
        VARIATIONS.read(&form(FORM.as_bytes()), &BOUNDS).unwrap()
    );
    assert!(EDITS.read(&Body::json(b"{}"), &BOUNDS).is_err());
}

#[test]
fn only_the_model_is_changed() {
    let changes = Changes {
        model: Some("new"),
        limit: None,
        ..Changes::default()
    };
    let out = EDITS.rewrite(&form(FORM.as_bytes()), &changes).unwrap();
    let read = EDITS.read(&form(&out), &BOUNDS).unwrap();
    assert_eq!(read.model.as_deref(), Some("new"));
    assert!(out.ends_with(FORM.as_bytes()));
    let body = form(FORM.as_bytes());
    let same = VARIATIONS.rewrite(&body, &Changes::default());
    assert_eq!(same.unwrap(), FORM.as_bytes());
    let out = Generations.rewrite(&Body::json(b"{\"n\":1}"), &changes);
    assert_eq!(out.unwrap(), b"{\"model\":\"new\",\"n\":1}");
}

#[test]
fn usage_is_read_past_the_images() {
    let answer = br#"{"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":50,"output_tokens":4160,"total_tokens":4210,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#;
    let reading = EDITS.meter(&Call::default(), answer);
    assert_eq!(reading.usage().unwrap().total(), Tokens::new(4_210));
    assert_eq!(reading.delivered.bytes, 0);
    let older = Generations.meter(&Call::default(), br#"{"data":[{"url":"u"}]}"#);
    assert_eq!((older.usage(), older.complete), (None, true));
}
