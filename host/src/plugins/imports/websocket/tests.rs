//! Against servers on loopback that say what the test says.

mod parking;
pub mod server;

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use stellaclaw_bindings::http::{BlobPiece, Credential, Encoding, Place as Where};
use stellaclaw_bindings::websocket::Refusal;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame as Raw};

use super::*;
use crate::chat::Reached;
use crate::ids::SessionId;
use crate::plugins::grants::Grant;
use crate::plugins::imports::http::{HttpClient, SlotGrant};
use crate::plugins::policy::net::{NamedBy, OriginGrant};
use crate::plugins::progress::Progress;
use crate::plugins::stop::{Stop, stop};
use crate::secrets::{Redactor, Secret};
use server::{Peer, Server};

const SECRET: &str = "sk-very/secret+0123456789";
const PATIENT: u64 = 10_000;

struct Call {
    http: HttpContext,
    sockets: Sockets,
    table: ResourceTable,
    stop: Stop,
}

fn place() -> Place {
    let granted = Arc::new(Grant { plugin: "tools-test".to_owned(), ..Grant::default() });
    Place { session: SessionId(1), model: None, digest: "d".to_owned(), granted: granted.clone(), grant: granted }
}

impl Call {
    fn new(origins: Vec<OriginGrant>) -> Self {
        Self::at(HttpClient::new(), origins, Parked::new(limits::PARKED_TIME), place())
    }

    fn at(client: HttpClient, origins: Vec<OriginGrant>, parked: Parked, place: Place) -> Self {
        let secret = Secret::new(SECRET, "test").ok().unwrap();
        let redactor = Redactor::new([&secret]);
        let (stop, signal) = stop();
        let slots = vec![SlotGrant { slot: "api-key".to_owned(), secret, origins: origins.clone() }];
        let blobs = [("sha256:0".to_owned(), b"\xffmedia".as_slice().into())].into_iter().collect();
        let http = HttpContext::new(client, "tools-test", origins, slots, redactor, blobs, signal);
        Self { http, sockets: Sockets::new(parked, Some(place)), table: ResourceTable::new(), stop }
    }

