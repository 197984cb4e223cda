//! Google's official SDK by its base URL alone: on an endpoint of its own API, and on those of others.

use serde_json::{Value, json};

use super::agents::paths;
use super::official::{Caller, PLENTY, SDKS, Sdk, TENANT, Vendor, assert_left};
use super::provider::{EXCUSE, GEMINI, TEXT, start_scripted, start_with};
use super::translated::only;
use crate::harness::provider::Received;
use crate::harness::sample::PROVIDER_KEY;
use crate::harness::script::content;
use crate::harness::{Gateway, Sample, Script, mint};

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

fn caller<'g>(sdk: Sdk, gateway: &'g Gateway, key: &'g str) -> Caller<'g> {
    Caller {
        model: "gemini-2.5-flash",
        ..Caller::of(Vendor::Google, sdk, gateway, key)
    }
}

fn at(name: &'static str) -> impl Fn(Sample) -> Sample {
    move |config| only(config, name)
}

#[test]
fn google_sdk_is_answered_by_its_own_api() {
    let (provider, gateway) = start_with(at("gemini"));
    for sdk in SDKS {
        for (call, tokens, path) in [
            ("generate", 14, GEMINI),
            ("image", 14, GEMINI),
            ("stream", 14, STREAM),
        ] {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();

            let answer = caller(sdk, &gateway, &key).answer(call);

            assert_eq!(answer["text"], TEXT, "{sdk:?} {call}");
            assert_eq!(answer["finish_reason"], "STOP", "{sdk:?} {call}");
            assert_eq!(answer["id"], "response-scripted", "{sdk:?} {call}");
            assert_eq!(answer["total_tokens"], tokens, "{sdk:?} {call}");
            assert_eq!(answer["attempts"], 1, "{sdk:?} {call}");
            assert_left(&gateway, &key, PLENTY - tokens);
            let asked = provider.requests().split_off(before);
            assert_eq!(paths(&asked), [path], "{sdk:?} {call}");
            let sent = asked[0].header("x-goog-api-key");
            assert_eq!(sent, Some(PROVIDER_KEY), "{sdk:?} {call}");
            assert!(!format!("{:?}", asked[0]).contains(&key));
        }
        let key = mint(&gateway, TENANT);
        let counted = caller(sdk, &gateway, &key).answer("count-tokens");
        assert_eq!(counted["total_tokens"], 17, "{sdk:?}");
        let listed = caller(sdk, &gateway, &key).answer("models");
        assert_eq!(
            listed["models"],
            json!(["models/gemini-2.5-flash"]),
            "{sdk:?}"
        );
        assert_left(&gateway, &key, PLENTY);
    }
}

#[test]
fn google_sdk_is_answered_by_endpoints_of_other_apis() {
    for (name, path, tokens) in [
        ("openai", "/v1/chat/completions", [14, 14]),
        ("anthropic", "/v1/messages", [21, 16]),
    ] {
        let (provider, gateway) = start_with(at(name));
        for sdk in SDKS {
            for (call, tokens) in [("generate", tokens[0]), ("stream", tokens[1])] {
                let key = mint(&gateway, TENANT);
                let before = provider.requests().len();

                let answer = caller(sdk, &gateway, &key).answer(call);

                assert_eq!(answer["text"], TEXT, "{name} {sdk:?} {call}");
                assert_eq!(answer["finish_reason"], "STOP", "{name} {sdk:?} {call}");
                assert_eq!(answer["total_tokens"], tokens, "{name} {sdk:?} {call}");
                assert_left(&gateway, &key, PLENTY - tokens);
                let asked = provider.requests().split_off(before);
                assert_eq!(paths(&asked), [path], "{name} {sdk:?} {call}");
            }
        }
    }
}

#[test]
fn base_url_with_a_version_leads_to_the_same_calls() {
    let (provider, gateway) = start_with(at("gemini"));
    for base in ["/v1beta", "/v1", "/"] {
        let key = mint(&gateway, TENANT);
        let caller = Caller {
            base,
            ..caller(Sdk::Python, &gateway, &key)
        };
        assert_eq!(caller.answer("generate")["text"], TEXT, "{base}");
    }
    assert_eq!(paths(&provider.requests()), [GEMINI; 3]);
}

