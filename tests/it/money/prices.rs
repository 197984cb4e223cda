//! Prices: no spelling of a model name is cheaper, model lists are enforced, and the answering model sets the
//! price.

use crate::harness::{
    Gateway, Provider, Redis, Response, Script, Setup, chat, eventually, mint, sample, spent,
};
use serde_json::{Value, json};
use std::time::Duration;

const GRANT: u64 = 100_000;
/// Reported usage: 9 prompt and 5 output tokens.
const TOKENS: u64 = 14;

fn echo() -> Provider {
    Provider::start(|_| Script::chat("Hi", 9, 5))
}

/// A gateway with these members in endpoint `openai` and in `providers.text`.
fn start(provider: &Provider, endpoint: &Value, text: &Value) -> (Gateway, String) {
    let mut config = sample(provider).tokens(GRANT);
    for (path, members) in [("endpoints.openai.", endpoint), ("", text)] {
        for (name, value) in members.as_object().expect("members") {
            config = config.set(&format!("providers.text.{path}{name}"), value.clone());
        }
    }
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

fn call(model: &str) -> Value {
    json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]})
}

fn ask(gateway: &Gateway, key: &str, model: &str) -> Response {
    chat(gateway, "abc", key, &call(model))
}

/// Charge of one call of a model.
fn charged(gateway: &Gateway, key: &str, model: &str) -> u64 {
    let before = spent(gateway, key, GRANT);
    let answer = ask(gateway, key, model);
    assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    spent(gateway, key, GRANT) - before
}

fn code(answer: &Response) -> Value {
    answer.json()["error"]["code"].clone()
}

#[test]
fn no_spelling_of_a_model_is_cheaper_than_another() {
    let provider = echo();
    let rates = json!({"rates": {"llama3:70b": 50, "o1": 20, "gemini-2.5-pro": 30, "*": 1}});
    for (server, models) in [
        (
            "ollama",
            &[
                ("llama3:70b", 50),
                ("LLAMA3:70b", 50),
                ("library/llama3:70b", 50),
                ("registry.ollama.ai/library/Llama3:70B", 50),
                ("openai/O1:latest", 20),
                ("llama3", 1),
            ][..],
        ),
        (
            "gemini",
            &[("models/gemini-2.5-pro", 30), ("Gemini-2.5-Pro", 30)],
        ),
        (
            "generic",
            &[("library/LLAMA3:70b", 50), ("models/o1", 20), ("o1:x", 20)],
        ),
        (
            "openrouter",
            &[("O1:nitro", 20), ("o1:free", 20), ("other:free", 1)],
        ),
    ] {
        let (gateway, key) = start(&provider, &json!({"server": server}), &rates);
        for (model, rate) in models {
            let cost = charged(&gateway, &key, model);
            assert_eq!(cost, rate * TOKENS, "{server}: {model}");
        }
    }
}

#[test]
fn ambiguous_model_name_is_refused() {
    let provider = echo();
    let (gateway, key) = start(&provider, &json!({}), &json!({}));

    for model in [
        " o1",
        "o1 ",
        "openai//o1",
        "openai/",
        "openai/ o1",
        "",
        "o\t1",
        "o1\u{0}",
        "a/../o1",
    ] {
        let answer = ask(&gateway, &key, model);
        assert_eq!(answer.status, 400, "{model:?}: {}", answer.text());
        assert_eq!(code(&answer), "invalid_body", "{model:?}");
        let message = answer.json()["error"]["message"].clone();
        assert!(
            message.as_str().expect("text").starts_with("model "),
            "{message}"
        );
    }
    assert!(provider.requests().is_empty());
    assert_eq!(spent(&gateway, &key, GRANT), 0);
}

#[test]
fn model_version_is_a_date() {
    let provider = echo();
    let rates = json!({"rates": {"o1": 15, "gpt-5": 2, "gpt-4o-mini": 3, "*": 100}});
    let (gateway, key) = start(&provider, &json!({"server": "openai"}), &rates);

    for (model, rate) in [
        ("o1", 15),
        ("o1-2024-12-17", 15),
        ("o1-pro", 100),
        ("gpt-5-pro", 100),
        ("gpt-5@20250807", 2),
        ("gpt-5-latest", 2),
        ("gpt-4o-mini-search-preview", 100),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", 3),
    ] {
        assert_eq!(charged(&gateway, &key, model), rate * TOKENS, "{model}");
    }
}

