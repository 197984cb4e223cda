//! Watches the frames of an HTTP/2 connection for incomplete frames and frame floods.
//!
//! The `h2` crate has no deadline for the rest of a frame or header block (slowloris), and accepts any number
//! of frames that carry no request, as `PING` or `WINDOW_UPDATE` (flood).
//! Its API shows neither, so `Watched` wraps the socket beneath it and parses each 9-byte frame head.
//! The watch never changes a byte.

use crate::proxy::lazy_timer::LazyTimer;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Length of the client preface, which comes before the first frame.
const PREFACE_BYTES: usize = 24;
/// Length of a frame head: length, type, flags, stream ID.
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// Flood limit: received bytes may be at most `MAX_OVERHEAD_RATIO` times the bytes of requests and responses, plus
/// `FREE_OVERHEAD_BYTES`.
const MAX_OVERHEAD_RATIO: u64 = 8;
const FREE_OVERHEAD_BYTES: u64 = 1 << 20;
/// Frames in one read after which the connection yields to the thread's other tasks.
const MAX_FRAMES_PER_READ: usize = 64;

/// Incremental parser of a connection's incoming frames, with byte counts.
struct Frames {
    /// Frame head; its first `filled` bytes have arrived.
    head: [u8; HEAD_BYTES],
    filled: usize,
    kind: u8,
    /// Payload bytes of the current frame that are still to come.
    left: usize,
    /// Whether a header block has begun and its `END_HEADERS` has not come.
    is_in_block: bool,
    /// Time since which a frame or header block has been incomplete. `None`: nothing is.
    incomplete_since: Option<Instant>,
    /// Bytes received in all.
    received: u64,
    /// Bytes of `received` in `HEADERS`, `CONTINUATION` and `DATA` frames.
    asking: u64,
    /// Bytes written to the client.
    sent: u64,
}

impl Frames {
    fn new() -> Frames {
        Frames {
            head: [0; HEAD_BYTES],
            filled: 0,
            kind: DATA,
            left: PREFACE_BYTES,
            is_in_block: false,
            incomplete_since: None,
            received: 0,
            asking: 0,
            sent: 0,
        }
    }

    /// Parses bytes that were read. Returns the number of frame heads completed in them.
    fn feed(&mut self, mut bytes: &[u8]) -> usize {
        self.received += bytes.len() as u64;
        let mut begun = 0;
        let mut is_new_half = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
            } else {
                let taken = (HEAD_BYTES - self.filled).min(bytes.len());
                self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                bytes = &bytes[taken..];
                // A new frame head: the frame before it is complete, so a new incomplete span starts here,
                // unless a header block is still open.
                is_new_half |= !self.is_in_block;
                if self.filled < HEAD_BYTES {
                    break;
                }
                begun += 1;
                self.begin();
            }
        }
        let is_half = self.is_in_block || self.filled > 0 || (self.left > 0 && self.kind != DATA);
        self.incomplete_since = match (is_half, self.incomplete_since) {
            (false, _) => None,
            (true, Some(since)) if !is_new_half => Some(since),
            (true, _) => Some(Instant::now()),
        };
        begun
    }

    /// Begins the frame whose head is complete.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        self.kind = kind;
        self.filled = 0;
        match kind {
            HEADERS | CONTINUATION => self.is_in_block = flags & END_HEADERS == 0,
            _ => {}
        }
        if matches!(kind, DATA | HEADERS | CONTINUATION) {
            self.asking += (HEAD_BYTES + self.left) as u64;
        }
    }

    /// Whether frames without a request exceed the flood limit ([`MAX_OVERHEAD_RATIO`], [`FREE_OVERHEAD_BYTES`]).
    fn is_flood(&self) -> bool {
        self.received > MAX_OVERHEAD_RATIO * (self.asking + self.sent) + FREE_OVERHEAD_BYTES
    }
}

/// Handle by which the server of a connection polls the state of its frames.
#[derive(Clone)]
pub(crate) struct FrameWatch(Arc<Mutex<Frames>>);