    fn view(&mut self) -> SocketView<'_> {
        SocketView { http: &mut self.http, sockets: &mut self.sockets, table: &mut self.table }
    }

    async fn connect(&mut self, request: Request) -> Result<Resource<Connection>, ConnectError> {
        self.view().connect(request).await.unwrap()
    }

    async fn refused(&mut self, request: Request) -> Refusal {
        match self.connect(request).await {
            Err(ConnectError::Refused(refusal)) => refusal,
            Err(ConnectError::Error(error)) => panic!("{error:?}"),
            Ok(_) => panic!("it is open"),
        }
    }

    async fn failure(&mut self, request: Request) -> (ErrorKind, String) {
        match self.connect(request).await {
            Err(ConnectError::Error(error)) => (error.kind, error.message),
            Err(ConnectError::Refused(refusal)) => panic!("{refusal:?}"),
            Ok(_) => panic!("it is open"),
        }
    }

    async fn send(&mut self, connection: &Resource<Connection>, text: &str) -> Result<(), Error> {
        self.view().send(handle(connection), vec![Piece::Bytes(text.into())]).await.unwrap()
    }

    async fn receive(&mut self, connection: &Resource<Connection>, wait: u64) -> Result<Option<Frame>, Error> {
        self.view().receive(handle(connection), wait).await.unwrap()
    }

    async fn text(&mut self, connection: &Resource<Connection>) -> String {
        match self.receive(connection, PATIENT).await {
            Ok(Some(Frame::Text(text))) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn handle(connection: &Resource<Connection>) -> Resource<Connection> {
    Resource::new_borrow(connection.rep())
}

fn to(url: impl Into<String>) -> Request {
    Request { url: url.into(), headers: Vec::new(), credentials: Vec::new(), timeout: PATIENT }
}

fn with_key(url: impl Into<String>) -> Request {
    Request { credentials: vec![Credential { slot: "api-key".to_owned(), place: Where::Bearer }], ..to(url) }
}

async fn echo(mut peer: Peer) {
    while let Some(Ok(message)) = peer.next().await {
        if message.is_text() || message.is_binary() {
            peer.send(message).await.unwrap();
        }
    }
}

#[tokio::test]
async fn messages_go_and_come_until_the_farewell() {
    let server = Server::start(async |mut peer: Peer| {
        let Some(Ok(Message::Text(heard))) = peer.next().await else { panic!("no text") };
        peer.send(Message::text(format!("heard {heard}"))).await.unwrap();
        peer.send(Message::binary(vec![0, 255])).await.unwrap();
        peer.close(Some(CloseFrame { code: 4001.into(), reason: "enough".into() })).await.unwrap();
        while peer.next().await.is_some() {}
    })
    .await;
    let mut call = Call::new(vec![server.origin()]);
    let headers = vec![("X-One".to_owned(), "1".to_owned()), ("Sec-WebSocket-Protocol".to_owned(), "a, b".to_owned())];
    let open = call.connect(Request { headers, ..with_key(server.url("/x?y=1")) }).await.ok().unwrap();
    let asked = server.asked().join("\n").to_lowercase();
    assert!(asked.starts_with("get /x?y=1 http/1.1\r\n"), "{asked}");
    for line in ["x-one: 1", "sec-websocket-protocol: a, b", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
    }
    assert!(asked.contains(&format!("authorization: bearer {SECRET}")), "{asked}");
    let headers = call.view().headers(handle(&open)).await.unwrap();
    assert!(headers.contains(&("x-turn".to_owned(), "7 [redacted]".to_owned())), "{headers:?}");

    assert!(matches!(call.receive(&open, 0).await, Ok(None)), "nothing has come");
    let pieces = vec![Piece::Bytes(b"h\xc3".to_vec()), Piece::Bytes(b"\xa9".to_vec())];
    call.view().send(handle(&open), pieces).await.unwrap().unwrap();
    assert_eq!(call.text(&open).await, "heard hé");
    assert!(matches!(call.receive(&open, PATIENT).await, Ok(Some(Frame::Binary(bytes))) if bytes == [0, 255]));
    assert!(matches!(call.receive(&open, PATIENT).await, Ok(Some(Frame::Closed(4001)))));
    let over = call.receive(&open, PATIENT).await.unwrap_err();
    assert_eq!((over.kind, over.message.as_str()), (ErrorKind::Unavailable, "the connection is closed"));
    assert_eq!(call.send(&open, "more").await.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn only_what_goes_over_a_connection_is_seen_as_a_request() {
    let server = Server::start(echo).await;
    let progress = Progress::default();
    let mut call = Call::new(vec![server.origin()]);
    call.http = call.http.watched(progress.clone());
    let open = call.connect(to(server.url("/"))).await.ok().unwrap();
    assert_eq!(progress.reached(), Reached::BeforeSend);
    call.send(&open, "hello").await.unwrap();
    assert_eq!(progress.reached(), Reached::Sent);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_and_the_connection_goes_on() {
    let server = Server::start(echo).await;
    let mut call = Call::new(vec![server.origin()]);
    let open = call.connect(to(server.url("/"))).await.ok().unwrap();
    let blob = |id: &str, encoding| Piece::Blob(BlobPiece { blob: id.to_owned(), encoding });
    for (piece, kind) in [
        (blob("sha256:1", Encoding::Base64), ErrorKind::NotFound),
        (blob("sha256:0", Encoding::Raw), ErrorKind::Invalid),
        (Piece::Bytes(b"\xff".to_vec()), ErrorKind::Invalid),
        (Piece::Bytes(vec![b'x'; limits::SOCKET_SEND_BYTES + 1]), ErrorKind::TooLarge),
    ] {
        assert_eq!(call.view().send(handle(&open), vec![piece]).await.unwrap().unwrap_err().kind, kind);
    }
    let media = vec![Piece::Bytes(b"media: ".to_vec()), blob("sha256:0", Encoding::Base64)];
    call.view().send(handle(&open), media).await.unwrap().unwrap();
    assert_eq!(call.text(&open).await, "media: /21lZGlh");
    let rest = [call.connect(to(server.url("/"))).await, call.connect(to(server.url("/"))).await, call.connect(to(server.url("/"))).await];
    assert!(rest.iter().all(Result::is_ok));
    let (kind, message) = call.failure(to(server.url("/"))).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Unavailable, "a call has at most 4 connections open; drop or park one"));
    call.view().drop(open).await.unwrap();
    assert!(call.connect(to(server.url("/"))).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn only_what_is_granted_is_connected_to() {
    let server = Server::start(echo).await;
    let origin = server.origin_text();
    let (kind, message) = Call::new(vec![]).failure(to(server.url("/x"))).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert_eq!(message, format!("the request to {origin}/x is not granted; to allow it add \"{origin}\" to [plugins.tools-test] http"));
    let elsewhere = OriginGrant::parse(&format!("{origin}/v1"), NamedBy::Operator).unwrap();
    assert_eq!(Call::new(vec![elsewhere]).failure(to(server.url("/v2"))).await.0, ErrorKind::Denied);
    let posted = OriginGrant::parse(&format!("POST {origin}"), NamedBy::Operator).unwrap();
    assert_eq!(Call::new(vec![posted]).failure(to(server.url("/"))).await.0, ErrorKind::Denied, "it is a GET");

    // A name that leads inside.
    let lookup: crate::plugins::imports::http::Lookup = Arc::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) }));
    let named = OriginGrant::parse(&format!("http://rebound.example:{}", server.port), NamedBy::Operator).unwrap();
    let mut call = Call::at(HttpClient::with_lookup(lookup), vec![named], Parked::new(limits::PARKED_TIME), place());
    let (kind, message) = call.failure(to(format!("ws://rebound.example:{}/", server.port))).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.contains("leads to 127.0.0.1"), "{message}");

    let mut call = Call::new(vec![server.origin()]);
    let (kind, message) = call.failure(to(format!("{origin}/"))).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Invalid, "the url of a websocket begins with wss: or ws:"));
    for name in ["Sec-WebSocket-Key", "sec-websocket-extensions", "connection", "upgrade"] {
        let headers = vec![(name.to_owned(), "x".to_owned())];
        let (kind, message) = call.failure(Request { headers, ..to(server.url("/")) }).await;
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(message.ends_with("is set by the host; leave it out"), "{message}");
    }
    assert_eq!(server.asked(), Vec::<String>::new(), "nothing of it left");
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_is_handed_over() {
    let refusing = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let server = Server::saying(refusing("426 Upgrade Required", "x-id: 9\r\n", &format!("no {SECRET} here"))).await;
    let mut call = Call::new(vec![server.origin()]);
    let refused = call.refused(with_key(server.url("/"))).await;
    assert_eq!((refused.status, String::from_utf8(refused.body).unwrap().as_str()), (426, "no [redacted] here"));
    assert!(refused.headers.contains(&("x-id".to_owned(), "9".to_owned())));

    let elsewhere = Server::start(echo).await;
    let server = Server::saying(refusing("307 Elsewhere", &format!("location: {}\r\n", elsewhere.url("/")), "")).await;
    let mut call = Call::new(vec![server.origin(), elsewhere.origin()]);
    assert_eq!(call.refused(with_key(server.url("/"))).await.status, 307);
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect is not followed");

    let server = Server::saying(refusing("500 Oh", "", &"x".repeat(1 << 20))).await;
    let refused = Call::new(vec![server.origin()]).refused(to(server.url("/"))).await;
    assert_eq!(refused.body.len(), limits::SOCKET_REFUSAL_BYTES);
}

