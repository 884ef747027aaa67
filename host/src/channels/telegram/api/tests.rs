mod proxy;

use std::io::Write as _;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::channels::telegram::send::{ALLOWED_UPDATES, Nothing};
use crate::channels::telegram::types::{File, FilePlace, Me};

const TOKEN: &str = "123456:AAsecret/part%of-the_token";
/// A hang detector; nothing waits for it when all is well.
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

/// What the server does with one connection.
#[derive(Clone)]
enum Act {
    /// Reads requests, and answers each with these bytes.
    Answer(Vec<u8>),
    /// The same, and then closes.
    AnswerAndClose(Vec<u8>),
    CloseAtOnce,
    ReadAndClose,
    ReadAndHang,
}

/// A server on loopback that does as it is told, and what it was asked.
struct Server {
    base: Url,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, act.clone(), seen.clone()));
            }
        });
        Self { base, asked }
    }

    fn api(&self) -> Api {
        api(&self.base, None)
    }

    fn asked(&self) -> Vec<Vec<u8>> {
        self.asked.lock().unwrap().clone()
    }
}

fn api(base: &Url, proxy: Option<&Url>) -> Api {
    Api::new(base, Secret::new(TOKEN, "test").ok().unwrap(), proxy).unwrap()
}

async fn serve(mut stream: TcpStream, act: Act, asked: Arc<Mutex<Vec<Vec<u8>>>>) {
    if matches!(act, Act::CloseAtOnce) {
        return;
    }
    while let Some(request) = request(&mut stream).await {
        asked.lock().unwrap().push(request);
        match &act {
            Act::Answer(bytes) => stream.write_all(bytes).await.unwrap(),
            Act::AnswerAndClose(bytes) => {
                // The client may have had enough before the end.
                let _ = stream.write_all(bytes).await;
                return;
            }
            Act::ReadAndHang => std::future::pending().await,
            Act::CloseAtOnce | Act::ReadAndClose => return,
        }
    }
}

/// A whole request, if it comes.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let length = String::from_utf8_lossy(&bytes[..head])
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(|length| length.parse::<usize>().unwrap()));
        while bytes.len() < head + 4 + length.unwrap_or(0) {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        return Some(bytes);
    }
}

