//! The demo provider: a mock HTTP server on loopback, for trying the gateway without a provider account.
//!
//! The stand-in serves OpenAI's Chat Completions and Anthropic's Messages, plain and streamed, with a `usage` that
//! matches the text sent. It accepts any key, or none. It must never listen beyond loopback, and it does not
//! depend on the gateway.

mod answer;
mod anthropic;
mod call;
mod openai;
pub mod stripe;

use answer::answer;
use bytes::Bytes;
use call::Refusal;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Frame};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Limit of a request body; a larger one gets 413.
const LARGEST_BODY_BYTES: usize = 32 << 20;
/// Pause between the chunks of a stream: long enough for a human to see it streaming.
const BETWEEN_CHUNKS: Duration = Duration::from_millis(15);
/// Backoff after a failed `accept`, usually for lack of file descriptors.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A running demo provider. It serves until the Tokio runtime of [`start`] ends.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
}

impl Demo {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listens on a free port of `127.0.0.1` and serves in a background task.
pub async fn start() -> std::io::Result<Demo> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener));
    Ok(Demo { address })
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(converse(socket));
            }
            Err(_) => tokio::time::sleep(AFTER_FAILED_ACCEPT).await,
        }
    }
}

/// Serves one HTTP/1.1 connection.
async fn converse(socket: TcpStream) {
    // Without `TCP_NODELAY` the chunks of a stream would be coalesced. Failing to set it is harmless.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| async { Ok::<_, Infallible>(serve(request).await) });
    // An error here concerns only the client's connection; nobody needs it.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

/// Wire format of a request, its response and its errors.
#[derive(Clone, Copy)]
enum DemoShape {
    OpenAi,
    Anthropic,
}

/// Routes a request: `GET /v1/models`, `POST /v1/chat/completions`, `/v1/messages` and
/// `/v1/messages/count_tokens`.
async fn serve<B>(request: Request<B>) -> Reply
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let anthropic =
        path.starts_with("/v1/messages") || head.headers.contains_key("anthropic-version");
    let shape = if anthropic {
        DemoShape::Anthropic
    } else {
        DemoShape::OpenAi
    };
    let read_and_reply = match (&head.method, path) {
        (&Method::GET, "/v1/models") => {
            let models = match shape {
                DemoShape::OpenAi => openai::models(),
                DemoShape::Anthropic => anthropic::models(),
            };
            return json(StatusCode::OK, &models, shape, &request_id());
        }
        (&Method::POST, "/v1/chat/completions") => chat_completions,
        (&Method::POST, "/v1/messages") => messages,
        (&Method::POST, "/v1/messages/count_tokens") => count_tokens,
        _ => {
            return refuse(
                shape,
                StatusCode::NOT_FOUND,
                &Refusal::new("", "There is nothing here."),
            );
        }
    };
    let bytes = match Limited::new(body, LARGEST_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let refusal = Refusal::new("", "The request body exceeds 32 MiB.");
            return refuse(shape, StatusCode::PAYLOAD_TOO_LARGE, &refusal);
        }
        Err(_) => {
            let refusal = Refusal::new("", "The request body ended early.");
            return refuse(shape, StatusCode::BAD_REQUEST, &refusal);
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::new("", format!("The request body is not JSON: {error}.")))
        .and_then(|body| read_and_reply(&body))
        .unwrap_or_else(|refusal| refuse(shape, StatusCode::BAD_REQUEST, &refusal))
}

fn chat_completions(body: &Value) -> Result<Reply, Refusal> {
    let call = openai::read(body)?;
    let answer = answer(&call);
    let stamp = openai::Stamp {
        id: format!("chatcmpl-{}", Uuid::new_v4().simple()),
        created_seconds: SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_secs()),
    };
    Ok(if call.stream {
        let steps = openai::stream(&call, &answer, &stamp);
        events(steps, DemoShape::OpenAi)
    } else {
        let body = openai::whole(&call, &answer, &stamp);
        json(StatusCode::OK, &body, DemoShape::OpenAi, &request_id())
    })
}

