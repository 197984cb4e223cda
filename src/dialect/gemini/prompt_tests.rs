//! Tests of the bound of a prompt.

use super::*;

fn facts(body: &str) -> Result<ContentFacts, Unreadable> {
    let bounds = Bounds {
        image: 1_000,
        ..Bounds::default()
    };
    read(body.as_bytes(), &bounds).map(|(_, facts)| facts)
}

fn prompt(parts: &str) -> u64 {
    let body = format!(r#"{{"contents":[{{"parts":[{parts}]}}]}}"#);
    facts(&body).unwrap().prompt.count()
}

fn refused(parts: &str) -> String {
    let body = format!(r#"{{"contents":[{{"parts":[{parts}]}}]}}"#);
    match facts(&body) {
        Ok(facts) => panic!("{parts} is served: {:?}", facts.prompt),
        Err(Unreadable(why)) => why,
    }
}

#[test]
fn one_element_stands_for_a_list_of_one() {
    let listed = r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#;
    let alone = r#"{"contents":{"role":"user","parts":{"text":"Hello"}}}"#;
    let listed = facts(listed).unwrap().prompt;
    assert_eq!(listed, facts(alone).unwrap().prompt);
    // The frame, the role, the part, the text.
    assert_eq!(listed.count(), 8 + 4 + 1 + 5);
}

#[test]
fn both_spellings_are_read_and_never_both_at_once() {
    for body in [
        r#"{"systemInstruction":{"parts":[{"text":"0123456789"}]},"contents":[]}"#,
        r#"{"system_instruction":{"parts":[{"text":"0123456789"}]},"contents":[]}"#,
    ] {
        assert_eq!(facts(body).unwrap().prompt.count(), 8 + 1 + 10, "{body}");
    }
    for (body, limit) in [
        (r#"{"generationConfig":{"maxOutputTokens":7}}"#, 7),
        (r#"{"generation_config":{"max_output_tokens":7}}"#, 7),
    ] {
        assert_eq!(facts(body).unwrap().limit, Some(limit), "{body}");
    }
    for body in [
        r#"{"generationConfig":{"maxOutputTokens":7,"max_output_tokens":900}}"#,
        r#"{"generationConfig":{"maxOutputTokens":7},"generation_config":{"maxOutputTokens":900}}"#,
        r#"{"generationConfig":{"maxOutputTokens":7},"generationConfig":{}}"#,
        r#"{"generationConfig":{"maxOutputTokens":7,"maxoutputtokens":900}}"#,
        r#"{"generationConfig":{"maxOutputTokens":"900"}}"#,
        r#"{"generationConfig":{"maxOutputTokens":9e2}}"#,
        r#"{"generationConfig":{"maxOutputTokens":0}}"#,
        r#"{"generationConfig":[{"maxOutputTokens":7}]}"#,
        r#"{"generationConfig":{"candidateCount":1,"candidate_count":8}}"#,
        r#"{"contents":[],"systemInstruction":{},"system_instruction":{"parts":[]}}"#,
    ] {
        assert!(facts(body).is_err(), "{body}");
    }
}

#[test]
fn media_count_by_what_they_are() {
    let of = |kind: &str, data: &str| {
        let member = format!(r#"{{"inlineData":{{"mimeType":"{kind}","data":"{data}"}}}}"#);
        prompt(&member)
    };
    assert_eq!(of("image/png", "AAAA"), 8 + 1 + 1_000);
    assert_eq!(of("IMAGE/PNG", "AAAA"), 8 + 1 + 1_000);
    assert_eq!(of("application/pdf", "AAAA"), 8 + 1 + 4_000);
    assert_eq!(of("application/pdf", &"A".repeat(50_000)), 8 + 1 + 8_000);
    // A text with its quotes.
    assert_eq!(of("text/plain", "QUJD"), 8 + 1 + 6);
    assert!(of("audio/wav", &"A".repeat(8_000)) > 50);
    let large = r#"{"inline_data":{"mime_type":"image/png","data":"AAAA"},"mediaResolution":{"numTokens":5000}}"#;
    assert_eq!(prompt(large), 8 + 1 + 5_000);
    let shown = r#"{"functionResponse":{"name":"f","response":{},"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}}"#;
    assert!(prompt(shown) > 1_000);
}

#[test]
fn what_has_no_bound_is_refused_by_name() {
    for (part, word) in [
        (
            r#"{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}"#,
            "mimeType",
        ),
        (r#"{"inlineData":{"data":"AAAA"}}"#, "mimeType"),
        (
            r#"{"fileData":{"mimeType":"image/png","fileUri":"files/abc"}}"#,
            "fileData",
        ),
        (
            r#"{"fileData":{"mimeType":"image/png","fileUri":"https://youtu.be/x"}}"#,
            "fileData",
        ),
        (
            r#"{"fileData":{"fileUri":"https://a.example/x.png"}}"#,
            "mimeType",
        ),
        (
            r#"{"fileData":{"mimeType":"audio/wav","fileUri":"https://a.example/x"}}"#,
            "fileData",
        ),
        (
            r#"{"text":"a","videoMetadata":{"fps":24}}"#,
            "videoMetadata",
        ),
        (
            r#"{"inlineData":{"mimeType":"image/png","mime_type":"video/mp4","data":""}}"#,
            "twice",
        ),
    ] {
        assert!(refused(part).contains(word), "{part}: {}", refused(part));
    }
    let why = facts(r#"{"contents":[],"cached_content":"cachedContents/x"}"#);
    assert!(why.is_err_and(|Unreadable(why)| why.contains("cachedContent")));
}

#[test]
fn everything_else_counts_with_its_bytes() {
    let text = "x".repeat(3_000);
    for part in [
        format!(r#"{{"functionCall":{{"name":"f","args":{{"a":"{text}"}}}}}}"#),
        format!(r#"{{"functionResponse":{{"name":"f","response":{{"a":"{text}"}}}}}}"#),
        format!(r#"{{"text":"a","thoughtSignature":"{text}"}}"#),
        format!(r#"{{"executableCode":{{"code":"{text}"}}}}"#),
        format!(r#"{{"unknown":"{text}"}}"#),
        format!(r#"{{"inlineData":{{"mimeType":"image/png","data":"","displayName":"{text}"}}}}"#),
        format!(r#""{text}""#),
    ] {
        assert!(prompt(&part) >= 3_000, "{part:.60}");
    }
    for body in [
        format!(r#"{{"tools":[{{"functionDeclarations":[{{"name":"{text}"}}]}}]}}"#),
        format!(r#"{{"generationConfig":{{"responseJsonSchema":{{"a":"{text}"}}}}}}"#),
        format!(
            r#"{{"toolConfig":{{"functionCallingConfig":{{"allowedFunctionNames":["{text}"]}}}}}}"#
        ),
        format!(r#"{{"contents":"{text}"}}"#),
        format!(r#"{{"contents":[{{"role":"{text}"}}]}}"#),
        format!(r#"{{"other":"{text}"}}"#),
    ] {
        let prompt = facts(&body).unwrap().prompt.count();
        assert!(prompt >= 3_000, "{body:.60}");
    }
}

#[test]
fn unknown_members_are_named_by_their_place() {
    let body = r#"{"labels":{},"contents":[{"x":1,"parts":[{"text":"","y":1,"inlineData":{"mimeType":"image/png","z":1}}]}],
        "generationConfig":{"temperature":1,"routingConfig":{}}}"#;
    let names = facts(body).unwrap().unknown_members;
    let expected = [
        "labels",
        "contents.x",
        "parts.y",
        "inlineData.z",
        "generationConfig.routingConfig",
    ];
    assert_eq!(names, expected);
}