#[tokio::test]
async fn a_server_that_only_says_yes_opens_nothing() {
    let yes = "HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    let forged = format!("{yes}sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    let server = Server::saying(forged).await;
    let (kind, message) = Call::new(vec![server.origin()]).failure(to(server.url("/"))).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Failed, "the server opens no websocket: it does not speak the protocol"));
    for (header, why) in [("sec-websocket-extensions: x", "an extension"), ("sec-websocket-protocol: x", "a protocol")] {
        let server = Server::agreeing(&format!("{header}\r\n")).await;
        let (kind, message) = Call::new(vec![server.origin()]).failure(to(server.url("/"))).await;
        assert_eq!((kind, message), (ErrorKind::Failed, format!("the server opens no websocket: it wants {why} that was not offered")));
    }
}

#[tokio::test]
async fn a_secret_is_found_however_a_message_is_cut() {
    let server = Server::start(async |mut peer: Peer| {
        let text = format!("before {SECRET} after");
        for cut in 1..text.len() {
            let (first, last) = text.as_bytes().split_at(cut);
            peer.send(Message::Frame(Raw::message(first.to_vec(), OpCode::Data(Data::Text), false))).await.unwrap();
            peer.send(Message::Ping(vec![1].into())).await.unwrap();
            peer.send(Message::Frame(Raw::message(last.to_vec(), OpCode::Data(Data::Continue), true))).await.unwrap();
        }
        peer.send(Message::binary(text)).await.unwrap();
        while peer.next().await.is_some() {}
    })
    .await;
    let mut call = Call::new(vec![server.origin()]);
    let open = call.connect(to(server.url("/"))).await.ok().unwrap();
    for _ in 1..format!("before {SECRET} after").len() {
        assert_eq!(call.text(&open).await, "before [redacted] after");
    }
    assert!(matches!(call.receive(&open, PATIENT).await, Ok(Some(Frame::Binary(bytes))) if bytes == b"before [redacted] after"));
}

