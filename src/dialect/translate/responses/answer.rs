//! Whole answers of `responses`, which are written only.

use super::super::conversation::{CallFacts, ContentPart, Input};
use super::super::reply::WholeReply;
use super::output::{Item, ResponseText};

/// Writes a whole answer. `created`: seconds since 1970.
pub(crate) fn write(reply: &WholeReply, asked: &CallFacts, created: u64) -> String {
    let mut response = ResponseText {
        id: reply.id.clone(),
        model: reply.model.clone(),
        created,
        items: Vec::new(),
    };
    for part in &reply.parts {
        let (item, text) = match part {
            ContentPart::Text(text) => (Item::Message { is_refusal: false }, text.clone()),
            ContentPart::Refusal(text) => (Item::Message { is_refusal: true }, text.clone()),
            ContentPart::Thinking { text, signature } => {
                let proof = signature.clone();
                (Item::Reasoning { proof }, text.clone())
            }
            ContentPart::Call(call) => {
                let text = match &call.input {
                    Input::Object(object) => object.get().to_owned(),
                    Input::Text(text) => text.clone(),
                };
                (Item::call(&call.id, &call.name, asked), text)
            }
            _ => continue,
        };
        let id = format!("{}_{}_{}", item.prefix(), response.items.len(), reply.id);
        response.items.push(item.write(&id, Some(&text), asked));
    }
    response.write_end(&reply.stop, reply.usage.as_ref()).1
}
