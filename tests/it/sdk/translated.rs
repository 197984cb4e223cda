//! Either SDK, and either agent, on the API of the other vendor: what they say, what it costs, how they fail.

use serde_json::{Value, json};

use super::agents::{Agent, TOKEN, assert_claude_code_answers, assert_codex_answers, paths};
use super::official::{Caller, PLENTY, SDKS, Sdk, TENANT, Vendor, assert_left};
use super::provider::{EXCUSE, TEXT, start_with};
use super::turns::{self, Call, GRANTED, ORDER, ORDER_OF_FOUR, SAID, cost, results};
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, Sample, mint};

/// A tenant that has this endpoint alone.
pub fn only(config: Sample, name: &str) -> Sample {
    let whole = Value::from(config.clone());
    let kept = whole["providers"]["text"]["endpoints"][name].clone();
    config
        .set("providers.text.endpoints", json!({name: kept}))
        .set("providers.text.default", json!(name))
}

fn without_responses(config: Sample) -> Sample {
    only(config, "openai").set("providers.text.endpoints.openai.responses", json!(false))
}

/// Each call of an SDK is answered by an endpoint of the other API, and costs what that reports.
#[track_caller]
fn assert_calls(vendor: Vendor, change: fn(Sample) -> Sample, calls: &[(&str, u64)], path: &str) {
    let (provider, gateway) = start_with(change);
    for sdk in SDKS {
        for (call, tokens) in calls {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();

            let answer = Caller::of(vendor, sdk, &gateway, &key).answer(call);

            assert_eq!(answer["text"], TEXT, "{sdk:?} {call}");
            assert_eq!(answer["attempts"], 1, "{sdk:?} {call}");
            if let Some(total) = answer["total_tokens"].as_u64() {
                assert_eq!(total, *tokens, "{sdk:?} {call}");
            }
            assert_left(&gateway, &key, PLENTY - tokens);
            let asked = provider.requests().split_off(before);
            assert_eq!(paths(&asked), [path], "{sdk:?} {call}");
            assert!(!asked[0].text().contains(&key));
        }
    }
}

#[test]
fn openai_sdk_is_answered_by_an_anthropic_endpoint() {
    let calls = [
        ("chat", 21),
        ("stream", 16),
        ("stream-with-usage", 16),
        ("responses", 21),
        ("responses-stream", 16),
    ];
    assert_calls(
        Vendor::OpenAi,
        |config| only(config, "anthropic"),
        &calls,
        "/v1/messages",
    );
}

#[test]
fn openai_sdk_is_answered_by_a_gemini_endpoint() {
    let calls = [("chat", 14), ("responses", 14)];
    let at_gemini: fn(Sample) -> Sample = |config| only(config, "gemini");
    let path = "/v1beta/models/demo-1:generateContent";
    assert_calls(Vendor::OpenAi, at_gemini, &calls, path);
    let calls = [
        ("stream", 14),
        ("stream-with-usage", 14),
        ("responses-stream", 14),
    ];
    let path = "/v1beta/models/demo-1:streamGenerateContent?alt=sse";
    assert_calls(Vendor::OpenAi, at_gemini, &calls, path);
}

#[test]
fn anthropic_sdk_is_answered_by_a_gemini_endpoint() {
    let at_gemini: fn(Sample) -> Sample = |config| only(config, "gemini");
    let path = "/v1beta/models/demo-1:generateContent";
    let calls = [("message", 14), ("beta", 14)];
    assert_calls(Vendor::Anthropic, at_gemini, &calls, path);
    let path = "/v1beta/models/demo-1:streamGenerateContent?alt=sse";
    let calls = [("stream", 14), ("stream-helper", 14)];
    assert_calls(Vendor::Anthropic, at_gemini, &calls, path);
}

#[test]
fn anthropic_sdk_is_answered_by_an_openai_endpoint() {
    let calls = [
        ("message", 14),
        ("beta", 14),
        ("stream", 14),
        ("stream-helper", 14),
    ];
    assert_calls(
        Vendor::Anthropic,
        |config| only(config, "openai"),
        &calls,
        "/v1/chat/completions",
    );
}

#[test]
fn responses_are_answered_by_an_endpoint_that_has_chat_alone() {
    let calls = [("responses", 14), ("responses-stream", 14)];
    assert_calls(
        Vendor::OpenAi,
        without_responses,
        &calls,
        "/v1/chat/completions",
    );
}

/// Images of the SDKs' scripts, in Chat Completions.
const CHAT_IMAGES: [(&str, &str); 2] = [
    (
        "looking-at-data",
        r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aW1hZ2U="}}"#,
    ),
    (
        "looking-at-url",
        r#"{"type":"image_url","image_url":{"url":"https://images.example/cat.png"}}"#,
    ),
];