fn messages(body: &Value) -> Result<Reply, Refusal> {
    let call = anthropic::read(body)?;
    let answer = answer(&call);
    let id = format!("msg_{}", Uuid::new_v4().simple());
    Ok(if call.stream {
        events(anthropic::stream(&call, &answer, &id), DemoShape::Anthropic)
    } else {
        let body = anthropic::whole(&call, &answer, &id);
        json(StatusCode::OK, &body, DemoShape::Anthropic, &request_id())
    })
}

fn count_tokens(body: &Value) -> Result<Reply, Refusal> {
    let call = anthropic::read_prompt(body)?;
    let body = anthropic::counted(&call);
    Ok(json(
        StatusCode::OK,
        &body,
        DemoShape::Anthropic,
        &request_id(),
    ))
}

/// Builds the error response in the API's own format.
fn refuse(shape: DemoShape, status: StatusCode, refusal: &Refusal) -> Reply {
    let id = request_id();
    let param = Some(refusal.field.as_str()).filter(|field| !field.is_empty());
    let message = match param {
        Some(field) => format!("{field}: {}", refusal.message),
        None => refusal.message.clone(),
    };
    let (kind, code) = match status {
        StatusCode::NOT_FOUND => ("not_found_error", Some("not_found")),
        StatusCode::PAYLOAD_TOO_LARGE => ("request_too_large", Some("request_too_large")),
        _ => ("invalid_request_error", None),
    };
    let body = match shape {
        DemoShape::OpenAi => openai::error(&message, param, code),
        DemoShape::Anthropic => anthropic::error(kind, &message, &id),
    };
    json(status, &body, shape, &id)
}

fn json(status: StatusCode, body: &Value, shape: DemoShape, id: &str) -> Reply {
    let body = Full::new(Bytes::from(body.to_string()));
    let mut reply = Response::new(body.boxed_unsync());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(id_header(shape), id);
    }
    reply
}

/// Builds a `text/event-stream` response: one HTTP chunk per step, [`BETWEEN_CHUNKS`] apart. When the client
/// disconnects, hyper drops the body, which ends the stream.
fn events(steps: Vec<String>, shape: DemoShape) -> Reply {
    let paced = stream::unfold(
        (steps.into_iter(), false),
        |(mut steps, begun)| async move {
            let step = steps.next()?;
            if begun {
                tokio::time::sleep(BETWEEN_CHUNKS).await;
            }
            Some((Ok(Frame::data(Bytes::from(step))), (steps, true)))
        },
    );
    let mut reply = Response::new(StreamBody::new(paced).boxed_unsync());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        headers.insert(id_header(shape), id);
    }
    reply
}

/// Header that carries the request ID in each API.
fn id_header(shape: DemoShape) -> HeaderName {
    HeaderName::from_static(match shape {
        DemoShape::OpenAi => "x-request-id",
        DemoShape::Anthropic => "request-id",
    })
}