#[test]
fn endpoint_with_a_model_list_serves_only_listed_models() {
    let provider = echo();
    let listed = json!({"models": ["gpt-4o-mini", "o1"], "default_model": "gpt-4o"});
    let (gateway, key) = start(&provider, &listed, &json!({}));

    for model in [
        "o1",
        "gpt-4o",
        "GPT-4o",
        "openai/o1",
        "o1-2024-12-17",
        "gpt-4o-mini-2024-07-18",
    ] {
        let answer = ask(&gateway, &key, model);
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    }

    let mut without = call("");
    without.as_object_mut().expect("an object").remove("model");
    assert_eq!(chat(&gateway, "abc", &key, &without).status, 200);

    let (served, before) = (provider.requests().len(), spent(&gateway, &key, GRANT));
    for model in ["o1-pro", "openai/o1-pro", "gpt-5-unknown", "ft:o1:acme::x"] {
        let answer = ask(&gateway, &key, model);
        assert_eq!(
            (answer.status, code(&answer)),
            (404, json!("model_not_found")),
            "{model}"
        );
        let text = answer.text();
        assert!(!text.contains("mini") && !text.contains("gpt-4o"), "{text}");
    }
    // An unknown key learns nothing about the list.
    assert_eq!(ask(&gateway, "sk-no-such-key", "o1-pro").status, 401);

    let anthropic = gateway.client();
    let request = anthropic.request("POST", "/abc/v1/messages").bearer(&key);
    assert_eq!(request.json(&call("o1-pro")).send().status, 404);
    assert_eq!(provider.requests().len(), served);
    assert_eq!(spent(&gateway, &key, GRANT), before);
}

#[test]
fn only_listed_serves_listed_and_rated_models() {
    let provider = echo();
    let text = json!({"only_listed": true, "rates": {"o1": 2, "*": 1}});
    let (gateway, key) = start(&provider, &json!({}), &text);

    for (model, status) in [
        ("o1", 200),
        ("O1-2024-12-17", 200),
        ("gpt-4o", 200),
        ("o1-pro", 404),
        ("openai/gpt-5", 404),
        ("*", 404),
    ] {
        assert_eq!(ask(&gateway, &key, model).status, status, "{model}");
    }
    assert_eq!(provider.requests().len(), 3);
}

/// The group is known only after the admission, so the hold is released at once.
#[test]
fn group_with_a_model_list_gets_only_listed_models() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = echo();
        let config = sample(&provider)
            .tokens(GRANT)
            .set(
                "user_groups.anonymous.models",
                json!(["cheap", "openai/small"]),
            )
            .set("user_groups.members", json!({"tokens": GRANT}));
        let gateway = Gateway::start(setup.tenant("abc", config));
        let key = mint(&gateway, "abc");
        // Often enough to be leased.
        for _ in 0..30 {
            for model in ["cheap", "small", "openai/Cheap", "small-2024-08-06"] {
                assert_eq!(ask(&gateway, &key, model).status, 200, "{model}");
            }
            for model in ["dear", "openai/dear", "cheap-pro"] {
                let answer = ask(&gateway, &key, model);
                assert_eq!(
                    (answer.status, code(&answer)),
                    (404, json!("model_not_found"))
                );
            }
        }
        assert_eq!(provider.requests().len(), 4 * 30);
        assert_eq!(spent(&gateway, &key, GRANT), 4 * 30 * TOKENS);
        let listed = |path: &str| {
            let client = gateway.client();
            client.request("GET", path).bearer(&key).send()
        };
        let ids = listed("/abc/v1/models").json()["data"].clone();
        let ids: Vec<&str> = ids.as_array().expect("a list").iter().map(id).collect();
        assert_eq!(ids, ["cheap", "openai/small"]);
        assert_eq!(listed("/abc/v1/models/gpt-4o").status, 404);
        // An unlisted model is refused as unlisted even if it is also too expensive.
        let mut long = call("dear");
        long["messages"][0]["content"] = "word ".repeat(30_000).into();
        assert_eq!(chat(&gateway, "abc", &key, &long).status, 404);

        let path = format!("/abc/admin/keys/{key}");
        let client = gateway.client();
        let moved = client.request("PATCH", &path).bearer(gateway.admin_token());
        assert_eq!(moved.json(&json!({"group": "members"})).send().status, 200);
        eventually(Duration::from_secs(5), "it may ask for all", || {
            (ask(&gateway, &key, "dear").status == 200).then_some(())
        });
    }
}

fn id(model: &Value) -> &str {
    model["id"].as_str().expect("an id")
}