/// The same in Messages.
const MESSAGES_IMAGES: [(&str, &str); 2] = [
    (
        "looking-at-data",
        r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aW1hZ2U="}}"#,
    ),
    (
        "looking-at-url",
        r#"{"type":"image","source":{"type":"url","url":"https://images.example/cat.png"}}"#,
    ),
];

/// Asserts that each call's image reaches the provider in its own form, behind the text, and costs what that reports.
#[track_caller]
fn assert_images(
    vendor: Vendor,
    change: fn(Sample) -> Sample,
    prefix: &str,
    images: &[(&str, &str)],
    tokens: u64,
) {
    let (provider, gateway) = start_with(change);
    for sdk in SDKS {
        for (call, image) in images {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();
            let call = format!("{prefix}{call}");

            let answer = Caller::of(vendor, sdk, &gateway, &key).answer(&call);

            assert_eq!(answer["text"], TEXT, "{sdk:?} {call}");
            let asked = provider.requests().split_off(before);
            assert_eq!(asked.len(), 1, "{sdk:?} {call}");
            let content = &asked[0].json()["messages"][0]["content"];
            let [text, seen] = &content.as_array().expect("parts")[..] else {
                panic!("{sdk:?} {call}: {content}")
            };
            assert_eq!(text["type"], "text", "{sdk:?} {call}");
            let image: Value = serde_json::from_str(image).expect("JSON");
            assert_eq!(*seen, image, "{sdk:?} {call}");
            assert_left(&gateway, &key, PLENTY - tokens);
        }
    }
}

#[test]
fn images_reach_the_other_api_in_its_form() {
    let on_messages: fn(Sample) -> Sample = |config| only(config, "anthropic");
    for prefix in ["", "responses-"] {
        assert_images(Vendor::OpenAi, on_messages, prefix, &MESSAGES_IMAGES, 21);
    }
    let on_chat: fn(Sample) -> Sample = |config| only(config, "openai");
    assert_images(Vendor::Anthropic, on_chat, "", &CHAT_IMAGES, 14);
    assert_images(
        Vendor::OpenAi,
        without_responses,
        "responses-",
        &CHAT_IMAGES,
        14,
    );
}

#[test]
fn errors_of_the_other_api_raise_the_sdks_own_exceptions() {
    for (vendor, name, call) in [
        (Vendor::OpenAi, "anthropic", "chat"),
        (Vendor::Anthropic, "openai", "message"),
        (Vendor::OpenAi, "gemini", "chat"),
        (Vendor::Anthropic, "gemini", "message"),
    ] {
        let (_provider, gateway) = start_with(|config| only(config, name));
        for sdk in SDKS {
            for (model, raised) in [
                ("status-400", "BadRequestError"),
                ("status-404", "NotFoundError"),
                ("status-429", "RateLimitError"),
                ("status-500", "InternalServerError"),
            ] {
                let key = mint(&gateway, TENANT);
                let caller = Caller {
                    model,
                    max_retries: Some(0),
                    ..Caller::of(vendor, sdk, &gateway, &key)
                };
                let refusal = caller.call(call, 1).refusal;
                assert_eq!(refusal["raised"], raised, "{sdk:?} {model}: {refusal}");
                let told = refusal.to_string();
                assert!(told.contains(EXCUSE), "{sdk:?} {model}: {refusal}");
                assert_left(&gateway, &key, PLENTY);
            }
        }
    }
}

#[test]
fn stream_that_breaks_off_raises_in_the_other_api_too() {
    for (vendor, name) in [
        (Vendor::OpenAi, "anthropic"),
        (Vendor::Anthropic, "openai"),
        (Vendor::OpenAi, "gemini"),
        (Vendor::Anthropic, "gemini"),
    ] {
        let (_provider, gateway) = start_with(|config| only(config, name));
        let key = mint(&gateway, TENANT);
        let caller = Caller {
            model: "cut",
            max_retries: Some(0),
            ..Caller::of(vendor, Sdk::Python, &gateway, &key)
        };
        let refusal = caller.call("stream", 1).refusal;
        assert_ne!(refusal, Value::Null, "{name}");
    }
}

/// An endpoint of another API has no call for it, so the gateway counts.
#[test]
fn tokens_are_counted_here_for_endpoints_of_other_apis() {
    for (vendor, names, member) in [
        (Vendor::Anthropic, ["openai", "gemini"], "input_tokens"),
        (Vendor::Google, ["openai", "anthropic"], "total_tokens"),
    ] {
        for name in names {
            let (provider, gateway) = start_with(|config| only(config, name));
            for sdk in SDKS {
                let key = mint(&gateway, TENANT);
                let caller = Caller::of(vendor, sdk, &gateway, &key);
                let answer = caller.answer("count-tokens");
                let counted = answer[member].as_u64().expect("a count");
                assert!(
                    (4..16).contains(&counted),
                    "{vendor:?} {name} {sdk:?}: {answer}"
                );
                assert_left(&gateway, &key, PLENTY);
            }
            assert!(provider.requests().is_empty(), "{vendor:?} {name}");
        }
    }
}

