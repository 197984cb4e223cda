//! Answer of a stand-in to one call, as a script that counts the generated tokens.

use super::flow::Flow;
use super::obeys::Asked;
use super::servers::{Api, Server};
use super::turns::{Ending, Turn};
use super::{choices, content, typed};
use crate::harness::{Script, Tally};

pub fn script(server: &Server, turn: &Turn, asked: &Asked, tally: &Tally) -> Script {
    let mut flow = Flow::new(server, turn, asked, tally);
    for _ in 0..server.discards {
        flow.discard(asked.answers[0].tokens());
    }
    let is_typed = matches!(server.api, Api::Responses | Api::Messages);
    match (turn.ending, server.quotes) {
        (Ending::Unparsed, Some((status, member, words))) => flow.unparsed(status, member, words),
        (Ending::BreaksOff(0), _) => {
            flow.think(asked.answers[0].thoughts);
            return flow.script().cut();
        }
        _ if server.api == Api::Content && asked.streams => content::stream(&mut flow),
        _ if server.api == Api::Content => content::plain(&mut flow),
        _ if is_typed && asked.streams => typed::stream(&mut flow),
        _ if is_typed => typed::plain(&mut flow),
        _ if asked.streams => choices::stream(&mut flow),
        _ => choices::plain(&mut flow),
    }
    flow.script()
}
