//! OpenAI's Responses, as clients send them: without state at the provider. No endpoint is asked in them.

mod answer;
mod events;
mod output;
mod read;

pub use answer::write as write_answer;
pub use events::Writer;
pub use read::read;
