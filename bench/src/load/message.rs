//! The request to send, built before the measurement starts; only the API key varies between requests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use super::protocol::{Dialer, Protocol};
use crate::{Outcome, fault};

/// Padding of long prompts: English text with escaped line ends, as a JSON parser would see it in practice.
const FILLER: &str =
    "The quick brown fox jumps over the lazy dog while nobody watches the gateway.\\n";
/// Sent as `max_tokens`, as careful clients do. Without it, ResuLLM would add a limit to the request.
const MAX_TOKENS: u32 = 256;

/// Command-line options that describe the request.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wanted {
    /// http://127.0.0.1:PORT/path
    #[arg(long)]
    pub url: String,
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// The server's certificate, required for TLS protocols
    #[arg(long)]
    pub trust: Option<PathBuf>,
    /// Concurrent requests per HTTP/2 connection
    #[arg(long, default_value_t = 100)]
    pub streams_per_connection: usize,
    /// A header as 'name: value'; may be repeated
    #[arg(long = "header")]
    pub headers: Vec<String>,
    #[arg(long, default_value = "gpt-4o-mini")]
    pub model: String,
    #[arg(long, default_value = "Hello")]
    pub prompt: String,
    /// Pads the user's message until the body has this many bytes
    #[arg(long, default_value_t = 0)]
    pub body_bytes: usize,
    /// Text that pads the body
    #[arg(long, default_value = FILLER)]
    pub fill: String,
    /// A file with one API key per line; each request uses a random one
    #[arg(long)]
    pub keys: Option<PathBuf>,
    #[arg(long)]
    pub stream: bool,
}

/// A request in both forms: HTTP/1.1 bytes (split at the key), and HTTP/2 parts.
pub struct Message {
    before_key: Vec<u8>,
    after_key: Vec<u8>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    keys: Vec<String>,
}

impl Message {
    /// Builds the message, and the [`Dialer`] for its address, which must be a loopback address.
    pub fn build(wanted: &Wanted) -> Outcome<(Message, Dialer)> {
        let (_, rest) = wanted.url.split_once("://").unwrap_or(("", &wanted.url));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = host
            .parse()
            .map_err(|_| fault(format!("not an address and port: {host}")))?;
        if !address.ip().is_loopback() {
            return Err(fault("this generator stays on its own machine"));
        }
        let path = if path.is_empty() { "/" } else { path };
        let body = body(wanted);
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len(),
        );
        for header in &wanted.headers {
            head += header.trim();
            head += "\r\n";
        }
        let keys = match &wanted.keys {
            Some(file) => read_keys(file)?,
            None => Vec::new(),
        };
        let (head, rest) = match keys.is_empty() {
            true => (format!("{head}\r\n{body}"), String::new()),
            false => (
                format!("{head}authorization: Bearer "),
                format!("\r\n\r\n{body}"),
            ),
        };
        let message = Message {
            before_key: head.into_bytes(),
            after_key: rest.into_bytes(),
            uri: format!("{}://{host}{path}", wanted.protocol.scheme()).parse()?,
            headers: headers(wanted, body.len())?,
            body: body.into(),
            keys,
        };
        let dialer = Dialer::new(address, wanted.protocol, wanted.trust.as_deref())?;
        Ok((message, dialer))
    }

    /// Returns the bytes of the next HTTP/1.1 request. `space` is scratch memory, used if there are several
    /// keys.
    pub fn bytes<'a>(&'a self, dice: &mut Dice, space: &'a mut Vec<u8>) -> &'a [u8] {
        if self.keys.is_empty() {
            return &self.before_key;
        }
        let key = &self.keys[dice.roll(self.keys.len())];
        space.clear();
        space.extend_from_slice(&self.before_key);
        space.extend_from_slice(key.as_bytes());
        space.extend_from_slice(&self.after_key);
        space
    }

    /// Returns the next HTTP/2 request.
    pub fn request(&self, dice: &mut Dice) -> (Request<()>, Bytes) {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if !self.keys.is_empty() {
            let key = &self.keys[dice.roll(self.keys.len())];
            // Cannot fail in practice: keys consist of characters that are valid in a header.
            if let Ok(value) = HeaderValue::try_from(format!("Bearer {key}")) {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
        }
        (request, self.body.clone())
    }
}

fn headers(wanted: &Wanted, length: usize) -> Outcome<HeaderMap> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CONTENT_LENGTH, length.into());
    for line in &wanted.headers {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| fault(format!("not 'name: value': {line}")))?;
        let name: HeaderName = name.trim().parse()?;
        headers.append(name, value.trim().parse()?);
    }
    Ok(headers)
}

fn body(wanted: &Wanted) -> String {
    let stream = match wanted.stream {
        true => r#","stream":true,"stream_options":{"include_usage":true}"#,
        false => "",
    };
    let before = format!(
        r#"{{"model":"{}","messages":[{{"role":"user","content":"{}"#,
        wanted.model, wanted.prompt
    );
    let after = format!(r#""}}],"max_tokens":{MAX_TOKENS}{stream}}}"#);
    let missing = wanted.body_bytes.saturating_sub(before.len() + after.len());
    let fill = match wanted.fill.as_str() {
        "" => FILLER,
        fill => fill,
    };
    let lines = fill.repeat(missing / fill.len());
    let rest = ".".repeat(missing % fill.len());
    format!("{before}{lines}{rest}{after}")
}

fn read_keys(file: &Path) -> Outcome<Vec<String>> {
    let text = fs::read_to_string(file)?;
    let keys: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(fault(format!("no keys in {}", file.display())));
    }
    Ok(keys)
}

/// Pseudo-random numbers (xorshift64*): cheap, and the same sequence in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        (high as usize * sides) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            url: "http://127.0.0.1:4000/v1/chat/completions".into(),
            model: "gpt-4o-mini".into(),
            ..Wanted::default()
        }
    }

    #[test]
    fn a_body_is_json_of_the_size_that_was_asked_for() {
        for size in [0, 200, 201, 65_536, 1_048_576] {
            let body = body(&Wanted {
                body_bytes: size,
                stream: true,
                ..wanted()
            });
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["stream"], true);
            assert!(body.len() == size || size == 0);
        }
    }

    #[test]
    fn a_request_announces_its_length_and_has_its_headers() {
        let (message, _) = Message::build(&Wanted {
            headers: vec!["authorization: Bearer k".into()],
            ..wanted()
        })
        .unwrap();
        let text = String::from_utf8(message.before_key).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert!(head.ends_with("authorization: Bearer k"));
    }

    #[test]
    fn a_request_of_http2_says_the_same() {
        let (message, _) = Message::build(&Wanted {
            headers: vec!["authorization: Bearer k".into()],
            protocol: Protocol::Http2,
            ..wanted()
        })
        .unwrap();
        let (request, body) = message.request(&mut Dice::new(1));
        assert_eq!(request.uri(), "http://127.0.0.1:4000/v1/chat/completions");
        let text = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(text("authorization"), "Bearer k");
        assert_eq!(text("content-length"), body.len().to_string());
        assert!(message.before_key.ends_with(&body));
    }

    #[test]
    fn no_request_leaves_this_machine() {
        let url = "http://192.0.2.1:80/".to_owned();
        assert!(Message::build(&Wanted { url, ..wanted() }).is_err());
    }

    #[test]
    fn the_dice_reach_every_side() {
        let mut dice = Dice::new(7);
        let mut seen = [0; 10];
        (0..10_000).for_each(|_| seen[dice.roll(10)] += 1);
        assert!(
            seen.iter().all(|count| (800..1_200).contains(count)),
            "{seen:?}"
        );
    }
}