/// Members that select another model are refused unless the operator allows them.
#[test]
fn caller_cannot_make_another_model_answer() {
    let provider = echo();
    for server in ["openrouter", "litellm", "generic"] {
        let (gateway, key) = start(&provider, &json!({"server": server}), &json!({}));
        for (member, value) in [
            ("models", json!(["a/dear"])),
            ("route", json!("fallback")),
            ("provider", json!({"order": ["x"]})),
            ("preset", json!("x")),
            ("fallbacks", json!([{"model": "a/dear"}])),
            ("context_window_fallback_dict", json!({"m": "a/dear"})),
        ] {
            let mut call = call("m");
            call[member] = value;
            let answer = chat(&gateway, "abc", &key, &call);
            assert_eq!(answer.status, 400, "{server} {member}");
            assert!(answer.text().contains(member), "{}", answer.text());
        }
    }
    assert!(provider.requests().is_empty());
}

/// A provider that names this model in its response, plain or streamed.
fn answering(model: &'static str) -> Provider {
    Provider::start(move |request| {
        let call = request.json();
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14});
        let other = json!({"input_tokens": 9, "output_tokens": 5});
        let text = json!([{"type": "text", "text": "Hi"}]);
        let is_stream = call["stream"] == true;
        match request.path.as_str() {
            "/v1/messages" if is_stream => Script::sse_named([
                (
                    "message_start",
                    json!({"type": "message_start", "message": {
                    "type": "message", "model": model, "content": [], "usage": {"input_tokens": 9}}}),
                ),
                (
                    "message_delta",
                    json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}}),
                ),
                ("message_stop", json!({"type": "message_stop"})),
            ]),
            "/v1/messages" => Script::json(
                200,
                &json!({"type": "message", "role": "assistant",
                "model": model, "content": text, "usage": other}),
            ),
            "/v1/responses" if is_stream => Script::sse([json!({"type": "response.completed",
                "response": {"status": "completed", "model": model, "output": [], "usage": other}})
            .to_string()]),
            "/v1/responses" => Script::json(
                200,
                &json!({"object": "response", "status": "completed",
                "model": model, "output": [], "usage": other}),
            ),
            "/v1/embeddings" => Script::json(
                200,
                &json!({"object": "list", "data": [], "model": model,
                "usage": {"prompt_tokens": 14, "total_tokens": 14}}),
            ),
            _ if is_stream => {
                let chunk =
                    json!({"model": model, "choices": [{"index": 0, "delta": {"content": "Hi"}}]});
                let last = json!({"model": model, "choices": [], "usage": usage});
                Script::sse([chunk.to_string(), last.to_string(), "[DONE]".to_owned()])
            }
            _ => Script::json(
                200,
                &json!({"model": model, "usage": usage,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}),
            ),
        }
    })
}

/// Charges of each kind of call whose response names `model`.
fn charged_when(model: &'static str, asked: &str) -> Vec<u64> {
    let provider = answering(model);
    let text = json!({"rates": {"cheap": 2, "dear": 50, "tiny": 1, "*": 9}});
    let config = sample(&provider)
        .tokens(GRANT)
        .endpoint("anthropic", &provider.url("/v1/messages"), "cheap")
        .set("providers.text.endpoints.openai.members", json!(["models"]))
        .set("providers.text.rates", text["rates"].clone());
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut costs = Vec::new();
    for (path, stream) in [
        ("chat/completions", false),
        ("chat/completions", true),
        ("responses", false),
        ("responses", true),
        ("messages", false),
        ("messages", true),
        ("embeddings", false),
    ] {
        let body = match path {
            "chat/completions" => json!({"model": asked, "models": ["dear"], "max_tokens": 50,
                "messages": [{"role": "user", "content": "Hi"}], "stream": stream}),
            "responses" => {
                json!({"model": asked, "input": "Hi", "max_output_tokens": 50, "stream": stream})
            }
            "embeddings" => json!({"model": asked, "input": "Hi"}),
            _ => json!({"model": asked, "max_tokens": 50, "stream": stream,
                "messages": [{"role": "user", "content": "Hi"}]}),
        };
        let before = spent(&gateway, &key, GRANT);
        let client = gateway.client();
        let request = client
            .request("POST", &format!("/abc/v1/{path}"))
            .bearer(&key);
        let answer = request.json(&body).send();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        costs.push(spent(&gateway, &key, GRANT) - before);
    }
    costs
}

#[test]
fn answer_of_a_more_expensive_model_costs_that_models_rate() {
    assert_eq!(charged_when("dear-2024-08-06", "cheap"), [50 * TOKENS; 7]);
    // Never cheaper than the requested model.
    assert_eq!(charged_when("tiny", "cheap"), [2 * TOKENS; 7]);
    // Self-hosted servers use arbitrary names, so the default rate `*` does not apply to a response's name.
    assert_eq!(charged_when("/srv/cheap.gguf", "cheap"), [2 * TOKENS; 7]);
    assert_eq!(charged_when("cheap", "unknown"), [9 * TOKENS; 7]);
}
