//! Fixtures of `moderations`: requests, answers, and the usage and bounds they must give.

use super::*;

#[test]
fn a_moderation_is_free() {
    let body = Body::json(br#"{"model":"m","input":["a",{"type":"text","text":"b"}]}"#);
    let call = Moderations.read(&body, &Bounds::default()).unwrap();
    assert!(call.free);
    assert_eq!(call.prompt, Tokens::new(32));
    assert_eq!(call.answer, Some(Tokens::ZERO));
    assert_eq!(call.model.as_deref(), Some("m"));
    let answer = br#"{"results":[],"usage":{"prompt_tokens":8}}"#;
    let reading = Moderations.meter(&call, answer);
    let input = reading.claim.input.map(|input| input.total().count());
    assert_eq!((input, reading.complete), (Some(8), true));
}

#[test]
fn only_the_model_is_changed() {
    let body = Body::json(br#"{ "input":"a"}"#);
    let changes = Changes {
        model: Some("y"),
        limit: None,
        ..Changes::default()
    };
    let out = Moderations.rewrite(&body, &changes).unwrap();
    assert_eq!(out, br#"{"model":"y", "input":"a"}"#);
    let out = Moderations.rewrite(&body, &Changes::default()).unwrap();
    assert_eq!(out, body.bytes);
}
