//! Anthropic's API.

mod answer;
pub mod count_tokens;
pub mod messages;
mod prompt;
mod tools;
