//! An HTTP/2 client, over TCP or TLS, with concurrent requests on one connection.
//!
//! Every operation has a timeout.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

/// A complete response.
#[derive(Debug)]
pub struct Reply2 {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply2 {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// TLS settings of a client: trust, certificate, ALPN and versions.
#[derive(Default)]
pub struct Trust<'a> {
    pub ca: Option<&'a Path>,
    /// Client certificate and key.
    pub own: Option<(&'a Path, &'a Path)>,
    pub alpn: &'a [&'a [u8]],
    pub versions: Option<&'a [&'static rustls::SupportedProtocolVersion]>,
}

impl Trust<'_> {
    pub async fn connect(
        &self,
        addr: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        if let Some(ca) = self.ca {
            let ca = CertificateDer::from_pem_file(ca).expect("a certificate");
            roots.add(ca).expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = self.versions.unwrap_or(rustls::ALL_VERSIONS);
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = CertificateDer::pem_file_iter(cert).expect("a certificate");
                let chain: Result<Vec<_>, _> = chain.collect();
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                let built = builder.with_client_auth_cert(chain.expect("a chain"), key);
                built.expect("a certificate with its key")
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(addr).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

impl Http2 {
    #[track_caller]
    pub fn plain(addr: SocketAddr) -> Http2 {
        let runtime = runtime();
        let socket = runtime
            .block_on(TcpStream::connect(addr))
            .expect("the server accepts");
        Http2::over(runtime, socket, "http")
    }

    #[track_caller]
    pub fn tls(addr: SocketAddr, name: &str, ca: &Path) -> Http2 {
        let runtime = runtime();
        let trust = Trust {
            ca: Some(ca),
            alpn: &[b"h2"],
            ..Trust::default()
        };
        let stream = runtime.block_on(trust.connect(addr, name)).expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Http2::over(runtime, stream, "https")
    }

    fn over(
        runtime: Runtime,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
    ) -> Http2 {
        let (sender, connection) = runtime
            .block_on(h2::client::handshake(stream))
            .expect("a handshake of HTTP/2");
        let connection = runtime.spawn(connection);
        Http2 {
            runtime,
            sender,
            connection,
            scheme,
        }
    }

    /// Starts a request and sends its body, if any, completely.
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Begun<'_>, h2::Error> {
        let uri = format!("{}://localhost{path}", self.scheme);
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let begin = async {
            let mut sender = self.sender.clone().ready().await?;
            let (answer, mut stream) = sender.send_request(request, body.is_none())?;
            if let Some(body) = body {
                // The server may have responded and closed the stream.
                let _ = stream.send_data(body.into(), true);
            }
            Ok::<_, h2::Error>((answer, stream))
        };
        let (answer, stream) = self.wait(begin)?;
        Ok(Begun {
            client: self,
            answer,
            stream,
        })
    }

    /// Starts a call whose body continues.
    #[track_caller]
    pub fn half(
        &self,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        piece: Vec<u8>,
    ) -> Begun<'_> {
        let bearer = format!("Bearer {key}");
        let mut request = http::Request::post(format!("{}://localhost{path}", self.scheme))
            .header("authorization", bearer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let begin = async {
            let mut sender = self.sender.clone().ready().await?;
            let (answer, mut stream) = sender.send_request(request, false)?;
            stream.send_data(piece.into(), false)?;
            Ok::<_, h2::Error>((answer, stream))
        };
        let (answer, stream) = self.wait(begin).expect("it is sent");
        Begun {
            client: self,
            answer,
            stream,
        }
    }

    #[track_caller]
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Reply2 {
        let begun = self.begin(method, path, headers, body).expect("it is sent");
        begun.whole().expect("an answer")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply2 {
        self.send("GET", path, &[], None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, key: &str, body: &Value) -> Reply2 {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.send("POST", path, &headers, Some(body.to_string().into_bytes()))
    }

    /// Whether the server closes the connection within this time.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let ended = async {
            tokio::time::timeout(time, &mut self.connection)
                .await
                .is_ok()
        };
        self.runtime.block_on(ended)
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(TIMEOUT, future).await };
        self.runtime
            .block_on(bounded)
            .expect("nothing takes so long")
    }
}

/// A request that was started.
pub struct Begun<'c> {
    client: &'c Http2,
    answer: ResponseFuture,
    pub stream: SendStream<Bytes>,
}

impl<'c> Begun<'c> {
    pub fn whole(self) -> Result<Reply2, h2::Error> {
        let Begun {
            client,
            answer,
            stream,
        } = self;
        let reply = client.wait(async {
            let (head, mut body) = answer.await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(piece) = next(&mut body).await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(Reply2 {
                status: head.status.as_u16(),
                headers: head.headers,
                body: bytes,
            })
        });
        drop(stream);
        reply
    }

    /// Sends `piece` at intervals until a response arrives; returns its status.
    pub fn dribble(&mut self, piece: &'static [u8], pause: Duration) -> Result<u16, h2::Error> {
        self.client.wait(async {
            loop {
                tokio::select! {
                    answer = &mut self.answer => return Ok(answer?.status().as_u16()),
                    () = tokio::time::sleep(pause) => {
                        // The server may have closed the stream with its response.
                        let _ = self.stream.send_data(piece.into(), false);
                    }
                }
            }
        })
    }

    /// Status of the response, if it has arrived.
    pub fn status_now(&mut self) -> Option<u16> {
        let now = async { tokio::time::timeout(Duration::from_millis(1), &mut self.answer).await };
        let answer = self.client.runtime.block_on(now).ok()?;
        Some(answer.expect("an answer").status().as_u16())
    }

    /// Waits for the response head and for `needle` in the body; returns the stream for further reading.
    #[track_caller]
    pub fn until(self, needle: &str) -> Streaming2<'c> {
        let Begun {
            client,
            answer,
            stream,
        } = self;
        let mut text = String::new();
        let body = client.wait(async {
            let mut body = answer.await.expect("an answer").into_body();
            while !text.contains(needle) {
                let piece = next(&mut body).await.expect("more of it");
                let piece = piece.unwrap_or_else(|| panic!("no {needle:?}: {text}"));
                text += &String::from_utf8_lossy(&piece);
            }
            body
        });
        Streaming2 {
            client,
            body,
            stream,
        }
    }
}

/// A partly read response.
pub struct Streaming2<'c> {
    client: &'c Http2,
    body: RecvStream,
    stream: SendStream<Bytes>,
}

impl Streaming2<'_> {
    /// Reads the rest; an error if the stream was reset.
    pub fn rest(mut self) -> Result<String, h2::Error> {
        let mut text = String::new();
        self.client.wait(async {
            while let Some(piece) = next(&mut self.body).await? {
                text += &String::from_utf8_lossy(&piece);
            }
            Ok(text)
        })
    }

    /// Resets the stream.
    pub fn reset(mut self) {
        self.stream.send_reset(h2::Reason::CANCEL);
        // The frame is sent by the connection's next poll.
        let turn = async { tokio::time::sleep(Duration::from_millis(20)).await };
        self.client.wait(turn);
    }
}

async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let piece = body.data().await.transpose()?;
    if let Some(piece) = &piece {
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(piece)
}
