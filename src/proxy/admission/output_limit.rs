//! Output limit (`max_tokens` and its kin) that a provider is sent, so that an answer never costs more than
//! its hold.

use super::estimate::Estimate;
use crate::dialect::call::Limit;
use crate::rules::amount::Tokens;

/// The limit to write into the body. `None`: what the body says, or the model itself, is low enough.
/// `held`: tokens held for the prompt and the answer.
pub(crate) fn output_limit(estimate: &Estimate<'_>, held: Tokens) -> Option<Limit> {
    let (call, rate, server) = (
        &estimate.call,
        estimate.terms.rate,
        estimate.endpoint.server,
    );
    let for_output = held.minus(rate.most_for_prompt(estimate.terms.prompt));
    let tokens = rate.output_for(for_output) / call.answers;
    // Output that is free, or has a fixed size, needs no limit.
    if rate.output == 0 || call.free || call.answer.is_some() {
        return None;
    }
    let limit = call.limit.or(estimate.max_output);
    let is_enough = limit.is_some_and(|limit| limit <= tokens);
    // OpenAI knows every name that a client may have used for the limit. Each other server knows its own name
    // only, so the limit is written there even where the client's is low enough.
    if is_enough && (server.is_openai() || call.limit.is_none()) {
        return None;
    }
    Some(Limit {
        tokens: call.limit.map_or(tokens, |limit| limit.min(tokens)),
        name: server.output_limit_name(),
        always: !server.is_openai(),
    })
}