/// Where nobody listens.
async fn nobody() -> Url {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    Url::parse(&format!("http://{address}")).unwrap()
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn refused(code: u16, description: &str, parameters: &Value) -> Act {
    let body = json!({"ok": false, "error_code": code, "description": description, "parameters": parameters});
    Act::Answer(http(&format!("{code} X"), body.to_string().as_bytes()))
}

async fn failure(act: Act) -> ApiError {
    Server::start(act).await.api().call::<i64>("sendMessage", &json!({"text": "hi"}), LONG).await.unwrap_err()
}

#[tokio::test]
async fn a_call_is_a_post_of_json_and_gives_its_result() {
    let server = Server::start(Act::Answer(http("200 OK", br#"{"ok":true,"result":{"id":5,"username":"b","new":[1]}}"#))).await;
    let me: Me = server.api().call("getMe", &Nothing {}, LONG).await.unwrap();
    assert_eq!((me.id, me.username.as_deref()), (5, Some("b")));
    let asked = String::from_utf8(server.asked().remove(0)).unwrap();
    assert!(asked.starts_with("POST /bot123456:AAsecret%2Fpart%25of-the_token/getMe HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/json") && asked.ends_with("\r\n\r\n{}"), "{asked}");
}

#[tokio::test]
async fn a_base_may_have_a_path() {
    let server = Server::start(Act::Answer(http("200 OK", br#"{"ok":true,"result":1}"#))).await;
    let api = api(&server.base.join("/telegram/?x=1#y").unwrap(), None);
    api.call::<i64>("logOut", &Nothing {}, LONG).await.unwrap();
    assert!(server.asked()[0].starts_with(b"POST /telegram/bot123456:"));
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    const GZIP: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 202, 207, 86, 178, 42, 41, 42, 77, 213, 81, 42, 74, 45, 46, 205, 41, 81, 178, 50, 175, 5,
        0, 113, 152, 21, 252, 22, 0, 0, 0,
    ];
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", GZIP.len()).into_bytes();
    answer.extend_from_slice(GZIP);
    let server = Server::start(Act::Answer(answer)).await;
    assert_eq!(server.api().call::<i64>("getMe", &Nothing {}, LONG).await.unwrap(), 7);
}

#[tokio::test]
async fn what_never_reached_the_server_was_not_sent() {
    let nobody = nobody().await;
    let call = async |api: Api| api.call::<i64>("sendMessage", &Nothing {}, LONG).await.unwrap_err();
    let refused = call(api(&nobody, None)).await;
    assert!(matches!(refused, ApiError::NotSent(_)), "{refused:?}");
    let no_proxy = call(api(&Url::parse("http://telegram.invalid").unwrap(), Some(&nobody))).await;
    assert!(matches!(no_proxy, ApiError::NotSent(_)), "{no_proxy:?}");
    // It speaks no TLS.
    let mut plain = Server::start(Act::Answer(http("400 Bad Request", b""))).await;
    plain.base.set_scheme("https").unwrap();
    let no_tls = call(plain.api()).await;
    assert!(matches!(no_tls, ApiError::NotSent(_)), "{no_tls:?}");
    // A proxy that opens no way to the server.
    let proxy = Server::start(Act::AnswerAndClose(http("502 Bad Gateway", b""))).await;
    let no_way = call(api(&Url::parse("https://telegram.invalid").unwrap(), Some(&proxy.base))).await;
    assert!(matches!(no_way, ApiError::NotSent(_)), "{no_way:?}");
}

#[tokio::test]
async fn what_may_have_been_done_is_unknown() {
    let half = http("200 OK", br#"{"ok":true,"result":5}"#);
    let half = half[..half.len() - 4].to_vec();
    let acts = [
        ("closed before reading", Act::CloseAtOnce),
        ("closed after reading", Act::ReadAndClose),
        ("half an answer", Act::AnswerAndClose(half)),
        ("half a head", Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\nConte".to_vec())),
        ("not HTTP", Act::AnswerAndClose(b"220 mail.example ESMTP\r\n".to_vec())),
        ("a page", Act::Answer(http("200 OK", b"<html>Sign in to this network</html>"))),
        ("JSON of somebody else", Act::Answer(http("404 Not Found", br#"{"error":"not found"}"#))),
        ("a gateway", Act::Answer(http("502 Bad Gateway", b"<html>502</html>"))),
        ("a redirect", Act::Answer(http("302 Found\r\nLocation: /elsewhere", b""))),
        ("the server's own failure", refused(500, "Internal Server Error: restart", &json!({}))),
    ];
    for (name, act) in acts {
        let failure = failure(act).await;
        assert!(matches!(failure, ApiError::Unknown(_)), "{name}: {failure:?}");
    }
    let hung = Server::start(Act::ReadAndHang).await;
    let late = hung.api().call::<i64>("sendMessage", &Nothing {}, SHORT).await.unwrap_err();
    assert!(matches!(&late, ApiError::Unknown(why) if why == "sendMessage: no answer within 0.3 s"), "{late:?}");
}

#[tokio::test]
async fn nothing_is_sent_twice_and_no_redirect_is_followed() {
    for act in [Act::ReadAndClose, Act::Answer(http("302 Found\r\nLocation: /elsewhere", b""))] {
        let server = Server::start(act).await;
        server.api().call::<i64>("sendMessage", &Nothing {}, LONG).await.unwrap_err();
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let mut body = br#"{"ok":true,"result":""#.to_vec();
    body.resize(20 << 20, b'x');
    let failure = failure(Act::AnswerAndClose(http("200 OK", &body))).await;
    assert!(matches!(&failure, ApiError::Unknown(why) if why == "sendMessage: the answer has over 16777216 bytes"), "{failure:?}");
}

#[tokio::test]
async fn a_refusal_says_what_it_is() {
    let many = failure(refused(429, "Too Many Requests: retry after 37", &json!({"retry_after": 37}))).await;
    let refusal = many.refusal().unwrap();
    assert_eq!((many.is_too_many(), refusal.retry_after, refusal.migrate_to), (true, Some(Duration::from_secs(37)), None));
    let odd = failure(refused(429, "Too Many Requests", &json!({"retry_after": "soon"}))).await;
    assert_eq!((odd.is_too_many(), odd.refusal().unwrap().retry_after), (true, None));
    let moved =
        failure(refused(400, "Bad Request: group chat was upgraded to a supergroup chat", &json!({"migrate_to_chat_id": -1001}))).await;
    assert_eq!((moved.refusal().unwrap().migrate_to, moved.is_gone()), (Some(-1001), false));
    assert_eq!(moved.to_string(), "sendMessage: 400 Bad Request: group chat was upgraded to a supergroup chat");
    let large = failure(Act::Answer(http("413 Request Entity Too Large", b"<html>"))).await;
    assert_eq!(large.refusal().unwrap().code, 413);
}

#[test]
fn refusals_are_told_apart() {
    type Is = fn(&ApiError) -> bool;
    let all: [(&str, Is); 9] = [
        ("conflict", ApiError::is_conflict),
        ("unauthorized", ApiError::is_unauthorized),
        ("method", ApiError::is_method_missing),
        ("same", ApiError::is_not_modified),
        ("entities", ApiError::is_unparsable_entities),
        ("gone", ApiError::is_gone),
        ("media", ApiError::is_media_forbidden),
        ("thread", ApiError::is_thread_gone),
        ("message", ApiError::is_message_gone),
    ];
    let cases: [(u16, &str, &[&str]); 26] = [
        (409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running", &["conflict"]),
        (401, "Unauthorized", &["unauthorized"]),
        (404, "Not Found", &["unauthorized", "method"]),
        (404, "Not Found: method not found", &["method"]),
        (400, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same", &["same"]),
        (400, "Bad Request: can't parse entities: unsupported start tag", &["entities"]),
        (400, "Bad Request: can't parse MessageEntity: Field \"offset\" must be of type Number", &["entities"]),
        (400, "Bad Request: ENTITY_BOUNDS_INVALID", &["entities"]),
        (400, "Bad Request: chat not found", &["gone"]),
        (403, "Forbidden: bot was blocked by the user", &["gone"]),
        (403, "Forbidden: bot was kicked from the supergroup chat", &["gone"]),
        (403, "Forbidden: user is deactivated", &["gone"]),
        (403, "Forbidden: the group chat was deleted", &["gone"]),
        (403, "Forbidden: bot is not a member of the channel chat", &["gone"]),
        (400, "Bad Request: not enough rights to send text messages to the chat", &["gone"]),
        (400, "Bad Request: CHAT_WRITE_FORBIDDEN", &["gone"]),
        (400, "Bad Request: CHAT_SEND_PLAIN_FORBIDDEN", &["gone"]),
        (400, "Bad Request: not enough rights to send photos to the chat", &["media"]),
        (400, "Bad Request: CHAT_SEND_DOCS_FORBIDDEN", &["media"]),
        (400, "Bad Request: message thread not found", &["thread"]),
        (400, "Bad Request: TOPIC_CLOSED", &["thread"]),
        (400, "Bad Request: TOPIC_DELETED", &["thread"]),
        (400, "Bad Request: message to edit not found", &["message"]),
        (400, "Bad Request: message can't be edited", &["message"]),
        (400, "Bad Request: message is too long", &[]),
        (429, "Too Many Requests: retry after 5", &[]),
    ];
    for (code, description, expected) in cases {
        let refusal = Refusal { method: "x".to_owned(), code, description: description.to_owned(), retry_after: None, migrate_to: None };
        let failure = ApiError::from(refusal);
        let found: Vec<&str> = all.iter().filter(|(_, is)| is(&failure)).map(|(name, _)| *name).collect();
        assert_eq!(found, expected, "{description}");
    }
    assert!(all.iter().all(|(_, is)| !is(&ApiError::Unknown("chat not found".to_owned()))));
}

#[tokio::test]
async fn a_result_of_another_form_was_sent_all_the_same() {
    let failure = failure(Act::Answer(http("200 OK", br#"{"ok":true,"result":{"message_id":"5"}}"#))).await;
    let ApiError::Undecodable { raw, .. } = &failure else { panic!("{failure:?}") };
    assert_eq!(raw, r#"{"message_id":"5"}"#);
    assert!(!format!("{failure:?} {failure}").contains("message_id"));
}

#[tokio::test]
async fn the_token_is_in_no_failure() {
    let encoded = "123456%3AAAsecret%2Fpart%25of-the_token";
    let in_path = "123456:AAsecret%2Fpart%25of-the_token";
    let echo = format!("Bad Request: /bot{TOKEN}/sendMessage and /bot{in_path}/sendMessage and {encoded}");
    let acts = [
        Act::CloseAtOnce,
        Act::ReadAndClose,
        Act::ReadAndHang,
        Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Act::Answer(http("502 Bad Gateway", echo.as_bytes())),
        Act::Answer(http(&format!("302 Found\r\nLocation: /bot{TOKEN}/x"), b"")),
        Act::Answer(http("200 OK", json!({"ok": true, "result": echo}).to_string().as_bytes())),
        refused(400, &echo, &json!({})),
        refused(500, &echo, &json!({})),
    ];
    let mut texts = vec![format!("{:?}", api(&Url::parse("https://api.telegram.org").unwrap(), None))];
    for act in acts {
        let server = Server::start(act).await;
        let (api, files) = (server.api(), || vec![("file".to_owned(), FileBody::from_bytes("f", "x"))]);
        let called = api.call::<i64>("sendMessage", &Nothing {}, SHORT).await.unwrap_err();
        let uploaded = api.upload::<i64>("sendDocument", &Nothing {}, files(), SHORT).await.unwrap_err();
        let poller = api.poller().unwrap();
        let request = GetUpdates { offset: None, limit: 1, timeout: 0, allowed_updates: ALLOWED_UPDATES };
        let polled = poller.updates(&request, SHORT).await.unwrap_err();
        for failure in [called, uploaded, polled] {
            texts.extend([format!("{failure}"), format!("{failure:?}"), format!("{:#?}", failure.refusal())]);
        }
        if let Err(failure) = fetch(&api, "a/b", 1000, SHORT).await {
            texts.extend([format!("{failure}"), format!("{failure:?}")]);
        }
    }
    let refused = api(&nobody().await, None).call::<i64>("getMe", &Nothing {}, LONG).await.unwrap_err();
    texts.extend([format!("{refused}"), format!("{refused:?}")]);
    let file: File = serde_json::from_value(json!({"file_path": format!("/var/lib/telegram-bot-api/{TOKEN}/documents/x")})).unwrap();
    texts.extend([format!("{file:?}"), format!("{:?}", file.place())]);
    assert!(texts.len() > 60);
    for text in texts {
        for form in [TOKEN, in_path, encoded, "AAsecret", "the_token"] {
            assert!(!text.contains(form), "{form} in {text}");
        }
    }
}

#[tokio::test]
async fn a_proxy_is_used_for_everything() {
    let proxy = Server::start(Act::Answer(http("200 OK", br#"{"ok":true,"result":1}"#))).await;
    let api = api(&Url::parse("http://telegram.invalid").unwrap(), Some(&proxy.base));
    api.call::<i64>("getMe", &Nothing {}, LONG).await.unwrap();
    assert!(proxy.asked()[0].starts_with(b"POST http://telegram.invalid/bot"));
}

#[test]
fn addresses_that_lead_nowhere_are_refused() {
    let setup = |base: &str, proxy: Option<&str>| {
        let proxy = proxy.map(|proxy| Url::parse(proxy).unwrap());
        Api::new(&Url::parse(base).unwrap(), Secret::new(TOKEN, "test").ok().unwrap(), proxy.as_ref()).unwrap_err().to_string()
    };
    assert_eq!(
        setup("ftp://example.org/x", None),
        "api_base_url ftp://example.org is no address of a server; write https://HOST or http://HOST:PORT"
    );
    assert_eq!(setup("mailto:a@b", None), "api_base_url mailto:… is no address of a server; write https://HOST or http://HOST:PORT");
    let proxy = setup("https://api.telegram.org", Some("socks5://user:password@localhost:9050"));
    assert_eq!(proxy, "proxy socks5://localhost cannot be used; write http://HOST:PORT or https://HOST:PORT");
}

#[tokio::test]
async fn a_poll_that_hangs_holds_up_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (polling, has_polled) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut polling = Some(polling);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = request(&mut stream).await.unwrap();
            if String::from_utf8_lossy(&asked).contains("/getUpdates ") {
                polling.take().unwrap().send(stream).unwrap();
            } else {
                stream.write_all(&http("200 OK", br#"{"ok":true,"result":1}"#)).await.unwrap();
            }
        }
    });
    let api = api(&base, None);
    let poller = api.poller().unwrap();
    let poll = tokio::spawn(async move {
        let request = GetUpdates { offset: Some(7), limit: 100, timeout: 50, allowed_updates: ALLOWED_UPDATES };
        poller.updates(&request, LONG).await
    });
    let mut poll_stream = has_polled.await.unwrap();
    assert_eq!(api.call::<i64>("sendMessage", &Nothing {}, LONG).await.unwrap(), 1);
    // What cannot be decoded is kept as it is.
    let updates = format!(r#"{{"ok":true,"result":[{{"update_id":1}},"\ud800",{}1{}]}}"#, "[".repeat(500), "]".repeat(500));
    poll_stream.write_all(&http("200 OK", updates.as_bytes())).await.unwrap();
    let updates = poll.await.unwrap().unwrap();
    assert_eq!(updates.len(), 3);
    assert_eq!(updates[1].get(), r#""\ud800""#);
}

#[tokio::test]
async fn files_are_uploaded_as_they_are() {
    let server = Server::start(Act::Answer(http("200 OK", br#"{"ok":true,"result":1}"#))).await;
    let mut file = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    file.write_all(&content).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let files = vec![
        (
            "a".to_owned(),
            FileBody::from_file("größe \"1\"\r\n.bin", file, content.len() as u64).with_media_type(Some("application/x-test")),
        ),
        ("b".to_owned(), FileBody::from_bytes("b.txt", "short").with_media_type(Some("no media type"))),
    ];
    let fields = json!({"chat_id": -5, "caption": "hi {\"x\"}", "media": [{"type": "document"}], "thread": null});
    server.api().upload::<i64>("sendMediaGroup", &fields, files, LONG).await.unwrap();
    let asked = server.asked().remove(0);
    let head = String::from_utf8_lossy(&asked[..2000]);
    assert!(head.contains("/sendMediaGroup HTTP/1.1") && !head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert!(head.contains("name=\"chat_id\"\r\n\r\n-5\r\n") && head.contains("name=\"caption\"\r\n\r\nhi {\"x\"}\r\n"), "{head}");
    assert!(head.contains("name=\"media\"\r\n\r\n[{\"type\":\"document\"}]\r\n") && !head.contains("\"thread\""), "{head}");
    assert!(head.contains("name=\"a\"; filename=\"größe _1___.bin\"\r\nContent-Type: application/x-test\r\n\r\n"), "{head}");
    assert!(asked.windows(content.len()).any(|window| window == content));
    let tail = String::from_utf8_lossy(&asked[asked.len() - 300..]);
    assert!(tail.contains("name=\"b\"; filename=\"b.txt\"\r\n\r\nshort\r\n"), "{tail}");
}

#[tokio::test]
async fn a_file_that_ends_too_early_was_not_sent() {
    let server = Server::start(Act::Answer(http("200 OK", br#"{"ok":true,"result":1}"#))).await;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"short").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let files = vec![("document".to_owned(), FileBody::from_file("x", file, 1 << 20))];
    let failure = server.api().upload::<i64>("sendDocument", &Nothing {}, files, LONG).await.unwrap_err();
    assert!(matches!(failure, ApiError::Unreadable(_)), "{failure:?}");
    assert!(server.asked().is_empty());
}

async fn fetch(api: &Api, path: &str, limit: u64, timeout: Duration) -> Result<Vec<u8>, DownloadError> {
    let mut download = api.download(path, limit, timeout).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_file_is_fetched_whole_or_not_at_all() {
    let server = Server::start(Act::Answer(http("200 OK", b"content"))).await;
    assert_eq!(fetch(&server.api(), "documents/../a b?#%.txt", 7, LONG).await.unwrap(), b"content");
    let asked = String::from_utf8(server.asked().remove(0)).unwrap();
    assert!(asked.starts_with("GET /file/bot123456:AAsecret%2Fpart%25of-the_token/documents/a%20b%3F%23%25.txt HTTP"), "{asked}");
    let too_large = fetch(&server.api(), "x", 6, LONG).await.unwrap_err();
    assert_eq!(too_large.to_string(), "the file has over 6 bytes");
    // Its length is not said before.
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ncontent\r\n0\r\n\r\n".to_vec();
    let server = Server::start(Act::Answer(chunked.clone())).await;
    assert_eq!(fetch(&server.api(), "x", 7, LONG).await.unwrap(), b"content");
    assert!(matches!(fetch(&server.api(), "x", 6, LONG).await, Err(DownloadError::TooLarge { limit_bytes: 6 })));
    let server = Server::start(Act::AnswerAndClose(chunked[..chunked.len() - 6].to_vec())).await;
    assert!(matches!(fetch(&server.api(), "x", 7, LONG).await, Err(DownloadError::Failed(_))));
    let server = Server::start(Act::Answer(http("404 Not Found", b"{}"))).await;
    assert!(matches!(fetch(&server.api(), "x", 7, LONG).await, Err(DownloadError::Refused(404))));
    let server = Server::start(Act::ReadAndHang).await;
    assert!(matches!(server.api().download("x", 7, SHORT).await, Err(DownloadError::Failed(_))));
}

#[test]
fn a_local_servers_file_is_on_the_disk() {
    let place = |path: Value| serde_json::from_value::<File>(json!({"file_id": "x", "file_path": path})).unwrap().place();
    assert!(place(json!("/data/1:x/a.txt")) == Some(FilePlace::Disk("/data/1:x/a.txt".into())));
    assert!(place(json!("photos/a.jpg")) == Some(FilePlace::Server("photos/a.jpg".to_owned())));
    assert!(place(Value::Null).is_none());
}
