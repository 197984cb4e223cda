//! Table of every [`Dialect`] that is served. A call that is not listed here is not forwarded.

use super::Dialect;
use super::anthropic::count_tokens::CountTokens;
use super::anthropic::messages::Messages;
use super::gemini;
use super::openai::audio::{Speech, TRANSCRIPTIONS, TRANSLATIONS};
use super::openai::chat::Chat;
use super::openai::completions::Completions;
use super::openai::embeddings::Embeddings;
use super::openai::images::{EDITS, Generations, VARIATIONS};
use super::openai::moderations::Moderations;
use super::openai::responses::Responses;

/// A call that is served, with what the OpenAPI document says of it.
pub struct Served {
    pub dialect: &'static dyn Dialect,
    /// `operationId`, which names the function in generated clients.
    pub id: &'static str,
    pub summary: &'static str,
}

/// Every call that is served.
pub static SERVED: &[Served] = &[
    row(
        &Chat,
        "createChatCompletion",
        "OpenAI's Chat Completions, forwarded",
    ),
    row(
        &Responses,
        "createResponse",
        "OpenAI's Responses, forwarded",
    ),
    row(
        &Completions,
        "createCompletion",
        "OpenAI's Completions, forwarded",
    ),
    row(
        &Embeddings,
        "createEmbedding",
        "OpenAI's Embeddings, forwarded",
    ),
    row(
        &Moderations,
        "createModeration",
        "OpenAI's Moderations, forwarded; they are free",
    ),
    row(
        &Generations,
        "createImage",
        "OpenAI's image generation, forwarded",
    ),
    row(&EDITS, "createImageEdit", "OpenAI's image edits, forwarded"),
    row(
        &VARIATIONS,
        "createImageVariation",
        "OpenAI's image variations, forwarded",
    ),
    row(
        &TRANSCRIPTIONS,
        "createTranscription",
        "OpenAI's transcriptions, forwarded",
    ),
    row(
        &TRANSLATIONS,
        "createTranslation",
        "OpenAI's translations, forwarded",
    ),
    row(&Speech, "createSpeech", "OpenAI's speech, forwarded"),
    row(
        &Messages,
        "createMessage",
        "Anthropic's Messages, forwarded",
    ),
    row(
        &CountTokens,
        "countMessageTokens",
        "Anthropic's token counting, forwarded; it is free",
    ),
    row(
        &gemini::generate::GENERATE,
        "generateContent",
        "Gemini's generateContent, forwarded",
    ),
    row(
        &gemini::generate::STREAM,
        "streamGenerateContent",
        "Gemini's streamGenerateContent, forwarded; with `alt=sse` alone",
    ),
    row(
        &gemini::count_tokens::CountTokens,
        "countTokens",
        "Gemini's token counting, forwarded; it is free",
    ),
];

const fn row(dialect: &'static dyn Dialect, id: &'static str, summary: &'static str) -> Served {
    Served {
        dialect,
        id,
        summary,
    }
}

/// Returns the dialect whose path below its version has exactly these segments.
pub fn find(words: &[&str]) -> Option<&'static dyn Dialect> {
    let mut dialects = SERVED.iter().map(|served| served.dialect);
    dialects.find(|dialect| dialect.path().split('/').eq(words.iter().copied()))
}
