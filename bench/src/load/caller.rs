//! A caller sends one request after the other, over its own HTTP/1.1 connection or on a shared HTTP/2
//! connection.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::answer::Expected;
use super::connection::Connection;
use super::message::{Dice, Message};
use super::multiplexed::Shared;
use super::protocol::Dialer;

pub enum Caller {
    /// An HTTP/1.1 connection.
    Alone {
        connection: Connection,
        /// Scratch memory for [`Message::bytes`].
        space: Vec<u8>,
    },
    /// A stream at a time on a shared HTTP/2 connection.
    Beside(Shared),
}

impl Caller {
    /// Opens `connections` connections and returns all their callers: one each, or `streams` each with
    /// HTTP/2.
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

    /// Sends a request and validates the response. Returns the time of the first event of a stream.
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
