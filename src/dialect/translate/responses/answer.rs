//! Whole answers of `responses`.

use super::super::conversation::{Conversation, Input, Part};
use super::super::reply::Reply;
use super::output::{Item, Response};

/// Writes a whole answer. `created`: seconds since 1970.
pub fn write(reply: &Reply, asked: &Conversation, created: u64) -> String {
    let mut response = Response {
        id: reply.id.clone(),
        model: reply.model.clone(),
        created,
        items: Vec::new(),
    };
    for part in &reply.parts {
        let (item, text) = match part {
            Part::Text(text) => (Item::Message { is_refusal: false }, text.clone()),
            Part::Refusal(text) => (Item::Message { is_refusal: true }, text.clone()),
            Part::Thinking { text, .. } => (Item::Reasoning, text.clone()),
            Part::Call(call) => {
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