#[tokio::test]
async fn pings_are_answered_while_nobody_waits() {
    let (answered, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(async move |mut peer: Peer| {
        peer.send(Message::Ping(b"still there?".to_vec().into())).await.unwrap();
        while let Some(Ok(message)) = peer.next().await {
            answered.send(message).unwrap();
        }
    })
    .await;
    let mut call = Call::new(vec![server.origin()]);
    let _open = call.connect(to(server.url("/"))).await.ok().unwrap();
    assert_eq!(heard.recv().await, Some(Message::Pong(b"still there?".to_vec().into())));
}

#[tokio::test]
async fn what_nobody_takes_is_not_read() {
    const FRAME: usize = 32 << 10;
    let (stuck, mut is_stuck) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(async move |mut peer: Peer| {
        for sent in 0..4096_u32 {
            let text = Message::text(format!("{sent:0FRAME$}"));
            // On a machine that is only slow it goes on later, and the test waits for another one.
            let mut sending = std::pin::pin!(peer.send(text));
            if tokio::time::timeout(Duration::from_millis(300), &mut sending).await.is_err() {
                stuck.send(Some(sent)).unwrap();
                sending.await.unwrap();
            }
        }
        stuck.send(None).unwrap();
    })
    .await;
    let mut call = Call::new(vec![server.origin()]);
    let open = call.connect(to(server.url("/"))).await.ok().unwrap();
    let held = |call: &Call| call.table.get(&socket(&open)).unwrap().held_bytes();
    while held(&call) < limits::SOCKET_UNREAD_BYTES {
        let heard = tokio::time::timeout(Duration::from_millis(PATIENT), is_stuck.recv()).await;
        heard.unwrap().unwrap().expect("the server gets rid of 128 MiB that nobody takes");
    }
    assert!(held(&call) < limits::SOCKET_UNREAD_BYTES + 2 * FRAME, "{}", held(&call));
    for expected in 0..64_u32 {
        assert_eq!(call.text(&open).await.trim_start_matches('0'), expected.to_string().trim_start_matches('0'), "and it goes on");
    }
}

#[tokio::test]
async fn a_message_beyond_all_bounds_ends_the_connection() {
    for whole in [true, false] {
        let server = Server::start(async move |mut peer: Peer| {
            let large = vec![b'x'; limits::SOCKET_MESSAGE_BYTES + 1];
            if whole {
                let _ = peer.send(Message::binary(large)).await;
            } else {
                let mut kind = Data::Binary;
                for part in large.chunks(1 << 20) {
                    let _ = peer.send(Message::Frame(Raw::message(part.to_vec(), OpCode::Data(kind), false))).await;
                    kind = Data::Continue;
                }
            }
            while peer.next().await.is_some_and(|next| next.is_ok()) {}
        })
        .await;
        let mut call = Call::new(vec![server.origin()]);
        let open = call.connect(to(server.url("/"))).await.ok().unwrap();
        let error = call.receive(&open, PATIENT).await.unwrap_err();
        assert_eq!((error.kind, error.message), (ErrorKind::TooLarge, "the server sends a message of over 16777216 bytes".to_owned()));
    }
}

#[tokio::test]
async fn a_stop_ends_every_wait() {
    let silent = Server::silent().await;
    let server = Server::start(async |peer: Peer| {
        // It never reads.
        let _peer = peer;
        std::future::pending().await
    })
    .await;
    let mut call = Call::new(vec![silent.origin(), server.origin()]);
    let open = call.connect(to(server.url("/"))).await.ok().unwrap();
    call.stop.stop(Duration::ZERO);
    assert_eq!(call.receive(&open, u64::MAX).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(call.failure(to(silent.url("/"))).await.0, ErrorKind::Cancelled);
    assert_eq!(call.send(&open, "x").await.unwrap_err().kind, ErrorKind::Cancelled);

    // A message of which a part has gone.
    let mut call = Call::new(vec![server.origin()]);
    let open = call.connect(to(server.url("/"))).await.ok().unwrap();
    let stop = call.stop.clone();
    let stopper = async {
        while !stop.is_waiting() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        stop.stop(Duration::ZERO);
    };
    let large = "x".repeat(limits::SOCKET_SEND_BYTES);
    let (sent, ()) = tokio::join!(call.send(&open, &large), stopper);
    assert_eq!(sent.unwrap_err().kind, ErrorKind::Cancelled);
    call.table.get(&socket(&open)).unwrap().over().await;
}
