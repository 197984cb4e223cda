//! Anthropic's Messages.

mod answer;
mod events;
mod read;
mod write;

pub use answer::{read as read_answer, write as write_answer};
pub use events::{Reader, Writer};
pub use read::read;
pub use write::write;
