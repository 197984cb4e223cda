//! One connection: sends a request, reads the whole answer, says what is wrong with it.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::wire::{Body, Events, Inbox};

/// The provider sends twenty chunks, usage and `[DONE]`; a gateway may keep the usage to itself.
const LEAST_EVENTS: u64 = 21;

/// What an answer must be to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    pub stream: bool,
}

pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    inbox: Inbox,
    content: Vec<u8>,
    pub reconnects: u64,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        Ok(Connection {
            address,
            stream: Some(connect(address).await?),
            inbox: Inbox::default(),
            content: Vec::new(),
            reconnects: 0,
        })
    }

    /// The time of the first event, where the answer is a stream. After an error the connection is
    /// closed and the next request opens another.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        expected: Expected,
    ) -> Result<Option<Instant>, String> {
        let kept = self.stream.is_some();
        for last in [!kept, true] {
            match self.once(request, expected).await {
                // Closed between two requests, as any server may: not an error, but counted.
                Ok(None) if !last => self.close(),
                Ok(None) => return Err("closed before an answer".to_owned()),
                Ok(Some(result)) => {
                    if result.is_err() {
                        self.close();
                    }
                    return result;
                }
                Err(error) => {
                    self.close();
                    return Err(error.to_string());
                }
            }
        }
        Err("no attempt was made".to_owned())
    }

    fn close(&mut self) {
        self.stream = None;
        self.inbox = Inbox::default();
    }

    /// `None` if the connection ended before an answer began.
    async fn once(
        &mut self,
        request: &[u8],
        expected: Expected,
    ) -> io::Result<Option<Result<Option<Instant>, String>>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                self.reconnects += 1;
                none.insert(connect(self.address).await?)
            }
        };
        let sent = stream.write_all(request).await;
        let response = match (sent, self.inbox.response(stream).await) {
            (_, Ok(Some(response))) => response,
            (Err(_), _) | (_, Ok(None)) => return Ok(None),
            (Ok(()), Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(None);
            }
            (Ok(()), Err(error)) => return Err(error),
        };
        let mut body = Body::new(response.framing);
        let mut events = Events::default();
        let mut first_event = None;
        let streamed = expected.stream && response.status == expected.status;
        let content = &mut self.content;
        content.clear();
        while !body.is_done() {
            let read = self.inbox.piece(stream, &mut body, |bytes| {
                if streamed {
                    events.feed(bytes);
                } else {
                    content.extend_from_slice(bytes);
                }
            });
            match read.await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && body.may_end() => {
                    break;
                }
                Err(error) => return Err(error),
            }
            if first_event.is_none() && events.count() > 0 {
                first_event = Some(Instant::now());
            }
        }
        let verdict = check(response.status, content, &events, expected);
        if response.close || !self.inbox.is_empty() {
            self.close();
        }
        Ok(Some(verdict.map(|()| first_event)))
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn check(status: u16, content: &[u8], events: &Events, expected: Expected) -> Result<(), String> {
    if status != expected.status {
        let text = String::from_utf8_lossy(&content[..content.len().min(200)]);
        return Err(format!("status {status}: {text}"));
    }
    if status != 200 {
        return Ok(());
    }
    if !expected.stream {
        let whole = memmem::find(content, b"\"usage\"").is_some() && content.ends_with(b"}");
        return match whole {
            true => Ok(()),
            false => Err(format!(
                "an answer of {} bytes without usage",
                content.len()
            )),
        };
    }
    if events.count() < LEAST_EVENTS {
        return Err(format!("a stream of {} events", events.count()));
    }
    match events.ended_with_done() {
        true => Ok(()),
        false => Err("a stream without [DONE]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Expected = Expected {
        status: 200,
        stream: false,
    };
    const STREAM: Expected = Expected {
        status: 200,
        stream: true,
    };

    fn events(count: usize, done: bool) -> Events {
        let mut events = Events::default();
        (0..count).for_each(|_| events.feed(b"data: {}\n\n"));
        if done {
            events.feed(b"data: [DONE]\n\n");
        }
        events
    }

    #[test]
    fn only_a_whole_answer_with_usage_counts() {
        let none = Events::default();
        assert!(check(200, br#"{"usage":{}}"#, &none, PLAIN).is_ok());
        assert!(check(200, br#"{"usage":{"#, &none, PLAIN).is_err());
        assert!(check(200, b"{}", &none, PLAIN).is_err());
        assert!(check(500, br#"{"usage":{}}"#, &none, PLAIN).is_err());
    }

    #[test]
    fn only_a_stream_with_every_event_and_its_end_counts() {
        assert!(check(200, b"", &events(20, true), STREAM).is_ok());
        assert!(check(200, b"", &events(21, true), STREAM).is_ok());
        assert!(check(200, b"", &events(19, true), STREAM).is_err());
        assert!(check(200, b"", &events(30, false), STREAM).is_err());
    }

    #[test]
    fn an_expected_refusal_counts() {
        let refused = Expected {
            status: 402,
            stream: false,
        };
        assert!(check(402, b"{}", &Events::default(), refused).is_ok());
        assert!(check(200, br#"{"usage":{}}"#, &Events::default(), refused).is_err());
    }
}
