//! Pairs that were once served more than was charged, one test each.

use super::exceptions::is_kept;
use super::ground;
use super::members::HOSTED_TOOL;
use super::pairs::{self, Client, Pair};
use super::turns::Ending;
use crate::harness::Setup;

fn all_kept(pairs: Vec<Pair>) {
    assert!(!pairs.is_empty(), "there is nothing to look at");
    for (pair, outcome) in ground::play(Setup::new(), false, pairs) {
        let (name, odd) = (pair.server.name, &pair.odd);
        assert!(is_kept(&outcome), "{name} {odd}: {outcome:?}");
    }
}

fn of(all: Vec<Pair>, is_it: impl Fn(&Pair) -> bool) -> Vec<Pair> {
    all.into_iter().filter(is_it).collect()
}

/// `"tools":[{"type":"web_search"}]` in a chat: Groq, OpenRouter and others run it themselves.
#[test]
fn hosted_tools_in_a_chat_are_never_free() {
    let is_it = |pair: &Pair| pair.server.name == "groq" && pair.odd == HOSTED_TOOL;
    all_kept(of(pairs::members(), is_it));
}

/// Azure takes `data_sources`, and counts the documents that it finds into the prompt.
#[test]
fn azure_data_sources_are_never_free() {
    let is_it = |pair: &Pair| pair.server.name == "azure" && pair.odd == "data_sources";
    all_kept(of(pairs::members(), is_it));
}

/// `"metadata":{"mcp_servers":"all"}`: LocalAI runs the operator's tools for it, round after round.
#[test]
fn localai_mcp_servers_are_never_free() {
    let is_it = |pair: &Pair| {
        pair.server.name == "localai" && pair.odd == "metadata" && pair.body.contains("mcp_servers")
    };
    all_kept(of(pairs::members(), is_it));
}

/// An image that vLLM has in its cache is asked for by its `uuid` alone.
#[test]
fn cached_vllm_images_are_never_free() {
    let is_it = |pair: &Pair| pair.server.name == "vllm" && pair.odd.contains("uuid");
    all_kept(of(pairs::inside(), is_it));
}

/// A list of images is one part at DashScope, and a sound's address stands where its bytes would.
#[test]
fn dashscope_image_lists_and_sound_urls_are_never_free() {
    let is_it = |pair: &Pair| {
        let odd = &pair.odd;
        pair.server.name == "dashscope"
            && (odd.contains(r#""video":["#) || odd.contains("input_audio"))
    };
    all_kept(of(pairs::inside(), is_it));
}

/// OpenRouter takes a document's address as its `file_data`.
#[test]
fn openrouter_document_urls_are_never_free() {
    let is_it = |pair: &Pair| pair.server.name == "openrouter" && pair.odd.contains("file_data");
    all_kept(of(pairs::inside(), is_it));
}

/// llama.cpp, Ollama and TGI quote in the message of an error what they have generated.
#[test]
fn answers_quoted_in_an_error_are_never_free() {
    let is_it = |pair: &Pair| {
        let servers = ["llamacpp", "ollama", "tgi"];
        let is_plain = pair.client == Client::Reads && !pair.streams;
        is_plain && pair.turn.ending == Ending::Unparsed && servers.contains(&pair.server.name)
    };
    all_kept(of(pairs::product(), is_it));
}

/// A client stops reading and disconnects while tokens are in flight. About one in six pairs shows it.
#[test]
fn tokens_in_flight_at_a_cut_are_never_free() {
    let is_it = |pair: &Pair| {
        let servers = ["openai", "openai-responses-shows"];
        pair.client == Client::StopsReading && servers.contains(&pair.server.name)
    };
    all_kept((0..8).flat_map(|_| of(pairs::product(), is_it)).collect());
}
