//! [`Fetcher`]: the gateway's own calls to other services, such as the issuers of sign-in.
//!
//! One call is one connection: to a checked address ([`Dialer`]), over https (plain http to private addresses alone,
//! where `egress.allow_private_networks` is set), within [`TIMEOUT`], with an answer of at most [`MAX_BODY_BYTES`].
//! No redirect is followed. What was sent and what came back is never logged: it holds codes, tokens and secrets.

use crate::dial::dialer::{Dialer, Reach, Target, Wire};
use crate::http1::body::{Decoder, Framing};
use crate::http1::head::{self, Response};
use crate::http1::write;
use crate::url::Url;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest time of a usual call, from the lookup of the name to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest body of a usual answer.
const MAX_BODY_BYTES: usize = 256 << 10;

/// Whole answer of another service.
pub(crate) struct Fetched {
    pub status: StatusCode,
    pub body: Bytes,
    /// `max-age` of `cache-control`; zero where the answer must not be kept.
    pub max_age: Option<Duration>,
}

/// Reason why there is no whole answer, for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchFailure(pub String);

/// Body of a request.
#[derive(Clone, Copy)]
pub(crate) struct SentBody<'a> {
    pub media_type: &'static str,
    pub text: &'a str,
}

impl SentBody<'_> {
    /// Returns a form.
    pub const fn form(text: &str) -> SentBody<'_> {
        SentBody {
            media_type: "application/x-www-form-urlencoded",
            text,
        }
    }
}

/// One request.
pub(crate) struct FetchCall<'a> {
    pub method: Method,
    pub content: Option<SentBody<'a>>,
    /// Value of `authorization`.
    pub authorization: Option<&'a str>,
    /// Further fields of the head.
    pub fields: &'a [(&'a str, &'a str)],
    pub timeout: Duration,
    pub max_body_bytes: usize,
    pub reach: Reach,
}

impl FetchCall<'_> {
    /// Returns a GET of something small, from anywhere that is public.
    const fn usual() -> FetchCall<'static> {
        FetchCall {
            method: Method::GET,
            content: None,
            authorization: None,
            fields: &[],
            timeout: TIMEOUT,
            max_body_bytes: MAX_BODY_BYTES,
            reach: Reach::EgressNoCleartext,
        }
    }
}

/// Sends single requests to other services.
pub struct Fetcher {
    dialer: Arc<Dialer>,
}

impl Fetcher {
    pub fn new(dialer: Arc<Dialer>) -> Fetcher {
        Fetcher { dialer }
    }

    /// Sends a GET.
    pub(crate) async fn get(&self, url: &Url) -> Result<Fetched, FetchFailure> {
        self.call(url, &FetchCall::usual()).await
    }

    /// Sends a form, with the value of `authorization` if there is one.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        form: &str,
        authorization: Option<&str>,
    ) -> Result<Fetched, FetchFailure> {
        let call = FetchCall {
            method: Method::POST,
            content: Some(SentBody::form(form)),
            authorization,
            ..FetchCall::usual()
        };
        self.call(url, &call).await
    }

    /// Sends a request.
    pub(crate) async fn call(
        &self,
        url: &Url,
        call: &FetchCall<'_>,
    ) -> Result<Fetched, FetchFailure> {
        let request = written(url, call)?;
        // Boxed: calls are rare, and their future would enlarge the state of every local request.
        let exchange = Box::pin(self.exchange(url, call, &request));
        let timeout = call.timeout;
        match tokio::time::timeout(timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(failure(url, &format!("did not answer within {timeout:?}"))),
        }
    }

    async fn exchange(
        &self,
        url: &Url,
        call: &FetchCall<'_>,
        request: &[u8],
    ) -> Result<Fetched, FetchFailure> {
        let target = Target {
            https: url.https,
            host: &url.host,
            port: url.port,
            reach: call.reach,
        };
        let connected = self.dialer.connect(&target, call.timeout).await;
        let mut wire = connected.map_err(|error| FetchFailure(error.why))?;
        let broken =
            |error: std::io::Error| failure(url, &format!("broke the connection: {error}"));
        wire.write_all(request).await.map_err(broken)?;
        wire.flush().await.map_err(broken)?;
        let mut unread = BytesMut::new();
        let mut searched = 0;
        let head = loop {
            match head::take_response(&mut unread, searched) {
                // Interim responses (1xx) are skipped.
                Ok(Some(head)) if head.status.is_informational() => searched = 0,
                Ok(Some(head)) => break head,
                Ok(None) => {
                    searched = unread.len();
                    if wire.read_buf(&mut unread).await.map_err(broken)? == 0 {
                        return Err(failure(url, "closed the connection without an answer"));
                    }
                }
                Err(why) => return Err(failure(url, why)),
            }
        };
        let max_age = max_age(&head);
        let body = body(url, &mut *wire, head.framing, unread, call.max_body_bytes).await?;
        Ok(Fetched {
            status: head.status,
            body,
            max_age,
        })
    }
}

