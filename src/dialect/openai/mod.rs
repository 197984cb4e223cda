//! OpenAI's API: one file and one `Dialect` for each call or group of calls, from `chat` to `images`.
//!
//! Several calls share the readers of content parts (`content`), tools (`tools`), forms (`multipart`),
//! generated text (`said`), usage (`usage`) and recordings (`sound`). A vendor that speaks this API is
//! configuration, never a file here.

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
pub mod tiers;
pub mod tools;
pub mod usage;
