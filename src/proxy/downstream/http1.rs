//! Presents one HTTP/1.1 request to Pingora's proxy service, as a custom downstream [`Session`].
//!
//! Pingora's own HTTP/1.1 parser has no deadline for a dribbled head and accepts ambiguous requests.
//! [`Connection`] is strict, so it replaces that parser.
//! The session borrows the connection, and returns it to its [`ReturnSlot`] on drop, whatever ended the
//! request.

use crate::http1::fields::Fields;
use crate::http1::head::{Refused, Request};
use crate::proxy::downstream::connection::{Broken, Connection, Gone, HeaderLines, Reusables};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, Version};
use parking_lot::{Mutex, MutexGuard};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

/// Slot to which [`Http1`] returns its connection on drop.
#[derive(Clone, Default)]
pub(crate) struct ReturnSlot(Arc<Mutex<Option<Box<Connection>>>>);

impl ReturnSlot {
    /// Takes the connection. `None`: its request is still running.
    pub fn take(&self) -> Option<Box<Connection>> {
        lock(&self.0).take()
    }
}

/// Reason why a head could not be read as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// The head is malformed or exceeds a limit.
    Refused(Refused),
    /// The head was incomplete at `server.header_timeout` (408).
    TooSlow,
}

/// State shared by [`Http1`] and the gateway's `Session`: parsed request, [`Reusables`], response header
/// lines. It travels in the `extensions` of Pingora's request head.
pub(crate) struct Handoff {
    /// Parsed request; an empty one where there is a `fault`.
    pub request: Request,
    pub fault: Option<HeadFault>,
    reusables: Mutex<Reusables>,
    header_lines: Mutex<Option<HeaderLines>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Handoff {
    pub(crate) fn take_reusables(&self) -> Reusables {
        std::mem::take(&mut lock(&self.reusables))
    }

    /// Returns the reusables, which [`Http1`] hands to the connection on drop.
    pub fn give_back(&self, reusables: Reusables) {
        *lock(&self.reusables) = reusables;
    }

    /// Sets the headers of the next response head. Lines in wire format save building a [`HeaderMap`].
    pub(crate) fn set_header_lines(&self, lines: HeaderLines) {
        *lock(&self.header_lines) = Some(lines);
    }

    /// Takes the header lines back for reuse; empty if they were written.
    pub(crate) fn take_header_lines(&self) -> Option<HeaderLines> {
        lock(&self.header_lines).take()
    }
}

/// Custom session of one HTTP/1.1 request.
pub struct Http1 {
    /// `None` only during drop.
    connection: Option<Box<Connection>>,
    slot: ReturnSlot,
    handoff: Arc<Handoff>,
    head: RequestHeader,
    response: Option<Box<ResponseHeader>>,
    peer: SocketAddr,
    digest: Arc<Digest>,
    is_upgrade: bool,
    /// The request was forwarded and its response decides about an upgrade: until then its body is open.
    may_be_upgraded: bool,
    /// Body bytes read from the client.
    read: usize,
    /// Body bytes sent to the client.
    sent: usize,
    is_over: bool,
}

impl Drop for Http1 {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.reusables = self.handoff.take_reusables();
            if !self.is_over {
                connection.close_after();
            }
            *lock(&self.slot.0) = Some(connection);
        }
    }
}

impl Http1 {
    pub(crate) fn new(
        mut connection: Box<Connection>,
        slot: ReturnSlot,
        request: std::result::Result<Request, HeadFault>,
        peer: std::net::SocketAddr,
    ) -> Http1 {
        let (request, fault) = match request {
            Ok(request) => (request, None),
            Err(fault) => (Request::nothing(), Some(fault)),
        };
        let handoff = Arc::new(Handoff {
            request,
            fault,
            reusables: Mutex::new(std::mem::take(&mut connection.reusables)),
            header_lines: Mutex::default(),
        });
        let digest = connection.digest();
        let is_upgrade = is_upgrade(&handoff.request.fields);
        let head = head(&handoff, is_upgrade);
        Http1 {
            is_upgrade,
            may_be_upgraded: false,
            connection: Some(connection),
            slot,
            handoff,
            head,
            response: None,
            peer: SocketAddr::Inet(peer),
            digest,
            read: 0,
            sent: 0,
            is_over: false,
        }
    }

    fn awaits_upgrade(&self) -> bool {
        self.may_be_upgraded && self.response.is_none()
    }

    fn connection(&mut self) -> Result<&mut Connection> {
        self.connection.as_deref_mut().ok_or_else(gone)
    }

    async fn flush(&mut self) -> Result<()> {
        let flushed = self.connection()?.flush().await;
        flushed.map_err(|Gone| gone())
    }

    async fn send(&mut self, bytes: &[u8], is_whole: bool) -> Result<()> {
        self.sent += bytes.len();
        let sent = self.connection()?.send(bytes, is_whole).await;
        sent.map_err(|Gone| gone())?;
        self.is_over |= is_whole;
        Ok(())
    }
}

