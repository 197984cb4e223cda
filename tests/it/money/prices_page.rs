//! The rates and the worked examples of `docs/prices.md`, charged by a real gateway.

use crate::harness::project::in_project;
use crate::harness::{Gateway, Provider, Script, Setup, chat, mint, sample, spent};
use serde_json::{Value, json};

const GRANT: u64 = 100_000_000;
const DOLLAR: f64 = 1_000_000.0;

/// One row of the table of worked examples.
#[derive(Debug)]
struct Example {
    model: String,
    input: u64,
    cached: u64,
    output: u64,
    cost: u64,
    dollars: f64,
}

fn page() -> String {
    std::fs::read_to_string(in_project("docs/prices.md")).unwrap()
}

/// The first JSON block of the page.
fn rates(page: &str) -> Value {
    let blocks: Vec<&str> = page.split("```json\n").skip(1).collect();
    let (block, _) = blocks[0].split_once("```").unwrap();
    serde_json::from_str(block).unwrap()
}

fn number(text: &str) -> u64 {
    text.replace(',', "")
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Rows of the section "Worked examples": a cost such as `1,201 × 0.75 + 3 × 4.5 = 914.25, so 915` ends with the charge.
fn examples(page: &str) -> Vec<Example> {
    let (_, section) = page.split_once("## Worked examples").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (_, cost) = cells[4].rsplit_once(' ').unwrap();
        Example {
            model: cells[0].trim_matches('`').to_owned(),
            input: number(cells[1]),
            cached: number(cells[2]),
            output: number(cells[3]),
            cost: number(cost),
            dollars: cells[5].trim_start_matches('$').parse().unwrap(),
        }
    })
    .collect()
}

/// Reports the usage that the prompt begins with, as `input cached output `.
fn provider() -> Provider {
    Provider::start(|request| {
        let call = request.json();
        let prompt = call["messages"][0]["content"].as_str().unwrap().to_owned();
        let numbers: Vec<u64> = prompt.split(' ').take(3).map(number).collect();
        Script::json(
            200,
            &json!({
                "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_700_000_000,
                "model": call["model"],
                "choices": [{"index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "a"}}],
                "usage": {"prompt_tokens": numbers[0], "completion_tokens": numbers[2],
                    "total_tokens": numbers[0] + numbers[2],
                    "prompt_tokens_details": {"cached_tokens": numbers[1]}},
            }),
        )
    })
}

#[test]
fn worked_examples_of_the_page_cost_what_it_says() {
    let page = page();
    let provider = provider();
    let config = sample(&provider)
        .tokens(GRANT)
        .set("providers.text.rates", rates(&page));
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let examples = examples(&page);
    assert!(examples.len() >= 5, "{examples:?}");

    for example in examples {
        let Example {
            input,
            cached,
            output,
            ..
        } = example;
        // A prompt that may well have so many tokens.
        let bytes = usize::try_from(input * 4).unwrap();
        let prompt = format!("{input} {cached} {output} {}", "word".repeat(bytes / 4));
        let call = json!({
            "model": example.model, "max_tokens": output.max(16),
            "messages": [{"role": "user", "content": prompt}],
        });
        let before = spent(&gateway, &key, GRANT);

        let answer = chat(&gateway, "abc", &key, &call);

        assert_eq!(answer.status, 200, "{example:?}: {}", answer.text());
        assert_eq!(
            spent(&gateway, &key, GRANT) - before,
            example.cost,
            "{example:?}"
        );
        let dollars = example.cost as f64 / DOLLAR;
        assert!((dollars - example.dollars).abs() < 1e-9, "{example:?}");
    }
}
