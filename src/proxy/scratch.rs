//! What a thread's requests share because none of them keeps it: the room that sockets are read into,
//! and the date.
//!
//! A connection that waits for bytes holds no buffer for them. What comes is copied from here to where
//! it stays, and it is only as much as came.

use crate::rules::amount::Millis;
use crate::rules::date;
use bytes::BytesMut;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, ReadBuf};
use uuid::{Builder, Uuid};

const ROOM: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into_boxed_slice());
    static IDS: RefCell<u64> = RefCell::new(Uuid::new_v4().as_u64_pair().1 ^ Uuid::new_v4().as_u64_pair().0);
    static DATE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
}

/// An ID that no other request has: the time, and what a generator of this thread's own gives. For
/// nothing that must not be guessed.
pub fn new_id() -> Uuid {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut bytes = [0; 10];
    IDS.with_borrow_mut(|state| {
        for part in bytes.chunks_mut(8) {
            // SplitMix64: one addition, then mixed.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            part.copy_from_slice(&z.to_le_bytes()[..part.len()]);
        }
    });
    Builder::from_unix_timestamp_millis(now.as_millis() as u64, &bytes).into_uuid()
}

/// Reads what there is and puts it behind `buffer`. Nought at the end.
pub fn poll_read<R: AsyncRead + Unpin>(
    from: &mut R,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut room = ReadBuf::new(scratch);
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        buffer.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    })
}

/// The `date` header, which changes once a second.
pub fn with_date(write: impl FnOnce(&[u8])) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    DATE.with_borrow_mut(|(second, line)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            *line = format!("date: {}\r\n", date::imf(Millis::from(now))).into_bytes();
        }
        write(line);
    });
}
