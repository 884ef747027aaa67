//! What a proxy is told, and what its refusals mean.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const USER: &str = "me";
const PASSWORD: &str = "a-password-0123456789";
/// The first byte of what is encrypted: a handshake.
const HANDSHAKE: u8 = 22;

fn with_password(mut address: Url) -> Url {
    address.set_username(USER).unwrap();
    address.set_password(Some(PASSWORD)).unwrap();
    address
}

fn authorization() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

/// Calls through a proxy that answers the request for a way with this: what came of it, the request, and what came after it.
async fn call_through(answer: &'static [u8]) -> (ApiError, String, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = with_password(Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap());
    let played = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = request(&mut stream).await.unwrap();
        stream.write_all(answer).await.unwrap();
        let mut after = Vec::new();
        if answer.starts_with(b"HTTP/1.1 200") {
            // The first record; nothing follows it before an answer.
            while after.len() < 5 || after.len() < 5 + usize::from(u16::from_be_bytes([after[3], after[4]])) {
                assert!(stream.read_buf(&mut after).await.unwrap() > 0, "it ended");
            }
        } else {
            stream.shutdown().await.unwrap();
            // It may end the connection as it likes.
            let _ = stream.read_to_end(&mut after).await;
        }
        (asked, after)
    });
    let api = api(&Url::parse("https://telegram.invalid/base").unwrap(), Some(&proxy));
    let failed = api.call::<i64>("sendMessage", &Nothing {}, LONG).await.unwrap_err();
    let (asked, after) = played.await.unwrap();
    (failed, String::from_utf8(asked).unwrap(), after)
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_way_by_name_and_sees_nothing_of_what_goes_through_it() {
    let (failed, asked, after) = call_through(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    assert!(matches!(failed, ApiError::NotSent(_)), "{failed:?}");
    assert!(asked.starts_with("CONNECT telegram.invalid:443 HTTP/1.1\r\nHost: telegram.invalid:443\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nproxy-authorization: {}\r\n", authorization())), "{asked}");
    assert_eq!(after[0], HANDSHAKE);
    let after = String::from_utf8_lossy(&after);
    assert!(after.contains("telegram.invalid"), "the server is asked for by name");
    for private in ["AAsecret", "the_token", "/bot", "/base", "sendMessage"] {
        assert!(!asked.contains(private) && !after.contains(private), "{private} in {asked} {after}");
    }
    assert!(!after.contains("Basic") && !after.contains(PASSWORD), "{after}");
}

#[tokio::test]
async fn a_proxy_that_opens_no_way_was_sent_nothing_and_is_named() {
    for answer in [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n".as_slice(),
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        b"220 mail.example ESMTP\r\n\r\n",
        b"",
    ] {
        let (failed, _, after) = call_through(answer).await;
        let said = failed.to_string();
        assert!(matches!(failed, ApiError::NotSent(_)) && after.is_empty(), "{failed:?}");
        assert!(said.contains("the proxy (channels.telegram.proxy, else HTTPS_PROXY) opens no way to the server"), "{said}");
        assert!(!answer.starts_with(b"HTTP/1.1 407") || said.contains("authorization required"), "{said}");
        assert!(!said.contains(PASSWORD) && !said.contains(&authorization()), "{said}");
    }
}

#[tokio::test]
async fn a_proxy_of_what_is_not_encrypted_says_when_it_passed_nothing_on() {
    let call = async |status: &str| {
        let proxy = Server::start(Act::Answer(http(status, b"<html>"))).await;
        let api = api(&Url::parse("http://telegram.invalid").unwrap(), Some(&with_password(proxy.base.clone())));
        let failed = api.call::<i64>("sendMessage", &Nothing {}, LONG).await.unwrap_err();
        let asked = String::from_utf8(proxy.asked().remove(0)).unwrap();
        assert!(asked.contains(&format!("\r\nproxy-authorization: {}\r\n", authorization())), "{asked}");
        assert!(!failed.to_string().contains(PASSWORD), "{failed:?}");
        failed
    };
    let refused = call("407 Proxy Authentication Required").await;
    assert!(matches!(&refused, ApiError::NotSent(why) if why.contains("HTTPS_PROXY")), "{refused:?}");
    // It may have passed this one on.
    let broken = call("502 Bad Gateway").await;
    assert!(matches!(broken, ApiError::Unknown(_)), "{broken:?}");
}
