//! Free ports for servers that cannot bind port 0.
//!
//! The ports lie below the kernel's ephemeral range, so outgoing connections and binds to port 0 never take
//! one. Concurrent test processes share the range in blocks; a file lock claims a block, and the kernel
//! releases it with the process. No port is handed out twice in a process.

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
    /// Keeps the locks of the claimed blocks.
    blocks: Vec<(u16, File)>,
    ports: VecDeque<u16>,
}

/// Returns a free port of 127.0.0.1 and ::1, which no other test gets.
pub fn free_port() -> u16 {
    // A panic here leaves no partial state.
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
    // Without IPv6 the bind fails with another error, which is no collision.
    let v6_taken = v6.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
    v4.is_ok() && !v6_taken
}

impl Claim {
    fn take_block(&mut self) {
        let locks = std::env::temp_dir().join("resullm-test-ports");
        fs::create_dir_all(&locks).expect("a directory for the locks on ports");
        // Concurrent processes start their search at different blocks.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below BLOCKS");
        for step in 0..BLOCKS {
            let block = (start + step) % BLOCKS;
            if self.blocks.iter().any(|(taken, _)| *taken == block) {
                continue;
            }
            // A lock file of another user cannot be opened; the block is taken.
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