/// An agent's tenant with this endpoint alone.
fn agents_at(change: impl Fn(Sample) -> Sample) -> (Provider, Gateway) {
    turns::start_changed(GRANTED, change)
}

/// Asks Claude Code, which answers and pays what its requests cost. Returns these.
#[track_caller]
fn asked_by_claude_code(provider: &Provider, gateway: &Gateway, question: &str) -> Vec<Received> {
    let key = mint(gateway, TENANT);
    let before = provider.requests().len();
    let output = Agent::at(gateway, &key).claude_code(question, TOKEN, &[]);
    let asked = provider.requests().split_off(before);
    assert_claude_code_answers(&output, cost(&asked));
    assert_left(gateway, &key, GRANTED - cost(&asked));
    asked
}

/// The same with Codex; `None`: its default model.
#[track_caller]
fn asked_by_codex(
    provider: &Provider,
    gateway: &Gateway,
    question: &str,
    model: Option<&str>,
) -> Vec<Received> {
    let key = mint(gateway, TENANT);
    let before = provider.requests().len();
    let output = Agent::at(gateway, &key).codex(question, model);
    let asked = provider.requests().split_off(before);
    assert_codex_answers(&output, cost(&asked));
    assert_left(gateway, &key, GRANTED - cost(&asked));
    asked
}

#[track_caller]
fn the_result(asked: &[Received]) -> String {
    assert_eq!(asked.len(), 2, "{:?}", paths(asked));
    let [result] = &results(&asked[1].json())[..] else {
        panic!("one result: {}", asked[1].text())
    };
    result.to_string()
}

#[test]
fn claude_code_works_on_an_openai_endpoint() {
    let (provider, gateway) = agents_at(|config| only(config, "openai"));
    let asked = asked_by_claude_code(&provider, &gateway, &format!("{ORDER}Bash"));
    assert!(the_result(&asked).contains(SAID));
    assert_eq!(paths(&asked), ["/v1/chat/completions"; 2]);
}

#[test]
fn agents_work_on_a_gemini_endpoint() {
    let (provider, gateway) = agents_at(|config| only(config, "gemini"));
    // The signature of the call comes back with it.
    let signature = r#""thoughtSignature":"c2lnbmF0dXJl""#;
    let asked = asked_by_claude_code(&provider, &gateway, &format!("{ORDER}Bash"));
    let result = the_result(&asked);
    assert!(result.contains(SAID) && result.contains("functionResponse"));
    assert!(asked[1].text().contains(signature));

    let question = format!("{ORDER}exec_command");
    let asked = asked_by_codex(&provider, &gateway, &question, Some("some-model"));
    assert!(the_result(&asked).contains(SAID));
    assert!(asked[1].text().contains(signature));
}

#[test]
fn codex_works_on_an_anthropic_endpoint_and_on_one_that_has_chat_alone() {
    let on_messages: fn(Sample) -> Sample = |config| only(config, "anthropic");
    for (change, path) in [
        (on_messages, "/v1/messages"),
        (without_responses, "/v1/chat/completions"),
    ] {
        let (provider, gateway) = agents_at(change);
        let question = format!("{ORDER}exec_command");
        let asked = asked_by_codex(&provider, &gateway, &question, Some("some-model"));
        assert_eq!(paths(&asked), [path; 2]);
        assert!(the_result(&asked).contains(SAID));

        // With its default model it brings its tools in namespaces.
        let asked = asked_by_codex(&provider, &gateway, "Say hello", None);
        assert!(asked[0].text().contains("functions__exec"));
    }
}

/// A step of a conversation with tools, as an endpoint is asked for it.
#[derive(Debug, PartialEq)]
enum Step {
    Called(Call),
    /// ID of the call, and what its tool said.
    Told(String, String),
    /// The next message begins.
    Turn(String),
}

