//! A server of WebSockets on loopback, with a handshake of its own.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::SECRET;
use crate::plugins::policy::net::{NamedBy, OriginGrant};

pub type Peer = WebSocketStream<TcpStream>;

/// Serves until the process ends.
pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Agrees, and then does what `serve` does.
    pub async fn start(serve: impl AsyncFn(Peer) + Send + 'static) -> Self {
        Self::with(async move |stream, request| serve(agree(stream, &request, "").await).await).await
    }

    /// Says this to whoever asks, and hangs up.
    pub async fn saying(text: String) -> Self {
        Self::with(async move |mut stream: TcpStream, _| {
            stream.write_all(text.as_bytes()).await.unwrap();
        })
        .await
    }

    /// Agrees, with more headers.
    pub async fn agreeing(headers: &str) -> Self {
        let headers = headers.to_owned();
        Self::with(async move |stream, request| drop(agree(stream, &request, &headers).await)).await
    }

    /// Says nothing at all.
    pub async fn silent() -> Self {
        Self::with(async |stream: TcpStream, _| {
            let _stream = stream;
            std::future::pending().await
        })
        .await
    }

    async fn with(answer: impl AsyncFn(TcpStream, String) + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let answer = Rc::new(answer);
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
                    let request = String::from_utf8(request).unwrap();
                    log.lock().unwrap().push(request.clone());
                    let answer = answer.clone();
                    tokio::task::spawn_local(async move { answer(stream, request).await });
                }
            });
        });
        Self { port, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    pub fn origin_text(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn origin(&self) -> OriginGrant {
        OriginGrant::parse(&self.origin_text(), NamedBy::Operator).unwrap()
    }

    /// The heads of all requests.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn agree(mut stream: TcpStream, request: &str, headers: &str) -> Peer {
    let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    let yes = "HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    let answer = format!("{yes}sec-websocket-accept: {accept}\r\nx-turn: 7 {SECRET}\r\n{headers}\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    WebSocketStream::from_raw_socket(stream, Role::Server, None).await
}