#[test]
fn errors_raise_the_sdks_own_exceptions() {
    for name in ["gemini", "openai", "anthropic"] {
        let (_provider, gateway) = start_with(at(name));
        for (model, status, raised) in [
            ("status-400", 400, "ClientError"),
            ("status-404", 404, "ClientError"),
            ("status-429", 429, "ClientError"),
            ("status-500", 500, "ServerError"),
        ] {
            for sdk in SDKS {
                let key = mint(&gateway, TENANT);
                let caller = Caller {
                    model,
                    ..caller(sdk, &gateway, &key)
                };
                let refusal = caller.call("generate", 1).refusal;
                let raised = match sdk {
                    Sdk::Python => raised,
                    Sdk::Node => "ApiError",
                };
                assert_eq!(
                    refusal["raised"], raised,
                    "{name} {sdk:?} {model}: {refusal}"
                );
                assert_eq!(
                    refusal["status"], status,
                    "{name} {sdk:?} {model}: {refusal}"
                );
                assert!(
                    refusal.to_string().contains(EXCUSE),
                    "{name} {sdk:?}: {refusal}"
                );
                assert_left(&gateway, &key, PLENTY);
            }
        }
    }
}

#[test]
fn own_refusals_have_googles_shape() {
    let (_provider, gateway) = start_with(|config| only(config, "gemini").tokens(20));
    let key = mint(&gateway, TENANT);
    for (key, status, word, reason) in [
        (
            key.as_str(),
            402,
            "FAILED_PRECONDITION",
            "INSUFFICIENT_TOKENS",
        ),
        ("temp_nobody", 401, "UNAUTHENTICATED", "INVALID_API_KEY"),
    ] {
        let refusal = caller(Sdk::Python, &gateway, key).call("image", 1).refusal;
        assert_eq!(refusal["status"], status, "{refusal}");
        assert_eq!(refusal["type"], word, "{refusal}");
        assert_eq!(refusal["attempts"], 1, "{refusal}");
        let detail = &refusal["body"]["error"]["details"][0];
        assert_eq!(detail["reason"], reason, "{refusal}");
        assert_eq!(detail["domain"], "resullm", "{refusal}");
        let refusal = caller(Sdk::Node, &gateway, key).call("image", 1).refusal;
        assert_eq!(refusal["status"], status, "{refusal}");
    }
}

#[test]
fn stream_that_breaks_off_raises() {
    for name in ["gemini", "openai", "anthropic"] {
        let (_provider, gateway) = start_with(at(name));
        for (sdk, model) in [
            (Sdk::Python, "cut"),
            (Sdk::Node, "cut"),
            (Sdk::Python, "short"),
        ] {
            let key = mint(&gateway, TENANT);
            let caller = Caller {
                model,
                ..caller(sdk, &gateway, &key)
            };
            let refusal = caller.call("stream", 1).refusal;
            assert_ne!(refusal, Value::Null, "{name} {sdk:?} {model}");
        }
    }
}

