//! A scripted DNS server that records its queries.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

pub enum Said {
    /// Addresses and their TTL in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// A `CNAME`.
    Alias(&'static str),
    NoSuchName,
    /// No response.
    Silence,
}

pub struct Dns {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

impl Dns {
    /// Starts a server; `answer` gets the name and the number of earlier queries for it, of any record type.
    pub fn start(answer: impl Fn(&str, usize) -> Said + Send + 'static) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = asked.clone();
        std::thread::spawn(move || {
            let mut room = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                let query = &room[..length];
                let (name, kind, end) = question(query);
                let before = {
                    let mut heard = heard.lock().unwrap();
                    let same = format!("{kind} {name}");
                    heard.push(same.clone());
                    heard.iter().filter(|asked| **asked == same).count() - 1
                };
                if let Some(reply) = reply(query, end, kind, answer(&name, before)) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Dns { addr, asked }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Every query so far, as `type name`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Name and type of a query, and the offset of its end.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        let label = &query[at + 1..at + 1 + length];
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    (labels.join("."), kind, at + 5)
}

fn reply(query: &[u8], end: usize, kind: u16, said: Said) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    let mut record = |kind: u16, ttl: u32, data: &[u8]| {
        // Compressed name: a pointer to the question.
        let mut bytes = vec![0xc0, 12];
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&1_u16.to_be_bytes());
        bytes.extend_from_slice(&ttl.to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(data);
        records.push(bytes);
    };
    let mut code = 0;
    match said {
        Said::Silence => return None,
        Said::NoSuchName => code = 3,
        Said::Alias(name) => {
            let mut data = Vec::new();
            for label in name.split('.') {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            record(CNAME, 0, &data);
        }
        Said::Addresses(addresses, ttl) => {
            for address in addresses {
                match (address, kind) {
                    (IpAddr::V4(four), A) => record(A, ttl, &four.octets()),
                    (IpAddr::V6(six), AAAA) => record(AAAA, ttl, &six.octets()),
                    _ => {}
                }
            }
        }
    }
    let mut reply = query[..2].to_vec();
    reply.extend_from_slice(&[
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(records.len()).unwrap(),
    ]);
    reply.extend_from_slice(&[0, 0, 0, 0]);
    reply.extend_from_slice(&query[12..end]);
    reply.extend(records.concat());
    Some(reply)
}
