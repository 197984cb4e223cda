//! HTTP/2 frames as bytes, and a connection on which any bytes can be sent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::gateway::Gateway;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK literal without indexing, for names and values below 127 bytes.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut text = vec![0, u8::try_from(name.len()).unwrap()];
    text.extend(name.as_bytes());
    text.push(u8::try_from(value.len()).unwrap());
    text.extend(value.as_bytes());
    text
}

pub fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

/// Header block of a chat completion.
pub fn call_headers(key: &str) -> Vec<u8> {
    headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/abc/v1/chat/completions"),
        (":authority", "a"),
        ("authorization", &format!("Bearer {key}")),
    ])
}

/// A connection on which any bytes can be sent.
pub struct Raw {
    pub socket: TcpStream,
    pub read: Vec<u8>,
}

impl Raw {
    pub fn open(gateway: &Gateway) -> Raw {
        let mut raw = Raw::silent(gateway);
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        raw
    }

    pub fn silent(gateway: &Gateway) -> Raw {
        let socket = TcpStream::connect(gateway.addr()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        socket
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        Raw {
            socket,
            read: Vec::new(),
        }
    }

    /// Sends bytes. `false`: the connection is closed.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Reads available bytes. `false`: the connection has ended.
    pub fn take(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.read.extend(&buffer[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    /// Complete frames so far: type, flags, stream and payload.
    pub fn frames(&self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut rest = &self.read[..];
        while rest.len() >= 9 {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let Some(payload) = rest.get(9..9 + length) else {
                break;
            };
            let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]);
            frames.push((rest[3], rest[4], stream, payload.to_vec()));
            rest = &rest[9 + length..];
        }
        frames
    }

    pub fn has(&mut self, wanted: impl Fn(&(u8, u8, u32, Vec<u8>)) -> bool) -> bool {
        self.take();
        self.frames().iter().any(wanted)
    }

    /// Whether the server sends `GOAWAY` or closes within this time.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if !self.take() || self.frames().iter().any(|(kind, ..)| *kind == GOAWAY) {
                return true;
            }
        }
        false
    }
}