/// Two rounds of parallel calls of a tool, then a text. The arguments come in pieces where an API has any.
fn rounds(request: &Received) -> Script {
    let call = request.json();
    let cities = [["Rome", "Oslo"], ["Lima", "Bern"]];
    let text = request.text();
    let round = cities
        .iter()
        .position(|[city, _]| !text.contains(&format!("of {city}")));
    let path = request.path.split('?').next().unwrap_or_default();
    let input = |city: &str| json!({"city": city}).to_string();
    let id = |at: usize| format!("call_{}_{at}", round.unwrap_or_default());
    let usage = (40, 9);
    match (path, round) {
        ("/v1/chat/completions", None) => Script::chat_stream(&[TEXT], usage.0, usage.1),
        ("/v1/chat/completions", Some(round)) => {
            let chunk = |delta: Value, reason: Value| {
                json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": call["model"],
                    "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
            };
            let mut events = Vec::new();
            for (at, city) in cities[round].iter().enumerate() {
                let begun = json!({"index": at, "id": id(at), "type": "function", "function": {"name": "weather", "arguments": ""}});
                events.push(chunk(json!({"tool_calls": [begun]}), Value::Null));
                for piece in input(city).as_bytes().chunks(3) {
                    let piece = String::from_utf8_lossy(piece);
                    let more = json!({"index": at, "function": {"arguments": piece}});
                    events.push(chunk(json!({"tool_calls": [more]}), Value::Null));
                }
            }
            events.push(chunk(json!({}), json!("tool_calls")));
            let mut last = chunk(json!({}), Value::Null);
            last["choices"] = json!([]);
            last["usage"] = json!({"prompt_tokens": usage.0, "completion_tokens": usage.1, "total_tokens": usage.0 + usage.1});
            events.push(last);
            let events = events.iter().map(Value::to_string);
            Script::sse(events.chain(["[DONE]".to_owned()]))
        }
        ("/v1/messages", None) => Script::message_stream(&[TEXT], usage.0, usage.1),
        ("/v1/messages", Some(round)) => {
            let message = json!({"id": "m", "type": "message", "role": "assistant", "model": call["model"], "content": [],
                "stop_reason": null, "usage": {"input_tokens": usage.0, "output_tokens": 1}});
            let mut events = vec![("message_start", json!({"message": message}))];
            for (at, city) in cities[round].iter().enumerate() {
                let block =
                    json!({"type": "tool_use", "id": id(at), "name": "weather", "input": {}});
                events.push((
                    "content_block_start",
                    json!({"index": at, "content_block": block}),
                ));
                for piece in input(city).as_bytes().chunks(3) {
                    let delta = json!({"type": "input_json_delta", "partial_json": String::from_utf8_lossy(piece)});
                    events.push(("content_block_delta", json!({"index": at, "delta": delta})));
                }
                events.push(("content_block_stop", json!({"index": at})));
            }
            let end =
                json!({"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": usage.1}});
            events.push(("message_delta", end));
            events.push(("message_stop", json!({})));
            Script::sse_named(events.into_iter().map(|(name, mut data)| {
                data["type"] = json!(name);
                (name, data)
            }))
        }
        (_, None) => Script::content_stream(&[TEXT], usage.0, usage.1),
        (_, Some(round)) => {
            let calls = cities[round].map(|city| {
                json!({"functionCall": {"name": "weather", "args": {"city": city}}, "thoughtSignature": "c2ln"})
            });
            let mut last = content("", Some("STOP"), usage.0, usage.1);
            last["candidates"][0]["content"]["parts"] = json!(calls);
            Script::sse([last.to_string()])
        }
    }
}

#[test]
fn loop_of_three_turns_with_parallel_calls_works_on_every_api() {
    let (provider, gateway) = start_scripted(rounds, |config| config);
    for (model, results) in [
        ("openai/gpt-4o", "/messages/5/content"),
        (
            "anthropic/claude-sonnet-4-5",
            "/messages/4/content/0/content/0/text",
        ),
        (
            "gemini/gemini-2.5-flash",
            "/contents/4/parts/0/functionResponse/response/output",
        ),
    ] {
        for sdk in SDKS {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();
            let caller = Caller {
                model,
                ..caller(sdk, &gateway, &key)
            };

            let answer = caller.answer("tools");

            assert_eq!(
                (answer["text"].clone(), answer["turns"].clone()),
                (json!(TEXT), json!(3)),
                "{model} {sdk:?}"
            );
            let cities = answer["called"].as_array().expect("calls").iter();
            let cities: Vec<&Value> = cities.map(|call| &call["args"]["city"]).collect();
            assert_eq!(cities, ["Rome", "Oslo", "Lima", "Bern"], "{model} {sdk:?}");
            assert_left(&gateway, &key, PLENTY - 3 * 49);
            let asked = provider.requests().split_off(before);
            assert_eq!(asked.len(), 3, "{model} {sdk:?}");
            let last = asked[2].json();
            assert_eq!(
                last.pointer(results),
                Some(&json!("of Lima")),
                "{model} {sdk:?}: {last}"
            );
        }
    }
}

