//! `generateContent`, read and written: bodies, whole answers, streams.

mod answer;
mod events;
mod options;
mod read;
mod schema;
mod write;

pub(super) use answer::{read as read_answer, write as write_answer};
pub(super) use events::{CandidateReader, CandidateWriter};
pub(super) use read::read;
pub(super) use write::write;
