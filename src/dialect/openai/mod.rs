//! OpenAI's API.

pub mod audio;
pub mod chat;
pub mod choices;
pub mod completions;
pub mod content;
pub mod embeddings;
pub mod events;
pub mod images;
pub mod input;
pub mod items;
pub mod moderations;
pub mod multipart;
pub mod responses;
pub mod said;
pub mod sound;
pub mod usage;
