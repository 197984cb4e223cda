//! The part of RESP2 that tests need: send a command, read its reply.
//!
//! Implemented here so that tests do not observe the store through the gateway's client library.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    List(Vec<Reply>),
}

impl Reply {
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Reply::Status(text) => text.clone(),
            Reply::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("a reply in UTF-8"),
            other => panic!("expected a text, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(value) => *value,
            other => panic!("expected a number, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn list(&self) -> &[Reply] {
        match self {
            Reply::List(items) => items,
            other => panic!("expected a list, got {other:?}"),
        }
    }

    pub fn is_nil(&self) -> bool {
        *self == Reply::Nil
    }

    pub fn error(&self) -> Option<&str> {
        match self {
            Reply::Error(message) => Some(message),
            _ => None,
        }
    }
}

/// One connection to one server.
pub struct Resp {
    stream: BufReader<TcpStream>,
}

impl Resp {
    pub fn connect(port: u16) -> io::Result<Resp> {
        let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Resp {
            stream: BufReader::new(stream),
        })
    }

    pub fn ask(&mut self, command: &[&str]) -> io::Result<Reply> {
        let mut message = format!("*{}\r\n", command.len());
        for word in command {
            message += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.stream.get_mut().write_all(message.as_bytes())?;
        self.read()
    }

    /// Reads the next reply or pushed message, after SUBSCRIBE or MONITOR.
    pub fn read(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(malformed)?;
        match kind {
            "+" => Ok(Reply::Status(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => Ok(Reply::Int(number(rest)?)),
            "$" => match usize::try_from(number(rest)?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Ok(Reply::Bulk(bytes))
                }
                Err(_) => Ok(Reply::Nil),
            },
            "*" => match usize::try_from(number(rest)?) {
                Ok(length) => (0..length)
                    .map(|_| self.read())
                    .collect::<io::Result<_>>()
                    .map(Reply::List),
                Err(_) => Ok(Reply::Nil),
            },
            _ => Err(malformed()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| malformed())
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a RESP2 reply")
}
