//! Ports for servers that cannot pick one themselves.
//!
//! The ports lie below the range from which the kernel serves outgoing connections and binds to
//! port 0, so nothing takes one between our look and the server's bind. Test processes that run at
//! the same time share the range in blocks, each claimed by a lock on a file that the kernel drops
//! with the process. No port is handed out twice in one process.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

const FIRST_PORT: u16 = 11_000;
const BLOCK_PORTS: u16 = 50;
const BLOCKS: u16 = 400;

static CLAIM: Mutex<Claim> = Mutex::new(Claim {
    blocks: Vec::new(),
    ports: VecDeque::new(),
});

struct Claim {
    /// Never read; each holds the lock on its block.
    blocks: Vec<(u16, File)>,
    ports: VecDeque<u16>,
}

/// A port that nobody listens on, on 127.0.0.1 or ::1, and that nobody else will be given.
pub fn free_port() -> u16 {
    // A test that panicked here left nothing half done.
    let mut claim = CLAIM.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while let Some(port) = claim.ports.pop_front() {
            if is_free(port) {
                return port;
            }
        }
        claim.take_block();
    }
}

fn is_free(port: u16) -> bool {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
    // A machine without IPv6 cannot bind ::1 at all, and that is no collision.
    let v6_taken = v6.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
    v4.is_ok() && !v6_taken
}

impl Claim {
    fn take_block(&mut self) {
        let locks = std::env::temp_dir().join("resullm-test-ports");
        fs::create_dir_all(&locks).expect("a directory for the locks on ports");
        // Processes that start together begin their search at different places.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below BLOCKS");
        for step in 0..BLOCKS {
            let block = (start + step) % BLOCKS;
            if self.blocks.iter().any(|(taken, _)| *taken == block) {
                continue;
            }
            // A file of another user cannot be opened; that block is not ours either.
            let Ok(file) = File::create(locks.join(format!("{block}.lock"))) else {
                continue;
            };
            if file.try_lock().is_ok() {
                let first = FIRST_PORT + block * BLOCK_PORTS;
                self.ports.extend(first..first + BLOCK_PORTS);
                self.blocks.push((block, file));
                return;
            }
        }
        panic!("all {BLOCKS} blocks of test ports are taken; are old test processes still alive?");
    }
}
