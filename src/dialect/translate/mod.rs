//! Translation of calls between APIs: a body is read into one picture of a conversation and written for the other
//! API, and its answer comes back the same way, whole or as a stream.
//!
//! A native call never comes here. A member that cannot be carried is refused by name or, where it only tunes an
//! answer, left out and named; `docs/translation.md` has the table.

mod chat;
mod conversation;
mod count;
mod fields;
mod gemini;
mod messages;
mod meter;
mod reply;
mod responses;
mod written;

use super::anthropic::messages::Messages;
use super::call::Unreadable;
use super::gemini::generate::{GENERATE, STREAM};
use super::openai::chat::Chat;
use super::{Dialect, Meter};
use crate::rules::choice::Way;
use crate::rules::config::{Endpoint, Kind};
use conversation::{CallFacts, Conversation, ToolChoice, not_carried};
pub use count::{count, is_count};
use meter::TranslatedMeter;
use reply::{ReadEvents, WholeReply, WriteEvents};
use serde_json::value::RawValue;

/// API of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Chat,
    Messages,
    Responses,
    Gemini { is_stream: bool },
}

impl Client {
    /// `None`: calls of this dialect are not translated.
    fn of(dialect: &dyn Dialect) -> Option<Client> {
        let is = |other: &dyn Dialect| dialect.path() == other.path();
        match dialect.path() {
            "chat/completions" => Some(Client::Chat),
            "messages" => Some(Client::Messages),
            "responses" => Some(Client::Responses),
            _ if is(&GENERATE) => Some(Client::Gemini { is_stream: false }),
            _ if is(&STREAM) => Some(Client::Gemini { is_stream: true }),
            _ => None,
        }
    }

    fn read(self, body: &RawValue) -> Result<Conversation, Unreadable> {
        match self {
            Client::Chat => chat::read(body),
            Client::Messages => messages::read(body),
            Client::Responses => responses::read(body),
            Client::Gemini { is_stream } => gemini::read(body, is_stream),
        }
    }

    fn write_answer(self, reply: &WholeReply, asked: &CallFacts, created: u64) -> String {
        match self {
            Client::Chat => chat::write_answer(reply, asked, created),
            Client::Messages => messages::write_answer(reply),
            Client::Responses => responses::write_answer(reply, asked, created),
            Client::Gemini { .. } => gemini::write_answer(reply),
        }
    }

    fn writer(self, asked: &CallFacts, created: u64) -> Box<dyn WriteEvents> {
        match self {
            Client::Chat => Box::new(chat::ChunkWriter::new(asked.clone(), created)),
            Client::Messages => Box::<messages::MessageWriter>::default(),
            Client::Responses => Box::new(responses::ResponseWriter::new(asked.clone(), created)),
            Client::Gemini { .. } => Box::<gemini::CandidateWriter>::default(),
        }
    }
}

/// API in which an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Chat,
    Messages,
    Gemini,
}

impl Wire {
    fn to(kind: Kind) -> Wire {
        match kind {
            Kind::OpenAi | Kind::Demo => Wire::Chat,
            Kind::Anthropic => Wire::Messages,
            Kind::Gemini => Wire::Gemini,
        }
    }

    fn dialect(self, is_stream: bool) -> &'static dyn Dialect {
        match self {
            Wire::Chat => &Chat,
            Wire::Messages => &Messages,
            Wire::Gemini if is_stream => &STREAM,
            Wire::Gemini => &GENERATE,
        }
    }

    fn write(
        self,
        asked: &mut Conversation,
        to: &TargetEndpoint<'_>,
    ) -> Result<String, Unreadable> {
        match self {
            Wire::Chat => chat::write(asked, to.model, to.limit_name),
            Wire::Messages => messages::write(asked, to.model, to.default_limit),
            // The path names the model.
            Wire::Gemini if to.model.is_none() => Err(Unreadable("model is required".to_owned())),
            Wire::Gemini => gemini::write(asked),
        }
    }

    fn read_answer(self, answer: &[u8], asked: &CallFacts) -> Option<WholeReply> {
        match self {
            Wire::Chat => chat::read_answer(answer, asked),
            Wire::Messages => messages::read_answer(answer, asked),
            Wire::Gemini => gemini::read_answer(answer, asked),
        }
    }

    fn reader(self) -> Box<dyn ReadEvents> {
        match self {
            Wire::Chat => Box::<chat::ChunkReader>::default(),
            Wire::Messages => Box::<messages::MessageReader>::default(),
            Wire::Gemini => Box::<gemini::CandidateReader>::default(),
        }
    }
}

