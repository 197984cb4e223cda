//! Anthropic's API: `messages` and `messages/count_tokens`.

mod answer;
pub mod count_tokens;
pub mod messages;
mod prompt;
mod tools;
