//! OpenAI's Chat Completions.

mod answer;
mod events;
mod read;
mod write;

pub use answer::{read as read_answer, write as write_answer};
pub use events::{Reader, Writer};
pub use read::{grammar_of, read, word_of_choice};
pub use write::write;