impl FrameWatch {
    /// Wraps `stream` and returns it with its watch.
    pub fn over(stream: Stream) -> (Stream, FrameWatch) {
        let watch = FrameWatch(Arc::new(Mutex::new(Frames::new())));
        let watched = Watched {
            stream,
            watch: watch.clone(),
            is_tired: false,
        };
        (Box::new(watched), watch)
    }

    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.0.lock()
    }

    /// Ready when the connection must end: a frame or header block was incomplete for `time`, or frames flood
    /// it.
    /// It registers no waker for new bytes, so the caller must poll the connection itself first.
    pub(crate) fn poll_abuse(
        &self,
        cx: &mut Context<'_>,
        timer: &mut LazyTimer,
        time: Duration,
    ) -> Poll<()> {
        let frames = self.lock();
        if frames.is_flood() {
            return Poll::Ready(());
        }
        let Some(since) = frames.incomplete_since else {
            return Poll::Pending;
        };
        drop(frames);
        timer.set_deadline(since + time);
        timer.poll_elapsed(cx)
    }
}

/// Stream wrapper that feeds everything read to a [`FrameWatch`].
struct Watched {
    stream: Stream,
    watch: FrameWatch,
    /// Whether the last read brought more than [`MAX_FRAMES_PER_READ`] frames: the next read yields first.
    is_tired: bool,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stream.fmt(to)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if std::mem::take(&mut self.is_tired) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = room.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, room))?;
        let begun = self.watch.lock().feed(&room.filled()[before..]);
        self.is_tired = begun > MAX_FRAMES_PER_READ;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.watch.lock().sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bytes))?;
        self.watch.lock().sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Watched {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Watched {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Watched {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl Peek for Watched {}

impl GetTimingDigest for Watched {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Watched {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Watched {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(HEAD_BYTES + length, 0);
        frame
    }

    fn fed(pieces: &[&[u8]]) -> Frames {
        let mut frames = Frames::new();
        frames.feed(&[b'p'; PREFACE_BYTES]);
        for piece in pieces {
            frames.feed(piece);
        }
        frames
    }

    #[test]
    fn half_a_frame_and_an_open_block_are_halves_and_bodies_are_not() {
        let ping = frame(6, 0, 8);
        assert!(fed(&[&ping]).incomplete_since.is_none());
        assert!(fed(&[&ping, &ping[..5]]).incomplete_since.is_some());
        assert!(fed(&[&ping[..12]]).incomplete_since.is_some());
        assert!(
            fed(&[&frame(HEADERS, END_HEADERS, 30)])
                .incomplete_since
                .is_none()
        );
        assert!(fed(&[&frame(HEADERS, 0, 30)]).incomplete_since.is_some());
        let ended = [
            &frame(HEADERS, 0, 30)[..],
            &frame(CONTINUATION, END_HEADERS, 5),
        ];
        assert!(fed(&ended).incomplete_since.is_none());
        // A partial `DATA` frame is left to the session, which has its own timeout for bodies.
        assert!(fed(&[&frame(DATA, 0, 30)[..20]]).incomplete_since.is_none());
    }

    #[test]
    fn a_block_is_as_old_as_its_beginning() {
        let mut frames = fed(&[&frame(HEADERS, 0, 30)]);
        let begun = frames.incomplete_since;
        frames.feed(&frame(CONTINUATION, 0, 5));
        assert_eq!(frames.incomplete_since, begun);
        frames.feed(&frame(CONTINUATION, END_HEADERS, 5));
        frames.feed(&frame(HEADERS, 0, 5));
        assert_ne!(frames.incomplete_since, begun);
    }

    #[test]
    fn frames_without_requests_are_a_flood_unless_beside_responses() {
        let mut frames = fed(&[]);
        let update = frame(8, 0, 4);
        for _ in 0..100_000 {
            frames.feed(&update);
        }
        assert!(frames.is_flood());
        // Two `WINDOW_UPDATE` frames for each piece of a response, as some clients send them.
        let mut frames = fed(&[]);
        for _ in 0..100_000 {
            frames.sent += 60;
            frames.feed(&update);
            frames.feed(&update);
        }
        assert!(!frames.is_flood());
    }

    proptest! {
        #[test]
        fn frame_parser_is_independent_of_read_boundaries(
            kinds in prop::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..20),
            cuts in prop::collection::vec(0usize..400, 0..30),
        ) {
            let bytes: Vec<u8> = kinds.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)).collect();
            let whole = fed(&[&bytes]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut frames = fed(&[]);
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                frames.feed(&bytes[from..to]);
                from = to;
            }
            let seen = |frames: &Frames| (frames.received, frames.asking, frames.is_in_block, frames.left, frames.filled, frames.incomplete_since.is_some());
            prop_assert_eq!(seen(&whole), seen(&frames));
        }
    }
}