#[test]
fn key_in_the_query_is_taken_where_the_tenant_says_so() {
    let key_of = |takes: bool| {
        let (provider, gateway) =
            start_with(move |config| only(config, "gemini").set("auth.key_in_query", json!(takes)));
        let key = mint(&gateway, TENANT);
        let path = format!(
            "/{TENANT}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key={key}"
        );
        let answer = gateway
            .client()
            .request("POST", &path)
            .json(&json!({"contents": [{"parts": [{"text": "Hello"}]}]}))
            .send();
        assert!(
            provider
                .requests()
                .iter()
                .all(|asked| !asked.path.contains(&key))
        );
        assert!(gateway.logs().iter().all(|line| !line.contains(&key)));
        (answer.status, answer.text())
    };
    let (status, text) = key_of(true);
    assert_eq!(status, 200, "{text}");
    let (status, text) = key_of(false);
    assert_eq!(status, 401);
    assert!(text.contains("auth.key_in_query"), "{text}");
}

#[test]
fn a_stream_that_is_no_stream_of_events_is_refused_with_words() {
    let (provider, gateway) = start_with(at("gemini"));
    let key = mint(&gateway, TENANT);
    let path = format!("/{TENANT}/v1beta/models/gemini-2.5-flash:streamGenerateContent");
    let answer = gateway
        .client()
        .request("POST", &path)
        .header("x-goog-api-key", &key)
        .json(&json!({"contents": []}))
        .send();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("alt=sse"), "{}", answer.text());
    assert!(provider.requests().is_empty());
}

/// A call of the same words is answered again, in either form, and never for a client of another API.
#[test]
fn kept_answers_are_given_whole_and_as_streams() {
    let (provider, gateway) = start_with(|config| only(config, "gemini").caching(20));
    let key = mint(&gateway, TENANT);
    let ask = |path: &str, body: &Value| {
        gateway
            .client()
            .request("POST", &format!("/{TENANT}{path}"))
            .header("x-goog-api-key", &key)
            .json(body)
            .send()
    };
    let contents = json!({"contents": [{"parts": [{"text": "Hello"}]}], "serviceTier": "flex"});
    let plain = "/v1beta/models/gemini-2.5-flash:generateContent";
    let stream = "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    let first = ask(stream, &contents);
    assert_eq!(first.header("x-resullm-cache"), Some("miss"));
    for path in [plain, stream] {
        let again = ask(path, &contents);
        assert_eq!(again.header("x-resullm-cache"), Some("hit"), "{path}");
        assert_eq!(
            again.header("x-resullm-removed"),
            Some("serviceTier"),
            "{path}"
        );
        assert!(
            again.text().contains("\"STOP\""),
            "{path}: {}",
            again.text()
        );
        assert!(again.text().contains(TEXT), "{path}: {}", again.text());
        assert_eq!(again.text().starts_with("data: "), path == stream, "{path}");
    }
    for (path, body) in [
        (
            "/v1beta/models/gemini-2.5-pro:generateContent",
            contents.clone(),
        ),
        (
            plain,
            json!({"contents": [{"parts": [{"text": "Hello!"}]}]}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Hello"}]}),
        ),
    ] {
        let other = ask(path, &body);
        assert_eq!(other.header("x-resullm-cache"), Some("miss"), "{path}");
    }
    assert_eq!(provider.requests().len(), 4);
}

#[test]
fn failover_leads_from_an_api_to_another() {
    let (provider, gateway) = start_with(|config| {
        config
            .set("providers.text.default", json!("gemini"))
            .set(
                "providers.text.endpoints.gemini.models",
                json!(["status-500"]),
            )
            .set("providers.text.fallbacks", json!(["anthropic", "openai"]))
    });
    for (vendor, call) in [
        (Vendor::Google, "stream"),
        (Vendor::OpenAi, "stream"),
        (Vendor::Anthropic, "message"),
    ] {
        let key = mint(&gateway, TENANT);
        let before = provider.requests().len();
        let caller = Caller {
            model: "gemini/status-500",
            ..Caller::of(vendor, Sdk::Python, &gateway, &key)
        };

        let answer = caller.answer(call);

        assert_eq!(answer["text"], TEXT, "{vendor:?}");
        let asked = provider.requests().split_off(before);
        let paths = paths(&asked);
        assert!(
            paths[0].starts_with("/v1beta/models/status-500"),
            "{paths:?}"
        );
        assert_eq!(paths[1..], ["/v1/messages"], "{vendor:?}");
        let tokens = if call == "message" { 21 } else { 16 };
        assert_left(&gateway, &key, PLENTY - tokens);
    }
}
