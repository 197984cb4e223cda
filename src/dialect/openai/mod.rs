//! OpenAI's API.

pub mod chat;
