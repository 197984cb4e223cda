//! OpenAI's Responses, as clients send them: without state at the provider. No endpoint is asked in them.

mod answer;
mod events;
mod output;
mod read;

pub(crate) use answer::write as write_answer;
pub(crate) use events::ResponseWriter;
pub(crate) use read::read;