/// Steps since the first call of a tool, in any API of an endpoint.
fn steps(call: &Value) -> Vec<Step> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut steps = Vec::new();
    for message in call["messages"].as_array().into_iter().flatten() {
        steps.push(Step::Turn(text(&message["role"])));
        if message["role"] == "tool" {
            let said = message["content"].to_string();
            steps.push(Step::Told(text(&message["tool_call_id"]), said));
        }
        for tool in message["tool_calls"].as_array().into_iter().flatten() {
            let arguments = text(&tool["function"]["arguments"]);
            steps.push(Step::Called(Call {
                id: text(&tool["id"]),
                name: text(&tool["function"]["name"]),
                arguments: serde_json::from_str(&arguments).expect("an object"),
            }));
        }
        for block in message["content"].as_array().into_iter().flatten() {
            if block["type"] == "tool_use" {
                steps.push(Step::Called(Call {
                    id: text(&block["id"]),
                    name: text(&block["name"]),
                    arguments: block["input"].clone(),
                }));
            } else if block["type"] == "tool_result" {
                let said = block["content"].to_string();
                steps.push(Step::Told(text(&block["tool_use_id"]), said));
            }
        }
    }
    for content in call["contents"].as_array().into_iter().flatten() {
        let role = text(&content["role"]);
        steps.push(Step::Turn(role.replace("model", "assistant")));
        for part in content["parts"].as_array().into_iter().flatten() {
            let (called, told) = (&part["functionCall"], &part["functionResponse"]);
            if called.is_object() {
                steps.push(Step::Called(Call {
                    id: text(&called["id"]),
                    name: text(&called["name"]),
                    arguments: called["args"].clone(),
                }));
            } else if told.is_object() {
                let said = told["response"]["output"].to_string();
                steps.push(Step::Told(text(&told["id"]), said));
            }
        }
    }
    let first = steps
        .iter()
        .position(|step| matches!(step, Step::Called(_)));
    // With the turn that it stands in.
    steps.split_off(first.map_or(steps.len(), |first| first - 1))
}

/// Asserts that an agent that was told to has called its tool twice at once and twice again, and that all calls and
/// results have reached the endpoint in their order.
#[track_caller]
fn assert_four_calls(asked: &[Received], tool: &str) {
    assert_eq!(asked.len(), 3, "{:?}", paths(asked));
    let counts = asked.iter().map(|call| results(&call.json()).len());
    assert_eq!(counts.collect::<Vec<_>>(), [0, 2, 4]);
    let steps = steps(&asked[2].json());
    let is_chat = asked[2].path.contains("completions");
    let turn = |role: &str| Step::Turn(role.to_owned());
    let mut left = steps.iter();
    for pair in [[0, 1], [2, 3]] {
        assert_eq!(left.next(), Some(&turn("assistant")), "{steps:?}");
        for nth in pair {
            let called = Step::Called(Call::nth_of_four(tool, nth));
            assert_eq!(left.next(), Some(&called), "{steps:?}");
        }
        // Messages have all results in one turn, Chat Completions each in its own.
        let teller = if is_chat { "tool" } else { "user" };
        // An agent that runs both at once tells first which has ended first.
        let mut told = Vec::new();
        for place in 0..pair.len() {
            if is_chat || place == 0 {
                assert_eq!(left.next(), Some(&turn(teller)), "{steps:?}");
            }
            let Some(Step::Told(id, said)) = left.next() else {
                panic!("no result: {steps:?}")
            };
            told.push((id.clone(), said.clone()));
        }
        told.sort();
        for (nth, (id, said)) in pair.into_iter().zip(told) {
            assert_eq!(id, format!("call_{nth}"), "{steps:?}");
            assert!(said.contains(&format!("{SAID}-{nth} \u{fc}")), "{said}");
        }
    }
}

#[test]
fn claude_code_calls_tools_at_once_and_again_on_an_openai_endpoint() {
    let (provider, gateway) = agents_at(|config| only(config, "openai"));
    let asked = asked_by_claude_code(&provider, &gateway, &format!("{ORDER_OF_FOUR}Bash"));
    assert_four_calls(&asked, "Bash");
    assert_eq!(paths(&asked), ["/v1/chat/completions"; 3]);
}

#[test]
fn agents_call_tools_at_once_and_again_on_a_gemini_endpoint() {
    let (provider, gateway) = agents_at(|config| only(config, "gemini"));
    let asked = asked_by_claude_code(&provider, &gateway, &format!("{ORDER_OF_FOUR}Bash"));
    assert_four_calls(&asked, "Bash");

    let question = format!("{ORDER_OF_FOUR}exec_command");
    let asked = asked_by_codex(&provider, &gateway, &question, Some("some-model"));
    assert_four_calls(&asked, "exec_command");
}

#[test]
fn codex_calls_tools_at_once_and_again_on_the_other_apis() {
    let on_messages: fn(Sample) -> Sample = |config| only(config, "anthropic");
    for (change, path) in [
        (on_messages, "/v1/messages"),
        (without_responses, "/v1/chat/completions"),
    ] {
        let (provider, gateway) = agents_at(change);
        let question = format!("{ORDER_OF_FOUR}exec_command");
        let asked = asked_by_codex(&provider, &gateway, &question, Some("some-model"));
        assert_eq!(paths(&asked), [path; 3]);
        assert_four_calls(&asked, "exec_command");
    }
}
