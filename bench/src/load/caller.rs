//! Whoever sends one request after the other: a connection of HTTP/1.1 or a stream of HTTP/2.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::answer::Expected;
use super::connection::Connection;
use super::message::{Dice, Message};
use super::multiplexed::Shared;
use super::protocol::Dialer;

pub enum Caller {
    Alone {
        connection: Connection,
        /// Where a request is put together.
        space: Vec<u8>,
    },
    Beside(Shared),
}

impl Caller {
    /// All callers of so many connections.
    pub async fn open(
        dialer: &Arc<Dialer>,
        connections: usize,
        streams: usize,
    ) -> io::Result<Vec<Caller>> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            if !dialer.protocol.is_http2() {
                callers.push(Caller::Alone {
                    connection: Connection::open(dialer).await?,
                    space: Vec::new(),
                });
                continue;
            }
            let shared = Shared::open(dialer).await?;
            callers.extend((1..streams).map(|_| Caller::Beside(shared.another())));
            callers.push(Caller::Beside(shared));
        }
        Ok(callers)
    }

    /// The time of the first event, where the answer is a stream.
    pub async fn exchange(
        &mut self,
        message: &Message,
        dice: &mut Dice,
        expected: Expected,
    ) -> Result<Option<Instant>, String> {
        match self {
            Caller::Alone { connection, space } => {
                let request = message.bytes(dice, space);
                connection.exchange(request, expected).await
            }
            Caller::Beside(shared) => shared.exchange(message.request(dice), expected).await,
        }
    }

    pub fn reconnects(&self) -> u64 {
        match self {
            Caller::Alone { connection, .. } => connection.reconnects,
            Caller::Beside(_) => 0,
        }
    }
}
