//! Table of every [`Dialect`] that is served. A call that is not listed here is not forwarded.

use super::Dialect;
use super::anthropic::count_tokens::CountTokens;
use super::anthropic::messages::Messages;
use super::openai::audio::{Speech, TRANSCRIPTIONS, TRANSLATIONS};
use super::openai::chat::Chat;
use super::openai::completions::Completions;
use super::openai::embeddings::Embeddings;
use super::openai::images::{EDITS, Generations, VARIATIONS};
use super::openai::moderations::Moderations;
use super::openai::responses::Responses;

static DIALECTS: &[&dyn Dialect] = &[
    &Chat,
    &Responses,
    &Completions,
    &Embeddings,
    &Moderations,
    &Generations,
    &EDITS,
    &VARIATIONS,
    &TRANSCRIPTIONS,
    &TRANSLATIONS,
    &Speech,
    &Messages,
    &CountTokens,
];

/// Returns the dialect whose path below `v1` has exactly these segments.
pub fn find(words: &[&str]) -> Option<&'static dyn Dialect> {
    let fits = |dialect: &&&dyn Dialect| dialect.path().split('/').eq(words.iter().copied());
    DIALECTS.iter().find(fits).copied()
}
