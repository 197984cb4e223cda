//! The buffer that all sockets of a thread are read into.
//!
//! A connection that waits for bytes holds no buffer for them: what arrives is copied from here to where it
//! stays, and takes no more memory there than it needs.

use bytes::BytesMut;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// Reads what has arrived and appends it to `buffer`. Returns its length, 0 at the end.
pub(crate) fn poll_read<R: AsyncRead + Unpin>(
    from: &mut R,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    BUFFER.with_borrow_mut(|shared| {
        let mut read = ReadBuf::new(shared);
        ready!(Pin::new(from).poll_read(cx, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}