/// Serializes a request.
fn written(url: &Url, call: &FetchCall<'_>) -> Result<BytesMut, FetchFailure> {
    let mut fields = call.fields.to_vec();
    fields.extend(call.authorization.map(|value| ("authorization", value)));
    let Some(SentBody { media_type, text }) = call.content else {
        return head(&call.method, url, &fields);
    };
    let length = text.len().to_string();
    fields.extend([
        ("content-type", media_type),
        ("content-length", length.as_str()),
    ]);
    let mut request = head(&call.method, url, &fields)?;
    request.extend_from_slice(text.as_bytes());
    Ok(request)
}

/// Serializes the head of a request.
fn head(method: &Method, url: &Url, fields: &[(&str, &str)]) -> Result<BytesMut, FetchFailure> {
    let mut head =
        BytesMut::from(format!("{method} {} HTTP/1.1\r\n", url.path_and_query).as_bytes());
    let authority = url.authority();
    let usual = [
        ("host", authority.as_str()),
        ("accept", "application/json"),
        ("user-agent", concat!("resullm/", env!("CARGO_PKG_VERSION"))),
        ("connection", "close"),
    ];
    for (name, value) in usual.iter().chain(fields) {
        let written = write::header(&mut head, name, value.as_bytes());
        written.map_err(|_| failure(url, "would get a header that is no line"))?;
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// Reads a body to its end, or until it is larger than `most` bytes.
async fn body(
    url: &Url,
    wire: &mut dyn Wire,
    framing: Framing,
    mut unread: BytesMut,
    most: usize,
) -> Result<Bytes, FetchFailure> {
    let mut decoder = Decoder::new(framing);
    let mut content = BytesMut::new();
    loop {
        let decoded = decoder.decode(&mut unread, &mut content);
        decoded.map_err(|_| failure(url, "framed its answer wrongly"))?;
        if content.len() > most || unread.len() > most {
            return Err(failure(url, &format!("sent more than {most} bytes")));
        }
        if decoder.is_done() {
            return Ok(content.freeze());
        }
        match wire.read_buf(&mut unread).await {
            Ok(0) if decoder.ends_with_connection() => return Ok(content.freeze()),
            Ok(0) => return Err(failure(url, "closed the connection in its answer")),
            Ok(_) => {}
            Err(error) => return Err(failure(url, &format!("broke the connection: {error}"))),
        }
    }
}

fn max_age(head: &Response) -> Option<Duration> {
    let mut age = None;
    for word in head.fields.words("cache-control") {
        let word = std::str::from_utf8(word)
            .unwrap_or_default()
            .to_ascii_lowercase();
        if matches!(word.as_str(), "no-store" | "no-cache") {
            return Some(Duration::ZERO);
        }
        let seconds = word.strip_prefix("max-age=").map(str::parse);
        age = seconds
            .and_then(Result::ok)
            .map(Duration::from_secs)
            .or(age);
    }
    age
}

fn failure(url: &Url, why: &str) -> FetchFailure {
    FetchFailure(format!("{} {why}", url.host))
}
