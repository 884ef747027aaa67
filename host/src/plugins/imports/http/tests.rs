//! Against raw TCP servers: what they say is what the test says.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stellaclaw_bindings::chat::Timeouts;
use stellaclaw_bindings::http::{BlobPiece, Credential, Encoding, Piece, Place};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

mod uploads;

use super::*;
use crate::chat::Reached;
use crate::limits;
use crate::plugins::policy::net::NamedBy;
use crate::plugins::stop::{Stop, stop};

const SECRET: &str = "sk-very/secret+0123456789";

/// What a server sends, piece by piece.
enum Say {
    Text(String),
    Bytes(Vec<u8>),
    Pause(u64),
    /// The same megabyte until the other side has enough.
    Endless,
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers one connection after the other, each with the next script; the last one again and again.
    async fn start(scripts: Vec<Vec<Say>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            let mut next = 0;
            while let Ok((mut socket, _)) = listener.accept().await {
                let script = &scripts[next.min(scripts.len() - 1)];
                next += 1;
                let mut request = Vec::new();
                while !is_whole(&request) && socket.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
                log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                for say in script {
                    let said = match say {
                        Say::Text(text) => socket.write_all(text.as_bytes()).await,
                        Say::Bytes(bytes) => socket.write_all(bytes).await,
                        Say::Pause(millis) => {
                            tokio::time::sleep(Duration::from_millis(*millis)).await;
                            Ok(())
                        }
                        Say::Endless => {
                            let megabyte = vec![0; 1 << 20];
                            while socket.write_all(&megabyte).await.is_ok() {}
                            Ok(())
                        }
                    };
                    // So that every piece arrives as one.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if said.is_err() {
                        break;
                    }
                }
            }
        });
        Self { port, seen }
    }

    async fn saying(text: impl Into<String>) -> Self {
        Self::start(vec![vec![Say::Text(text.into())]]).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn origin(&self) -> OriginGrant {
        OriginGrant::parse(&self.url(""), NamedBy::Operator).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn redirect(status: u16, to: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

struct Call {
    http: HttpContext,
    table: ResourceTable,
    stop: Stop,
}

impl Call {
    fn new(origins: Vec<OriginGrant>, slot_origins: Vec<OriginGrant>) -> Self {
        Self::with(HttpClient::new(), origins, slot_origins)
    }

    fn with(client: HttpClient, origins: Vec<OriginGrant>, slot_origins: Vec<OriginGrant>) -> Self {
        let secret = Secret::new(SECRET, "test").ok().unwrap();
        let redactor = Redactor::new([&secret]);
        let (stop, signal) = stop();
        let slots = vec![SlotGrant { slot: "api-key".to_owned(), secret, origins: slot_origins }];
        let http = HttpContext::new(client, "tools-test", origins, slots, redactor, Handed::default(), signal);
        Self { http, table: ResourceTable::new(), stop }
    }

    fn view(&mut self) -> HttpView<'_> {
        HttpView { http: &mut self.http, table: &mut self.table }
    }

    async fn send(&mut self, request: Request) -> Result<Resource<Response>, Error> {
        self.view().send(request).await.unwrap()
    }

    async fn refusal(&mut self, request: Request) -> (ErrorKind, String) {
        let refused = self.send(request).await.expect_err("the request is refused");
        (refused.kind, refused.message)
    }

    async fn read(&mut self, response: &Resource<Response>, max: u32) -> Result<Option<Vec<u8>>, Error> {
        self.view().read(Resource::new_borrow(response.rep()), max).await.unwrap()
    }

    async fn all(&mut self, response: &Resource<Response>) -> Result<String, Error> {
        let mut all = Vec::new();
        while let Some(piece) = self.read(response, 1 << 20).await? {
            all.extend(piece);
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }
}

fn get(url: impl Into<String>) -> Request {
    Request {
        method: "GET".to_owned(),
        url: url.into(),
        headers: Vec::new(),
        credentials: Vec::new(),
        body: Vec::new(),
        timeouts: None,
        redirects: 0,
    }
}

fn with_key(url: impl Into<String>, place: Place) -> Request {
    Request { credentials: vec![Credential { slot: "api-key".to_owned(), place }], redirects: 5, ..get(url) }
}

fn handle(response: &Resource<Response>) -> Resource<Response> {
    Resource::new_borrow(response.rep())
}

#[tokio::test]
async fn a_body_is_read_in_pieces_to_its_end() {
    let server = Server::saying(answer("hello world")).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let request = Request {
        method: "POST".to_owned(),
        headers: vec![("X-One".to_owned(), "1".to_owned())],
        body: vec![Piece::Bytes(b"ab".to_vec()), Piece::Bytes(b"cd".to_vec())],
        ..get(server.url("/x?y=1#z"))
    };
    let response = call.send(request).await.unwrap();
    assert_eq!(call.view().status(handle(&response)).await.unwrap(), 200);
    assert_eq!(call.view().url(handle(&response)).await.unwrap(), server.url("/x?y=1"));
    assert!(call.view().headers(handle(&response)).await.unwrap().contains(&("content-length".to_owned(), "11".to_owned())));
    assert_eq!(call.read(&response, 5).await.unwrap().unwrap(), b"hello");
    assert_eq!(call.read(&response, 0).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(call.read(&response, 1 << 30).await.unwrap().unwrap(), b" world");
    assert_eq!(call.read(&response, 1).await.unwrap(), None);
    assert_eq!(call.read(&response, 1).await.unwrap(), None);
    let seen = server.seen();
    assert!(
        seen[0].starts_with("POST /x?y=1 HTTP/1.1\r\n") && seen[0].contains("x-one: 1") && seen[0].ends_with("\r\n\r\nabcd"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn blobs_go_out_by_name_and_again_after_a_redirect() {
    let home = Server::start(vec![vec![Say::Text(redirect(307, "/there"))], vec![Say::Text(answer("done"))]]).await;
    let mut call = Call::new(vec![home.origin()], vec![]);
    call.http.blobs = [("sha256:aa".to_owned(), bytes::Bytes::from_static(b"picture"))].into_iter().collect();
    let blob = |encoding| Piece::Blob(BlobPiece { blob: "sha256:aa".to_owned(), encoding });
    let own = |text: &str| Piece::Bytes(text.as_bytes().to_vec());
    let body = vec![own("{\"url\":\""), blob(Encoding::Base64), own("\"}"), blob(Encoding::Raw)];
    let request = Request { method: "POST".to_owned(), body, redirects: 1, ..get(home.url("/here")) };
    let response = call.send(request).await.unwrap();
    assert_eq!(call.all(&response).await.unwrap(), "done");
    for (seen, path) in home.seen().iter().zip(["/here", "/there"]) {
        assert!(seen.starts_with(&format!("POST {path} ")) && seen.ends_with("\r\n\r\n{\"url\":\"cGljdHVyZQ==\"}picture"), "{seen}");
        assert!(seen.contains("content-length: 29\r\n") && !seen.contains("chunked"), "{seen}");
    }
}

#[tokio::test]
async fn it_is_seen_whether_a_request_left() {
    let reached = async |origin: OriginGrant, request: Request| {
        let progress = Progress::default();
        let mut call = Call::new(vec![origin], vec![]);
        call.http = call.http.watched(progress.clone());
        let answered = call.send(request).await.is_ok();
        (answered, progress.reached())
    };
    let server = Server::saying(answer("no")).await;
    assert_eq!(reached(server.origin(), get(server.url("/"))).await, (true, Reached::Sent));
    let deaf = Server::saying(String::new()).await;
    assert_eq!(reached(deaf.origin(), get(deaf.url("/"))).await, (false, Reached::Sent), "it may have been worked on");
    assert_eq!(reached(server.origin(), get("http://127.0.0.1:1/")).await, (false, Reached::BeforeSend), "it was not granted");
    // A port at which nobody listens any more.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = OriginGrant::parse(&format!("http://{free}"), NamedBy::Operator).unwrap();
    assert_eq!(reached(nobody, get(format!("http://{free}/"))).await, (false, Reached::BeforeSend));
}

#[tokio::test]
async fn what_is_not_granted_is_refused_with_its_key() {
    let server = Server::saying(answer("no")).await;
    let (kind, message) = Call::new(vec![], vec![]).refusal(get(server.url("/x"))).await;
    assert_eq!(kind, ErrorKind::Denied);
    let origin = server.url("");
    assert_eq!(message, format!("the request to {origin}/x is not granted; to allow it add \"{origin}\" to [plugins.tools-test] http"));
    let narrow = OriginGrant::parse(&format!("POST {origin}/v1"), NamedBy::Operator).unwrap();
    let mut call = Call::new(vec![narrow], vec![]);
    for url in [server.url("/v1/x"), server.url("/")] {
        assert_eq!(call.refusal(get(url)).await.0, ErrorKind::Denied);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_manifest_reaches_no_private_address() {
    let server = Server::saying(answer("no")).await;
    let client = HttpClient::with_lookup(Arc::new(|_| Box::pin(async { Ok(vec![IpAddr::from([8, 8, 8, 8]), [10, 0, 0, 1].into()]) })));
    for origin in [server.url(""), format!("http://localhost:{}", server.port), "http://intranet.example".to_owned()] {
        let grant = OriginGrant::parse(&origin, NamedBy::Manifest).unwrap();
        let (kind, message) = Call::with(client.clone(), vec![grant], vec![]).refusal(get(origin)).await;
        assert_eq!(kind, ErrorKind::Denied);
        assert!(message.contains("which is no public address"), "{message}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_name_reaches_private_addresses_only_where_the_operator_said_so() {
    let server = Server::saying(answer("here")).await;
    let url = format!("http://nas.example:{}", server.port);
    let leads_to = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        HttpClient::with_lookup(Arc::new(move |_| Box::pin(async move { Ok(vec![address]) })))
    };
    let call = |address: &str, named_by| Call::with(leads_to(address), vec![OriginGrant::parse(&url, named_by).unwrap()], vec![]);
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1"] {
        let (kind, message) = call(address, NamedBy::Operator).refusal(get(&url)).await;
        assert_eq!(kind, ErrorKind::Denied);
        assert!(message.ends_with("no public address; to allow it add \"nas.example\" to [plugins.tools-test] private"), "{message}");
    }
    for address in ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "64:ff9b::169.254.169.254"] {
        for named_by in [NamedBy::Operator, NamedBy::OperatorAsPrivate] {
            let (kind, message) = call(address, named_by).refusal(get(&url)).await;
            assert_eq!(kind, ErrorKind::Denied);
            assert!(message.ends_with("only the address itself in [plugins.tools-test] http"), "{message}");
        }
    }
    assert!(server.seen().is_empty());
    let mut call = call("127.0.0.1", NamedBy::OperatorAsPrivate);
    let response = call.send(get(&url)).await.unwrap();
    assert_eq!(call.all(&response).await.unwrap(), "here");
}

#[tokio::test]
async fn the_checked_address_is_the_one_connected_to() {
    let server = Server::saying(answer("here")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // A resolver that changes its mind after every answer.
    let client = HttpClient::with_lookup(Arc::new(move |_| {
        let bad = count.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        Box::pin(async move { Ok(vec![if bad { [169, 254, 169, 254].into() } else { [127, 0, 0, 1].into() }]) })
    }));
    let url = format!("http://api.example:{}", server.port);
    let mut call = Call::with(client, vec![OriginGrant::parse(&url, NamedBy::OperatorAsPrivate).unwrap()], vec![]);
    let response = call.send(get(&url)).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(call.all(&response).await.unwrap(), "here");
    let (kind, message) = call.refusal(get(&url)).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.starts_with("api.example leads to 169.254.169.254"), "{message}");
}

#[tokio::test]
async fn redirects_are_checked_like_requests() {
    let inside = Server::saying(answer("inside")).await;
    let server = Server::saying(redirect(302, &inside.url("/secret"))).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let (kind, message) = call.refusal(Request { redirects: 3, ..get(server.url("/")) }).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.starts_with("the redirect to http://127.0.0.1:"), "{message}");
    assert!(inside.seen().is_empty());
    // Not asked to follow: the answer is the redirect itself.
    let response = call.send(get(server.url("/"))).await.unwrap();
    assert_eq!(call.view().status(handle(&response)).await.unwrap(), 302);
    for bad in ["file:///etc/passwd", "http://u:p@127.0.0.1/", "http://["] {
        let server = Server::saying(redirect(301, bad)).await;
        let (kind, _) = Call::new(vec![server.origin()], vec![]).refusal(Request { redirects: 3, ..get(server.url("/")) }).await;
        assert_eq!(kind, ErrorKind::Failed, "{bad}");
    }
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::saying(redirect(307, "/again")).await;
    let (kind, message) = Call::new(vec![server.origin()], vec![]).refusal(Request { redirects: 2, ..get(server.url("/")) }).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Failed, "more than 2 redirects"));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_posted_form_is_fetched_after_303_and_repeated_after_307() {
    for (status, first_line) in [(303, "GET /next"), (302, "GET /next"), (307, "POST /next"), (308, "POST /next")] {
        let server = Server::start(vec![vec![Say::Text(redirect(status, "/next"))], vec![Say::Text(answer("ok"))]]).await;
        let request = Request {
            method: "POST".to_owned(),
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: vec![Piece::Bytes(b"form".to_vec())],
            redirects: 1,
            ..get(server.url("/"))
        };
        Call::new(vec![server.origin()], vec![]).send(request).await.unwrap();
        let second = server.seen()[1].clone();
        assert!(second.starts_with(first_line), "{second}");
        assert_eq!(second.contains("content-type") && second.ends_with("form"), first_line.starts_with("POST"), "{second}");
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let basic = "Basic bWU6c2stdmVyeS9zZWNyZXQrMDEyMzQ1Njc4OQ==";
    let places = [
        (Place::Bearer, format!("authorization: Bearer {SECRET}")),
        (Place::Basic("me".to_owned()), format!("authorization: {basic}")),
        (Place::Header("X-Key".to_owned()), format!("x-key: {SECRET}")),
        (Place::Query("key".to_owned()), "key=sk-very%2Fsecret%2B0123456789".to_owned()),
    ];
    for (place, expected) in places {
        let other = Server::start(vec![vec![Say::Text(redirect(307, "/again"))], vec![Say::Text(answer("done"))]]).await;
        let home =
            Server::start(vec![vec![Say::Text(redirect(307, "/step"))], vec![Say::Text(redirect(307, &other.url("/elsewhere")))]]).await;
        let mut call = Call::new(vec![home.origin(), other.origin()], vec![home.origin(), other.origin()]);
        let mut request = with_key(home.url("/"), place);
        request.headers.push(("cookie".to_owned(), "mine=1".to_owned()));
        let response = call.send(request).await.unwrap();
        assert_eq!(call.all(&response).await.unwrap(), "done");
        assert!(home.seen().iter().all(|seen| seen.contains(&expected) && seen.contains("mine=1")), "{:?}", home.seen());
        let elsewhere = other.seen().join("");
        assert_eq!(other.seen().len(), 2);
        assert!(!elsewhere.contains("0123456789") && !elsewhere.contains("authorization") && !elsewhere.contains("mine=1"), "{elsewhere}");
    }
}

#[tokio::test]
async fn a_redirect_that_carries_a_secret_away_is_refused() {
    let other = Server::saying(answer("no")).await;
    for place in ["/?key=sk-very%2Fsecret%2B0123456789", "/sk-very%2Fsecret%2B0123456789/x"] {
        let home = Server::saying(redirect(302, &other.url(place))).await;
        let mut call = Call::new(vec![home.origin(), other.origin()], vec![home.origin()]);
        let (kind, message) = call.refusal(with_key(home.url("/"), Place::Query("key".to_owned()))).await;
        assert_eq!(kind, ErrorKind::Denied);
        assert!(message.ends_with("carries a secret") && !message.contains("0123456789"), "{message}");
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_address_is_shown_without_the_credential_that_was_put_in() {
    // The second leads to what is relative to the address that was sent.
    for script in [vec![answer("done")], vec![redirect(307, "#again"), answer("done")]] {
        let home = Server::start(script.into_iter().map(|said| vec![Say::Text(said)]).collect()).await;
        let mut call = Call::new(vec![home.origin()], vec![home.origin()]);
        let response = call.send(with_key(home.url("/?q=1"), Place::Query("key".to_owned()))).await.unwrap();
        assert_eq!(call.view().url(handle(&response)).await.unwrap(), home.url("/?q=1"));
        assert!(home.seen().iter().all(|seen| seen.starts_with("GET /?q=1&key=sk-very")), "{:?}", home.seen());
    }
}

#[tokio::test]
async fn credentials_need_a_slot_an_origin_and_https() {
    let grant = |text: &str| OriginGrant::parse(text, NamedBy::Operator).unwrap();
    let everywhere = vec![grant("https://a.example"), grant("http://a.example"), grant("https://b.example")];
    let mut call = Call::new(everywhere, vec![grant("https://a.example/v1"), grant("http://a.example")]);
    let table = [
        (with_key("https://b.example/", Place::Bearer), "[plugins.tools-test] secrets.api-key.origins"),
        (with_key("https://a.example/v2", Place::Bearer), "[plugins.tools-test] secrets.api-key.origins"),
        (with_key("http://a.example/", Place::Bearer), "goes only over https"),
    ];
    for (request, expected) in table {
        let (kind, message) = call.refusal(request).await;
        assert_eq!(kind, ErrorKind::Denied);
        assert!(message.contains(expected), "{message}");
    }
    let mut request = with_key("https://a.example/v1", Place::Bearer);
    request.credentials[0].slot = "other".to_owned();
    let (kind, message) = call.refusal(request).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.contains("[plugins.tools-test] secrets.other = "), "{message}");
}

#[tokio::test]
async fn malformed_requests_are_refused_before_anything_is_sent() {
    let header = |name: &str, value: &str| Request { headers: vec![(name.to_owned(), value.to_owned())], ..get("https://a.example/v1") };
    let method = |method: &str| Request { method: method.to_owned(), ..get("https://a.example/") };
    let conflict = |place: Place, name: &str| Request {
        headers: vec![(name.to_owned(), "x".to_owned())],
        ..with_key("https://a.example/?key=1", place)
    };
    let mut call = Call::new(vec![], vec![]);
    let requests = [
        header("x", "a\r\nhost: evil"),
        header("x", "a\nb"),
        header("x", "a\0"),
        header("x y", "a"),
        header("", "a"),
        header("Host", "evil"),
        header("Connection", "x"),
        header("transfer-encoding", "chunked"),
        header("Content-Length", "1"),
        header("accept-encoding", "zstd"),
        method("get"),
        method("CONNECT"),
        method("GET / HTTP/1.1\r\nx: y"),
        method(""),
        get("not a url"),
        get("ftp://a.example/"),
        get("https://user:pass@a.example/"),
        conflict(Place::Bearer, "Authorization"),
        conflict(Place::Query("key".to_owned()), "x"),
        conflict(Place::Header("host".to_owned()), "x"),
        conflict(Place::Header("a\r\nb".to_owned()), "x"),
        conflict(Place::Basic("a:b".to_owned()), "x"),
    ];
    for request in requests {
        let what = format!("{} {} {:?}", request.method, request.url, request.headers);
        assert_eq!(call.refusal(request).await.0, ErrorKind::Invalid, "{what}");
    }
    assert_eq!(call.refusal(header("x", &"y".repeat(limits::HEADER_BYTES))).await.0, ErrorKind::TooLarge);
    let large = Request { body: vec![Piece::Bytes(vec![0; limits::REQUEST_BYTES]), Piece::Bytes(vec![0])], ..get("https://a.example/") };
    assert_eq!(call.refusal(large).await.0, ErrorKind::TooLarge);
    let blob = Piece::Blob(BlobPiece { blob: "sha256:0".to_owned(), encoding: Encoding::Raw });
    assert_eq!(call.refusal(Request { body: vec![blob], ..get("https://a.example/") }).await.0, ErrorKind::NotFound);
}

#[tokio::test]
async fn an_echoed_secret_is_redacted_wherever_it_is_cut() {
    let head = format!("HTTP/1.1 200 OK\r\nx-echo: <{SECRET}>\r\nconnection: close\r\n\r\n");
    for cut in 1..SECRET.len() {
        let (left, right) = SECRET.split_at(cut);
        let pieces = vec![Say::Text(head.clone()), Say::Text(format!("a{left}")), Say::Text(format!("{right}b"))];
        let server = Server::start(vec![pieces]).await;
        let mut call = Call::new(vec![server.origin()], vec![server.origin()]);
        let response = call.send(with_key(server.url("/"), Place::Query("key".to_owned()))).await.unwrap();
        assert!(call.view().headers(handle(&response)).await.unwrap().contains(&("x-echo".to_owned(), "<[redacted]>".to_owned())));
        assert_eq!(call.view().url(handle(&response)).await.unwrap(), server.url("/"));
        assert_eq!(call.all(&response).await.unwrap(), "a[redacted]b", "cut at {cut}");
    }
}

#[tokio::test]
async fn a_cut_body_is_an_error_and_stays_one() {
    let heads =
        ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"];
    for head in heads {
        let server = Server::saying(head).await;
        let mut call = Call::new(vec![server.origin()], vec![]);
        let response = call.send(get(server.url("/"))).await.unwrap();
        assert_eq!(call.read(&response, 100).await.unwrap().unwrap(), b"hello");
        for _ in 0..2 {
            let failed = call.read(&response, 100).await.unwrap_err();
            assert_eq!(failed.kind, ErrorKind::Unavailable, "{}", failed.message);
        }
    }
}

#[tokio::test]
async fn silence_and_dripping_end_in_time() {
    let slow = |idle, total| Some(Timeouts { connect: 1000, idle, total });
    let silent = Server::start(vec![vec![Say::Text("HTTP/1.1 200 OK\r\n\r\nx".to_owned()), Say::Pause(60_000)]]).await;
    let mut call = Call::new(vec![silent.origin()], vec![]);
    let response = call.send(Request { timeouts: slow(50, 10_000), ..get(silent.url("/")) }).await.unwrap();
    assert_eq!(call.read(&response, 9).await.unwrap().unwrap(), b"x");
    let failed = call.read(&response, 9).await.unwrap_err();
    assert_eq!((failed.kind, failed.message.as_str()), (ErrorKind::Timeout, "the server was silent for 50 ms"));

    let mut drip = vec![Say::Text("HTTP/1.1 200 OK\r\n\r\n".to_owned())];
    drip.extend((0..2000).map(|_| Say::Text(".".to_owned())));
    let drip = Server::start(vec![drip]).await;
    let mut call = Call::new(vec![drip.origin()], vec![]);
    let response = call.send(Request { timeouts: slow(5000, 200), ..get(drip.url("/")) }).await.unwrap();
    let failed = call.all(&response).await.unwrap_err();
    assert_eq!((failed.kind, failed.message.as_str()), (ErrorKind::Timeout, "the request took longer than 200 ms in total"));

    let mute = Server::start(vec![vec![Say::Pause(60_000)]]).await;
    let (kind, _) = Call::new(vec![mute.origin()], vec![]).refusal(Request { timeouts: slow(5000, 100), ..get(mute.url("/")) }).await;
    assert_eq!(kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn endless_bodies_and_headers_are_cut() {
    let server = Server::start(vec![vec![Say::Text("HTTP/1.1 200 OK\r\n\r\n".to_owned()), Say::Endless]]).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    call.http.redactor = Redactor::default();
    let response = call.send(get(server.url("/"))).await.unwrap();
    let mut read = 0;
    let failed = loop {
        match call.read(&response, 1 << 20).await {
            Ok(piece) => read += piece.unwrap().len() as u64,
            Err(failed) => break failed,
        }
    };
    assert_eq!(failed.kind, ErrorKind::TooLarge);
    assert!(read <= limits::RESPONSE_BYTES);

    let many: String = (0..40_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let wide = format!("x: {}\r\n", "y".repeat(limits::HEADER_BYTES));
    for (headers, kind) in [(many, ErrorKind::Unavailable), (wide, ErrorKind::TooLarge)] {
        let server = Server::saying(format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).await;
        assert_eq!(Call::new(vec![server.origin()], vec![]).refusal(get(server.url("/"))).await.0, kind);
    }
}

#[tokio::test]
async fn what_can_be_decoded_is_and_the_rest_is_refused() {
    let gzip: &[u8] =
        &[31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 87, 72, 175, 202, 44, 0, 0, 25, 106, 210, 223, 10, 0, 0, 0];
    let head = |encoding: &str| Say::Text(format!("HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\nconnection: close\r\n\r\n"));
    let server = Server::start(vec![
        vec![head("gzip"), Say::Bytes(gzip.to_vec())],
        vec![head("gzip"), Say::Bytes(gzip[..20].to_vec())],
        vec![head("deflate"), Say::Bytes(b"x".to_vec())],
        vec![head("br"), Say::Bytes(b"x".to_vec())],
    ])
    .await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let response = call.send(get(server.url("/"))).await.unwrap();
    assert_eq!(call.all(&response).await.unwrap(), "hello gzip");
    let response = call.send(get(server.url("/"))).await.unwrap();
    assert_eq!(call.all(&response).await.unwrap_err().kind, ErrorKind::Unavailable);
    for encoding in ["deflate", "br"] {
        let (kind, message) = call.refusal(get(server.url("/"))).await;
        assert_eq!((kind, message), (ErrorKind::Failed, format!("the server answers in the encoding {encoding:?}; gzip is served")));
    }
    let accepts = server.seen()[0].lines().find_map(|line| line.strip_prefix("accept-encoding: ").map(str::to_owned));
    assert_eq!(accepts.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn a_stop_ends_the_waiting_and_loses_nothing() {
    let server = Server::start(vec![vec![Say::Text("HTTP/1.1 200 OK\r\n\r\nx".to_owned()), Say::Pause(60_000)]]).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let response = call.send(get(server.url("/"))).await.unwrap();
    assert_eq!(call.read(&response, 9).await.unwrap().unwrap(), b"x");
    assert!(!call.stop.is_waiting());
    let Call { http, table, stop } = &mut call;
    let mut view = HttpView { http, table };
    let (read, ()) = tokio::join!(view.read(handle(&response), 9), async {
        while !stop.is_waiting() {
            tokio::task::yield_now().await;
        }
        stop.stop(Duration::from_secs(1));
    });
    assert_eq!(read.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert!(!call.stop.is_waiting());
    assert_eq!(call.refusal(get(server.url("/"))).await.0, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_call_has_only_so_many_responses_open() {
    let home = Server::saying(answer("done")).await;
    let mut call = Call::new(vec![home.origin()], Vec::new());
    let mut open = Vec::new();
    for _ in 0..limits::OPEN_RESPONSES {
        open.push(call.send(get(home.url("/"))).await.unwrap());
    }
    let (kind, message) = call.refusal(get(home.url("/"))).await;
    assert_eq!((kind, message.contains("16 responses and uploads open")), (ErrorKind::Unavailable, true), "{message}");
    HostResponse::drop(&mut call.view(), open.remove(0)).await.unwrap();
    call.send(get(home.url("/"))).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/?private=1", listener.local_addr().unwrap().port());
    drop(listener);
    let origin = OriginGrant::parse(url.split("/?").next().unwrap(), NamedBy::Operator).unwrap();
    let (kind, message) = Call::new(vec![origin], vec![]).refusal(get(url)).await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(message.starts_with("send the request: ") && !message.contains("private"), "{message}");
}