/// Whether the request has `upgrade` and `connection: upgrade`.
fn is_upgrade(fields: &Fields) -> bool {
    let mut words = fields.words("connection");
    fields.has("upgrade") && words.any(|word| word.eq_ignore_ascii_case(b"upgrade"))
}

/// Builds Pingora's request head. Target and headers stay in the [`Handoff`]; they are copied only for an
/// upgrade, which Pingora's own proxy path may forward.
fn head(handoff: &Arc<Handoff>, is_upgrade: bool) -> RequestHeader {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let request = &handoff.request;
    parts.method.clone_from(&request.method);
    if !request.is_current {
        parts.version = Version::HTTP_10;
    } else if is_upgrade {
        // A target that `Uri` cannot parse is still available in the `Handoff`.
        parts.uri = Uri::from_maybe_shared(request.target.clone()).unwrap_or_default();
        parts.headers = request.headers();
    }
    parts.extensions.insert(handoff.clone());
    RequestHeader::from(parts)
}

fn gone() -> Box<Error> {
    Error::new_down(ErrorType::ConnectionClosed)
}

#[async_trait]
impl Session for Http1 {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let piece = self.connection()?.body().await;
        let piece = piece.map_err(|broken| match broken {
            Broken::Gone => gone(),
            Broken::Unframed => Error::new_down(ErrorType::InvalidHTTPHeader),
        })?;
        self.read += piece.as_ref().map_or(0, Bytes::len);
        Ok(piece)
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.connection()?.drain().await;
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        let lines = self.handoff.take_header_lines();
        let connection = self.connection()?;
        match (head.status, lines) {
            // `Connection::body` sends `100 Continue` itself, once the body is read.
            (StatusCode::CONTINUE, _) => return Ok(()),
            (StatusCode::SWITCHING_PROTOCOLS, _) => connection.upgrade(&head.headers),
            (status, _) if status.is_informational() => return Ok(()),
            (status, Some(mut lines)) => {
                connection.write_header_lines(status, &mut lines);
                self.handoff.set_header_lines(lines);
            }
            (status, None) => connection.write_head(status, &head.headers),
        }
        let connection = self.connection()?;
        let is_upgraded = connection.is_upgraded();
        self.response = Some(head);
        if is_upgraded {
            return self.flush().await;
        }
        if end {
            self.send(b"", true).await
        } else {
            Ok(())
        }
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(head.clone()), end)
            .await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.send(&data, end).await
    }

    async fn write_trailers(&mut self, _: HeaderMap) -> Result<()> {
        self.send(b"", true).await
    }

    /// Runs Pingora's write tasks. An empty list flushes buffered bytes.
    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_whole = false;
        for task in tasks {
            is_whole |= match task {
                HttpTask::Header(head, end) => {
                    self.write_response_header(head, end).await?;
                    end
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    self.send(&data.unwrap_or_default(), end).await?;
                    end
                }
                HttpTask::Trailer(_) | HttpTask::Done => true,
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if is_whole {
            self.finish().await?;
        } else {
            self.flush().await?;
        }
        Ok(is_whole)
    }

    // Timeouts are set by `Connection` and its callers, so Pingora's are ignored.

    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    /// Returns the method without the target: a path may contain an API key.
    fn request_summary(&self) -> String {
        self.head.method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.as_deref()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        // `is_over` keeps `finish` from ending the body's framing, so the client sees a truncated response.
        self.is_over = true;
        if let Ok(connection) = self.connection() {
            connection.close_after();
        }
    }

    /// An open upgrade keeps the body open as well. Told of its end, Pingora would take that for the end of the
    /// upgraded bytes if the 101 came first, and close the connection.
    fn is_body_done(&mut self) -> bool {
        if self.awaits_upgrade() {
            return false;
        }
        self.connection
            .as_ref()
            .is_none_or(|connection| connection.is_body_read() && !connection.is_upgraded())
    }

    /// Ends a response that has begun and not ended.
    async fn finish(&mut self) -> Result<()> {
        if self.is_over {
            return Ok(());
        }
        if self.response.is_none() {
            return Ok(());
        }
        self.send(b"", true).await
    }

    fn is_body_empty(&mut self) -> bool {
        self.read == 0 && self.is_body_done()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let awaits_upgrade = self.awaits_upgrade();
        if !no_body_expected && !awaits_upgrade && !self.is_body_done() {
            return self.read_body_bytes().await;
        }
        let connection = self.connection()?;
        poll_fn(|cx| connection.poll_closed(cx)).await;
        Err(gone())
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        Some(&self.peer)
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    // No retry buffer: a body is read once, and Pingora never sends it to a second upstream.

    /// Pingora calls this when it begins to forward the request.
    fn enable_retry_buffering(&mut self) {
        self.may_be_upgraded = self.is_upgrade;
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.read > 0
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_util::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>>
    {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn futures_util::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.is_upgrade
    }

    fn was_upgraded(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.is_upgraded())
    }
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
