//! Anthropic's Messages, there and back.

mod answer;
mod events;
mod read;
mod write;

pub(crate) use answer::{read as read_answer, write as write_answer};
pub(crate) use events::{MessageReader, MessageWriter};
pub(crate) use read::read;
pub(crate) use write::write;