fn request_id() -> String {
    format!("req_{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Heard {
        status: u16,
        head: String,
        body: String,
    }

    impl Heard {
        fn json(&self) -> Value {
            serde_json::from_str(&self.body).unwrap()
        }
    }

    fn request(line: &str, body: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    async fn exchange(request: &str) -> Heard {
        let demo = start().await.unwrap();
        let mut socket = TcpStream::connect(demo.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        let body = if head.contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Heard {
            status: head[9..12].parse().unwrap(),
            head,
            body,
        }
    }

    fn unchunked(mut text: &str) -> String {
        let mut body = String::new();
        while let Some((size, rest)) = text.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return body;
            }
            body += &rest[..size];
            text = &rest[size + 2..];
        }
        panic!("the last chunk is missing");
    }

    async fn post(path: &str, body: &Value) -> Heard {
        exchange(&request(&format!("POST {path}"), &body.to_string())).await
    }

    fn hello() -> Value {
        json!({ "model": "m", "max_tokens": 50, "messages": [{ "role": "user", "content": "hello" }] })
    }

    #[tokio::test]
    async fn both_formats_answer_whole() {
        let heard = post("/v1/chat/completions", &hello()).await;
        assert_eq!(heard.status, 200);
        assert!(heard.head.contains("content-type: application/json"));
        assert!(heard.head.contains("x-request-id: req_"));
        let openai = heard.json();
        let text = openai["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.contains("\"hello\""));

        let heard = post("/v1/messages?beta=true", &hello()).await;
        assert_eq!(heard.status, 200);
        assert!(heard.head.contains("\r\nrequest-id: req_"));
        let anthropic = heard.json();
        assert_eq!(anthropic["content"][0]["text"], text);
        assert_eq!(
            anthropic["usage"]["output_tokens"],
            openai["usage"]["completion_tokens"]
        );
        assert_eq!(
            anthropic["usage"]["input_tokens"],
            openai["usage"]["prompt_tokens"]
        );

        let counted = post("/v1/messages/count_tokens", &hello()).await.json();
        assert_eq!(counted["input_tokens"], anthropic["usage"]["input_tokens"]);
    }

    #[tokio::test]
    async fn both_formats_stream_word_by_word() {
        let mut body = hello();
        body["stream"] = json!(true);
        let begun = Instant::now();
        let heard = post("/v1/chat/completions", &body).await;
        assert!(begun.elapsed() > BETWEEN_CHUNKS * 10);
        assert!(heard.head.contains("content-type: text/event-stream"));
        assert!(heard.body.ends_with("\n\ndata: [DONE]\n\n"));

        let heard = post("/v1/messages", &body).await;
        assert!(heard.head.contains("content-type: text/event-stream"));
        assert!(heard.body.starts_with("event: message_start\ndata: {"));
        assert!(heard.body.contains("event: message_stop\ndata: {"));
    }

    #[tokio::test]
    async fn errors_have_the_shape_of_their_api() {
        for body in ["{", "[]", "{}", ""] {
            let heard = exchange(&request("POST /v1/chat/completions", body)).await;
            let error = &heard.json()["error"];
            assert_eq!(
                (heard.status, &error["type"]),
                (400, &json!("invalid_request_error"))
            );
            assert_eq!(error.as_object().unwrap().len(), 4);

            let heard = exchange(&request("POST /v1/messages", body)).await;
            assert_eq!(
                (heard.status, &heard.json()["type"]),
                (400, &json!("error"))
            );
            assert_eq!(heard.json()["error"]["type"], "invalid_request_error");
        }
        let mut unbounded = hello();
        unbounded["max_tokens"] = Value::Null;
        let heard = post("/v1/messages", &unbounded).await;
        assert_eq!(heard.status, 400);
        assert!(heard.body.contains("max_tokens: is required"));
    }

    #[tokio::test]
    async fn other_paths_get_404() {
        for line in ["GET /", "GET /v1/chat/completions", "POST /v1/embeddings"] {
            let heard = exchange(&request(line, "{}")).await;
            assert_eq!(heard.status, 404, "{line}");
            assert_eq!(heard.json()["error"]["code"], "not_found");
        }
        let heard = exchange(&request("POST /v1/messages/batches", "{}")).await;
        assert_eq!(heard.json()["error"]["type"], "not_found_error");
    }

    #[tokio::test]
    async fn the_list_of_models_comes_in_the_callers_shape() {
        let heard = exchange(&request("GET /v1/models", "")).await.json();
        assert_eq!(heard["object"], "list");
        let line = "GET /v1/models HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n";
        let heard = exchange(&format!("{line}anthropic-version: 2023-06-01\r\n\r\n")).await;
        assert_eq!(heard.json()["has_more"], false);
    }

    #[tokio::test]
    async fn a_body_beyond_32_mib_is_refused() {
        let body = Full::new(Bytes::from(vec![b' '; LARGEST_BODY_BYTES + 1]));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/v1/messages");
        assert_eq!(serve(request).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
