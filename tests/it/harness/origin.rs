//! A lenient provider that parses requests byte by byte, as some do.
//!
//! A smuggled request shows up as a request of its own. Each response contains the marker of its request's
//! body, which identifies the request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Origin {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Origin {
    pub fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(socket, &seen));
            }
        });
        Origin { addr, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Raw bytes of every request so far.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }
}

/// Serves until the other side closes or stays silent.
fn serve(mut socket: TcpStream, seen: &Mutex<Vec<Vec<u8>>>) {
    let silence = Some(Duration::from_secs(60));
    socket.set_read_timeout(silence).unwrap();
    let mut unread = Vec::new();
    loop {
        while let Some(length) = request_length(&unread) {
            let rest = unread.split_off(length);
            let request = std::mem::replace(&mut unread, rest);
            let marker = marker(&request);
            seen.lock().unwrap().push(request);
            let body = format!(
                "{{\"choices\":[{{\"message\":{{\"content\":\"{marker}\"}}}}],\
                 \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}}}"
            );
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            if socket.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        let mut room = [0; 4096];
        match socket.read(&mut room) {
            Ok(0) | Err(_) => return,
            Ok(read) => unread.extend_from_slice(&room[..read]),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// Length of the first request if it is complete. Lenient: bare line feeds are accepted, chunked wins over a
/// length, and unknown syntax is skipped.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let crlf = find(bytes, b"\r\n\r\n").map(|at| at + 4);
    let lf = find(bytes, b"\n\n").map(|at| at + 2);
    let head = crlf.into_iter().chain(lf).min()?;
    let lines = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let value = |name: &str| {
        let mut lines = lines.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(given, _)| given.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        let end = find(&bytes[head..], b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length = value("content-length").and_then(|length| length.parse().ok());
    let whole = head + length.unwrap_or(0);
    (bytes.len() >= whole).then_some(whole)
}

/// Marker in the prompt, such as `m-1` or `SMUGGLED`.
fn marker(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let said = text.split("\"content\":\"").nth(1).unwrap_or_default();
    said.split('"').next().unwrap_or_default().to_owned()
}
