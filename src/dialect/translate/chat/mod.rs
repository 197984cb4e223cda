//! OpenAI's Chat Completions, there and back.

mod answer;
mod events;
mod read;
mod write;

pub(crate) use answer::{read as read_answer, write as write_answer};
pub(crate) use events::{ChunkReader, ChunkWriter};
pub(crate) use read::{grammar_of, read, word_of_choice};
pub(crate) use write::write;
