//! Tests of calls as they are read and rewritten.

use super::*;
use crate::dialect::call::Limit;

fn read(body: &str) -> Result<Call, Unreadable> {
    let body = Body {
        model: Some("gemini-2.5-pro"),
        ..Body::json(body.as_bytes())
    };
    GENERATE.read(&body, &Bounds::default())
}

fn rewritten(body: &str, changes: &Changes<'_>) -> String {
    let body = Body::json(body.as_bytes());
    String::from_utf8(GENERATE.rewrite(&body, changes).unwrap()).unwrap()
}

fn limited(body: &str) -> String {
    let limit = Limit {
        tokens: 50,
        name: "max_tokens",
        always: true,
    };
    let changes = Changes {
        limit: Some(limit),
        ..Changes::default()
    };
    rewritten(body, &changes)
}

fn removed(body: &str, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let changes = Changes {
        removed: &names,
        ..Changes::default()
    };
    rewritten(body, &changes)
}

#[test]
fn the_path_names_the_model_and_the_form_of_the_answer() {
    let call = read(r#"{"contents":[],"generationConfig":{"candidateCount":3}}"#).unwrap();
    assert_eq!(call.model.as_deref(), Some("gemini-2.5-pro"));
    assert_eq!((call.answers, call.stream), (3, false));
    let body = Body::json(b"{}");
    assert!(STREAM.read(&body, &Bounds::default()).unwrap().stream);
    assert!(read(r#"{"model":"models/other","contents":[]}"#).is_err());
    assert_eq!(STREAM.kept_as(), GENERATE.path());
}

#[test]
fn the_limit_is_written_where_the_body_has_it() {
    for (body, expected) in [
        (
            r#"{"contents":[]}"#,
            r#"{"generationConfig":{"maxOutputTokens":50},"contents":[]}"#,
        ),
        (
            r#"{"generationConfig": {"topP":1} }"#,
            r#"{"generationConfig": {"maxOutputTokens":50,"topP":1} }"#,
        ),
        (
            r#"{"generation_config":{"max_output_tokens":900}}"#,
            r#"{"generation_config":{"max_output_tokens":50}}"#,
        ),
        (
            r#"{"generation_config":{"maxOutputTokens":900}}"#,
            r#"{"generation_config":{"maxOutputTokens":50}}"#,
        ),
        (
            r#"{"generation_config":{"max_output_tokens":null}}"#,
            r#"{"generation_config":{"max_output_tokens":50}}"#,
        ),
        (
            r#"{"generation_config":null}"#,
            r#"{"generation_config":{"maxOutputTokens":50}}"#,
        ),
    ] {
        assert_eq!(limited(body), expected);
        let again = read(&limited(body)).unwrap();
        assert_eq!(again.limit, Some(50), "{body}");
    }
}

#[test]
fn hosted_tools_are_taken_out_with_what_refers_to_them() {
    let extras = read(r#"{"tools":[{"google_search":{}},{"functionDeclarations":[],"codeExecution":{}}],"serviceTier":"priority"}"#)
        .unwrap()
        .extras;
    let names: Vec<&str> = extras
        .hosted
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["googleSearch", "codeExecution"]);
    assert_eq!(extras.unbounded, names);
    assert_eq!(extras.surcharged, ["serviceTier"]);
    for (body, names, expected) in [
        (
            r#"{"tools":[{"google_search":{}}],"toolConfig":{},"contents":[]}"#,
            vec!["googleSearch"],
            r#"{"contents":[]}"#,
        ),
        (
            r#"{"tools":{"googleSearch":{}},"contents":[]}"#,
            vec!["googleSearch"],
            r#"{"contents":[]}"#,
        ),
        (
            r#"{"tools":[{"functionDeclarations":[ 1 ],"urlContext":{}}, {"codeExecution":{}}]}"#,
            vec!["urlContext", "codeExecution"],
            r#"{"tools":[{"functionDeclarations":[ 1 ]}]}"#,
        ),
        (
            r#"{"service_tier":"flex","contents":[]}"#,
            vec!["serviceTier"],
            r#"{"contents":[]}"#,
        ),
    ] {
        assert_eq!(removed(body, &names), expected);
    }
}

#[test]
fn a_tool_of_unknown_kind_is_refused() {
    for body in [
        r#"{"tools":[{"computerUse":{}}]}"#,
        r#"{"tools":[{"anything":{}}]}"#,
        r#"{"tools":[{"GoogleSearch":{}}]}"#,
        r#"{"tools":[{"googleSearch":{},"google_search":{}}]}"#,
        r#"{"tools":[[{"googleSearch":{}}]]}"#,
        r#"{"tools":["googleSearch"]}"#,
    ] {
        assert!(read(body).is_err(), "{body}");
    }
    assert!(read(r#"{"tools":[{"googleSearch":null,"functionDeclarations":[]}]}"#).is_ok());
}

/// A call that is stored lies in the operator's account, where others could see it.
#[test]
fn nothing_is_stored() {
    let body = r#"{"store": true,"contents":[]}"#;
    assert!(!read(body).unwrap().can_pass_unchanged);
    let unchanged = rewritten(body, &Changes::default());
    assert_eq!(unchanged, r#"{"store": false,"contents":[]}"#);
    assert!(
        read(r#"{"store":false,"contents":[]}"#)
            .unwrap()
            .can_pass_unchanged
    );
    assert!(read(r#"{"store":"yes"}"#).is_err());
}

#[test]
fn thinking_is_hidden_where_it_is_asked_for() {
    let hides = |config: &str| {
        read(&format!(r#"{{"generationConfig":{config}}}"#))
            .unwrap()
            .hides
    };
    assert!(!hides("{}") && hides(r#"{"thinkingConfig":{"thinkingBudget":-1}}"#));
    assert!(hides(r#"{"thinking_config":{"includeThoughts":true}}"#));
}
