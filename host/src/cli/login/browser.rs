//! The way with a browser: it logs in at the server, and is sent back to a port of this machine with a code.
//!
//! What comes to that port is from anybody here: only the code that comes with this login's own state counts, and it is worth
//! nothing without the verifier, which never leaves this process until then.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;
use uuid::Uuid;

use crate::limits;
use crate::secrets::codex::oauth::{AuthServer, Tokens};

/// Logs in; `tell` says where.
pub(super) async fn log_in(server: &AuthServer, ports: &[u16], tell: &dyn Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<Tokens> {
    let listener = listen(ports).await?;
    let redirect = format!("http://localhost:{}/auth/callback", listener.local_addr().context("failed to find the port")?.port());
    let (verifier, state) = (random(), random());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let address = server.authorize(&redirect, &challenge, &state);
    tell(&format!(
        "Open this address in a browser on this machine and log in (on another one, use `--device` instead):\n\n    {address}\n\n"
    ))?;
    let code = code(&listener, &state).await?;
    server.exchange(&code, &redirect, &verifier).await.context("failed to claim the login")
}

async fn listen(ports: &[u16]) -> anyhow::Result<TcpListener> {
    for port in ports {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", *port)).await {
            return Ok(listener);
        }
    }
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    bail!("the ports {} are taken, and the browser can come back to no other; end what uses them, or use `--device`", ports.join(" and "))
}

/// 64 characters that nobody can guess.
fn random() -> String {
    [Uuid::new_v4(), Uuid::new_v4()].map(|uuid| uuid.simple().to_string()).concat()
}

/// Waits for the browser that comes back.
async fn code(listener: &TcpListener, state: &str) -> anyhow::Result<String> {
    // Browsers connect ahead, and say something on one connection only.
    let mut visitors = JoinSet::new();
    loop {
        let (query, mut stream) = tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted.context("failed to wait for the browser")?;
                visitors.spawn(async move { within(asked(&mut stream)).await.map(|query| (query, stream)) });
                continue;
            }
            Some(visited) = visitors.join_next() => match visited {
                Ok(Some(visitor)) => visitor,
                _ => continue,
            },
        };
        let field = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let is_ours = field("state") == Some(state);
        let (page, ended) = match (is_ours, field("code"), field("error")) {
            (true, Some(code), _) => ("You are logged in. This page can be closed.", Some(Ok(code.to_owned()))),
            (true, None, Some(_)) => ("The login was refused. This page can be closed.", Some(Err("the server refused the login"))),
            _ => ("This is not the login that is waited for.", None),
        };
        let status = if matches!(ended, Some(Ok(_))) { "200 OK" } else { "400 Bad Request" };
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n", page.len());
        let answer = format!("{head}cache-control: no-store\r\nconnection: close\r\n\r\n{page}");
        within(async { stream.write_all(answer.as_bytes()).await.ok() }).await;
        match ended {
            Some(Ok(code)) => return Ok(code),
            Some(Err(why)) => bail!(why),
            None => {}
        }
    }
}

async fn within<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(limits::LOGIN_VISIT, work).await.ok().flatten()
}

/// The query of a request for the page that the browser is sent to.
async fn asked(stream: &mut TcpStream) -> Option<Vec<(String, String)>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > limits::LOGIN_REQUEST_BYTES || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    let url = Url::parse("http://localhost").ok()?.join(target).ok()?;
    (url.path() == "/auth/callback").then(|| url.query_pairs().into_owned().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::secrets::codex::Login;
    use crate::secrets::fake_auth::FakeAuth;

    async fn visit(address: &str) -> u16 {
        reqwest::get(address).await.unwrap().status().as_u16()
    }

    /// A login with any port, and what the person does with the address.
    async fn log_in_with(server: &FakeAuth, person: impl AsyncFn(String)) -> anyhow::Result<Tokens> {
        let (told, tell) = tokio::sync::oneshot::channel();
        let told = Mutex::new(Some(told));
        let tells = |text: &str| {
            let address = text.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned();
            told.lock().unwrap().take().unwrap().send(address).unwrap();
            Ok(())
        };
        let auth = AuthServer::at(&server.address()).unwrap();
        let (tokens, ()) = tokio::join!(log_in(&auth, &[0], &tells), async { person(tell.await.unwrap()).await });
        tokens
    }

    fn field(address: &str, name: &str) -> String {
        Url::parse(address).unwrap().query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    }

    #[tokio::test]
    async fn a_browser_that_comes_back_brings_the_login() {
        let server = FakeAuth::start("");
        let tokens = log_in_with(&server, async |address| assert_eq!(visit(&address).await, 200)).await.unwrap();
        let login = Login::new(&tokens, crate::clock::now()).ok().unwrap();
        assert_eq!((login.account().as_deref(), login.refresh()), (Some("acc-1"), Some("refresh-token-1")));
    }

    #[tokio::test]
    async fn what_others_bring_to_the_port_counts_nothing() {
        let server = FakeAuth::start("");
        let tokens = log_in_with(&server, async |address| {
            let back = field(&address, "redirect_uri");
            let state = field(&address, "state");
            for odd in ["", "?code=stolen", "?code=stolen&state=", "?error=access_denied", "?code=stolen&state=%00"] {
                assert_eq!(visit(&format!("{back}{odd}")).await, 400, "{odd}");
            }
            let port = Url::parse(&back).unwrap().port().unwrap();
            for hostile in
                [format!("POST /auth/callback?code=x&state={state} HTTP/1.1\r\n\r\n"), "x".repeat(100_000), "\0\u{1}\r\n\r\n".into()]
            {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = stream.write_all(hostile.as_bytes()).await;
            }
            assert_eq!(visit(&address).await, 200);
        });
        assert!(tokens.await.is_ok());
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        let server = FakeAuth::start("");
        let refused = log_in_with(&server, async |address| {
            let (back, state) = (field(&address, "redirect_uri"), field(&address, "state"));
            assert_eq!(visit(&format!("{back}?error=access_denied&state={state}")).await, 400);
        });
        assert_eq!(refused.await.err().unwrap().to_string(), "the server refused the login");
    }

    #[tokio::test]
    async fn taken_ports_are_said() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = listen(&[port]).await.err().unwrap().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--device"), "{error}");
        assert!(listen(&[port, 0]).await.is_ok());
    }
}
