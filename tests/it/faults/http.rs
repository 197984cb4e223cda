//! Requests that are crooked, slow or greedy.

use super::{case, many};
use crate::harness::{Gateway, Setup};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_head_that_dribbles_does_not_outlive_its_deadline() {
    let gateway = Gateway::start(Setup::new());
    case("slow: a head of one byte every half second", || {
        let connections: Vec<_> = (0..many(4, 500))
            .map(|_| {
                let mut socket = TcpStream::connect(gateway.addr()).unwrap();
                let begun = b"GET / HTTP/1.1\r\nHost: x\r\nx: ";
                socket.write_all(begun).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            })
            .collect();
        let begun = Instant::now();
        let mut answers = vec![Vec::new(); connections.len()];
        let mut open: Vec<usize> = (0..connections.len()).collect();
        while !open.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(25), "still open");
            std::thread::sleep(Duration::from_millis(500));
            open.retain(|number| {
                let mut socket = &connections[*number];
                let _ = socket.write_all(b"y");
                let mut room = [0; 512];
                match socket.read(&mut room) {
                    Ok(0) => false,
                    Ok(length) => {
                        answers[*number].extend_from_slice(&room[..length]);
                        true
                    }
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                }
            });
        }
        for answer in &answers {
            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
        }
        format!("{} closed within {:?}", answers.len(), begun.elapsed())
    });
}
