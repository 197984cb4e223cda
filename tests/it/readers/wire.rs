//! The same bodies through the built gateway: the provider receives what `forwarding` computes.

use super::forwarding::{Kind, PLENTY, Way, tenant};
use super::{drawn, seed};
use crate::fuzz::Dice;
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, Script, Setup, mint};
use resullm::json;
use serde_json::json as value;

const SERVERS: &[&str] = &["generic", "ollama"];

/// Output limit that the gateway chose for the balance.
fn chosen(kind: Kind, received: &Received) -> Option<u64> {
    let name = match kind.path {
        "responses" => "max_output_tokens",
        _ => "max_tokens",
    };
    // A strict JSON parser might refuse numbers of this body.
    let limit = json::value(&received.body, name)?;
    std::str::from_utf8(limit).ok()?.parse().ok()
}

/// Sends `count` bodies of a call; returns the number that reached the provider.
pub fn compare(kind: Kind, server: &str, count: u64) -> u64 {
    // Small usage, so that the key lasts.
    let usage = value!({
        "prompt_tokens": 1, "completion_tokens": 1, "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
    });
    let provider = Provider::start(move |_| Script::json(200, &value!({ "usage": usage })));
    let config = tenant(&provider.url(""), server, kind);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let mut key = mint(&gateway, "abc");
    let path = format!("/abc/v1/{}", kind.path);
    let (mut reached, first) = (0, seed());
    for number in first..first + count {
        let (content_type, bytes) = drawn(kind, &mut Dice::new(number));
        let before = provider.requests().len();
        let answer = gateway
            .client()
            .request("POST", &path)
            .bearer(&key)
            .header("content-type", &content_type)
            .body(bytes.clone())
            .send();
        let requests = provider.requests();
        let expected = Way::new(kind, server, PLENTY).forward(&content_type, &bytes);
        let about = || {
            format!(
                "{} READERS_SEED={number}: {} {}",
                kind.path,
                answer.status,
                answer.text()
            )
        };
        let (Some(received), Ok(expected)) = (requests.get(before), &expected) else {
            // A body beyond the balance is refused after it was read.
            let is_refused = requests.len() == before && (400..500).contains(&answer.status);
            assert!(
                is_refused && (answer.status == 402 || expected.is_err()),
                "{}",
                about()
            );
            if answer.status == 402 {
                key = mint(&gateway, "abc");
            }
            continue;
        };
        let answers = expected.call.answers;
        let held = chosen(kind, received).map_or(PLENTY, |limit| limit.saturating_mul(answers));
        let expected = Way::new(kind, server, held).forward(&content_type, &bytes);
        let expected = expected.expect("what was read before").sent;
        let sent = received.header("content-type").map(str::as_bytes);
        let [left, reckoned] = [&received.body, &expected.bytes].map(|bytes| bytes.escape_ascii());
        assert!(
            received.body == expected.bytes,
            "{}\n  {left}\n  {reckoned}",
            about()
        );
        assert_eq!(sent, Some(expected.content_type.as_slice()), "{}", about());
        reached += 1;
    }
    reached
}

/// Runs every call at servers with different known members.
pub fn compare_all(kinds: &[Kind], count: u64) -> u64 {
    let pairs = kinds
        .iter()
        .flat_map(|kind| SERVERS.iter().map(move |server| (kind, server)));
    pairs
        .map(|(kind, server)| {
            let reached = compare(*kind, server, count);
            assert!(reached > count / 10, "{} {server}: {reached}", kind.path);
            reached
        })
        .sum()
}