/// Endpoint that a call is translated for.
#[derive(Clone, Copy, Debug)]
pub struct TargetEndpoint<'a> {
    pub kind: Kind,
    pub model: Option<&'a str>,
    /// Name of the output limit in Chat Completions: it differs between servers.
    pub limit_name: &'static str,
    /// Most tokens of one answer of the model; a higher limit would be refused. `None`: unknown.
    pub most_output: Option<u64>,
    /// Limit of an answer whose client set none, at an API that requires one.
    pub default_limit: u64,
    /// Time of the call, in seconds since 1970.
    pub now: u64,
}

/// Call as it is translated.
#[derive(Debug)]
pub struct Translated {
    pub body: Vec<u8>,
    /// Limit of the answer that the client set.
    pub limit: Option<u64>,
    /// Members that were left out.
    pub removed: Vec<String>,
    pub translation: Translation,
}

/// Translation of one call's answers.
#[derive(Debug)]
pub struct Translation {
    from: Client,
    to: Wire,
    is_stream: bool,
    asked: CallFacts,
    created: u64,
}

/// Returns how calls of a dialect are written for an endpoint; those that [`is_count`] are answered here instead of
/// being translated. `None`: not at all.
pub fn way(client: &dyn Dialect, endpoint: &Endpoint) -> Option<Way> {
    let wanted = Client::of(client);
    let lacks_it = wanted == Some(Client::Responses) && !endpoint.has_responses();
    if client.api().is_spoken_by(endpoint.kind) && !lacks_it {
        return Some(Way::Native);
    }
    (wanted.is_some() || is_count(client)).then_some(Way::Translated)
}

/// Translates a body for an endpoint. The body was read by its own dialect before.
pub fn request(
    client: &dyn Dialect,
    body: &[u8],
    to: &TargetEndpoint<'_>,
) -> Result<Translated, Unreadable> {
    let Some(from) = Client::of(client) else {
        return Err(Unreadable("This call is not translated".to_owned()));
    };
    let wire = Wire::to(to.kind);
    let body: &RawValue = serde_json::from_slice(body)
        .map_err(|error| Unreadable(format!("The body cannot be read: {error}")))?;
    let mut asked = from.read(body)?;
    if let (Some(limit), Some(most)) = (&mut asked.limit, to.most_output) {
        *limit = most.min(*limit);
    }
    if asked.tools.is_empty() && matches!(asked.choice, ToolChoice::Any | ToolChoice::Named(_)) {
        return Err(not_carried("tool_choice of a tool that is not there"));
    }
    let body = wire.write(&mut asked, to)?.into_bytes();
    Ok(Translated {
        body,
        limit: asked.limit,
        removed: asked.removed.names().to_vec(),
        translation: Translation {
            from,
            to: wire,
            is_stream: asked.stream,
            asked: asked.facts(),
            created: to.now,
        },
    })
}

impl Translation {
    /// Dialect in which the endpoint is asked, and its answers are metered.
    pub fn dialect(&self) -> &'static dyn Dialect {
        self.to.dialect(self.is_stream)
    }

    /// Translates a whole answer. `None`: it is not understood.
    pub fn answer(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let reply = self.to.read_answer(answer, &self.asked)?;
        let written = self.from.write_answer(&reply, &self.asked, self.created);
        Some(written.into_bytes())
    }

    /// Returns a meter that translates what `native` passes on.
    pub fn stream(&self, native: Box<dyn Meter>) -> Box<dyn Meter> {
        let writer = self.from.writer(&self.asked, self.created);
        Box::new(TranslatedMeter::new(native, self.to.reader(), writer))
    }
}

#[cfg(test)]
mod tests;
