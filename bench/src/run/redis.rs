//! A `redis-server` of the run, with an append-only file at its default durability (`appendfsync everysec`),
//! and bulk writes to it.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::child::{Running, free_port};
use crate::{Outcome, fault};

const START: Duration = Duration::from_secs(15);
const OK: &[u8] = b"+OK\r\n";
/// Commands per pipeline.
const BATCH: usize = 1_000;

pub struct Redis {
    pub running: Running,
    pub port: u16,
}

pub fn start(dir: &Path) -> Outcome<Redis> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--appendonly", "yes", "--save", ""])
        .args(["--maxmemory-policy", "noeviction", "--dir"])
        .arg(dir);
    let mut running = Running::spawn("redis-server", &mut command, &dir.join("redis.log"))?;
    match running.wait_port(port, START)? {
        None => Ok(Redis { running, port }),
        Some(code) => Err(fault(format!("redis-server ended with {code}"))),
    }
}

/// Sends a pipelined `SET` for every pair.
pub fn set_all(port: u16, pairs: &[(String, String)]) -> Outcome<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START))?;
    let mut replies = BufReader::new(stream.try_clone()?);
    for batch in pairs.chunks(BATCH) {
        let mut bytes = Vec::new();
        for (name, value) in batch {
            let (n, v) = (name.len(), value.len());
            write!(
                bytes,
                "*3\r\n$3\r\nSET\r\n${n}\r\n{name}\r\n${v}\r\n{value}\r\n"
            )?;
        }
        stream.write_all(&bytes)?;
        let mut reply = vec![0; batch.len() * OK.len()];
        replies.read_exact(&mut reply)?;
        if reply.chunks(OK.len()).any(|one| one != OK) {
            return Err(fault("redis-server refused a record"));
        }
    }
    Ok(())
}
