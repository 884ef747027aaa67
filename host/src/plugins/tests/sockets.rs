//! Connections that a guest opens and parks.

use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::super::imports::websocket::tests::server::{Peer, Server};
use super::*;

static DIALER: LazyLock<Vec<u8>> = LazyLock::new(|| fs::read(build("dialer")).unwrap());

/// A host with the component, granted the one origin that it asks for.
struct Dialing {
    plugins: Plugins,
    current: Current,
    server: Server,
    ended: std::sync::mpsc::Receiver<()>,
    _file: tempfile::NamedTempFile,
}

impl Dialing {
    /// The server says back what it hears, or more than that.
    fn new(endless: bool) -> Self {
        let (gone, ended) = std::sync::mpsc::channel();
        let server = TOKIO.block_on(Server::start(async move |mut peer: Peer| {
            while let Some(Ok(message)) = peer.next().await {
                let Message::Text(text) = message else { continue };
                while peer.send(Message::Text(text.clone())).await.is_ok() && endless {}
            }
            let _ = gone.send(());
        }));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), patched::patched(&DIALER, "127.0.0.1:44444", &format!("127.0.0.1:{}", server.port))).unwrap();
        let entry = |name: &str| {
            let http = Some(vec![server.origin_text()]);
            let entry = config::Plugin { path: Some(file.path().to_owned()), trust_path: true, http, ..config::Plugin::default() };
            (name.to_owned(), entry)
        };
        let plugins = [entry("dialer"), entry("other")].into();
        let current = Current::from(Config { plugins, ..Config::embedded(false) });
        let setup = Setup { workdir: WORKDIR.path().to_owned(), config: current.clone(), bundled: false };
        let plugins = TOKIO.block_on(async {
            let plugins = Plugins::start(&setup).unwrap();
            plugins.wait_ready().await;
            plugins
        });
        Self { plugins, current, server, ended, _file: file }
    }

    fn dial(&self, session: &Session, arguments: Value) -> Result<Value, CallError> {
        session.call(&self.plugins, "dial", &arguments).map(|output| serde_json::from_str(text(&output)).unwrap())
    }

    fn one_ended(&self) {
        self.ended.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn a_guest_reaches_its_own_origin_and_finds_only_what_its_session_parked() {
    let dialing = Dialing::new(false);
    let (one, two) = (Session::new(), Session { session: SessionId(2), ..Session::new() });
    for (url, kind) in [("ws://127.0.0.1:1/", ErrorKind::Denied), ("ws://localhost/", ErrorKind::Denied), ("http://x/", ErrorKind::Invalid)]
    {
        assert_eq!(dialing.dial(&one, json!({"url": url, "how": "echo"})).unwrap_err().kind, kind, "{url}");
    }
    let again = |session| dialing.dial(session, json!({"key": "k", "how": "echo", "text": "again"})).unwrap();
    let first = json!({"url": dialing.server.url("/"), "key": "k", "how": "echo", "text": "first"});
    assert_eq!(dialing.dial(&one, first.clone()).unwrap(), json!(["first", ""]));
    assert_eq!(again(&two), Value::Null, "another session");
    assert_eq!(again(&one), json!(["again", "first"]));
    assert_eq!(again(&one), json!(["again", "again"]));
    assert_eq!(dialing.server.asked().len(), 1, "it was one connection");

    // What was taken back is closed, and so is everything when the configuration changes.
    let mut config = (*dialing.current.get()).clone();
    config.plugins.get_mut("dialer").unwrap().http = Some(Vec::new());
    let _ = dialing.current.replace(config);
    dialing.plugins.reconfigured();
    dialing.one_ended();
    assert_eq!(again(&one), Value::Null);
    assert_eq!(dialing.dial(&one, first).unwrap_err().kind, ErrorKind::Denied);
}

#[test]
fn a_flood_of_connections_keeps_a_few_and_ends_with_its_call() {
    let dialing = Dialing::new(false);
    let flood = json!({"url": dialing.server.url("/"), "key": "k", "how": "flood"});
    // It holds one itself.
    assert_eq!(dialing.dial(&Session::new(), flood).unwrap(), json!(crate::limits::SOCKETS - 1));
    for _ in 0..100 - crate::limits::PARKED_HERE + crate::limits::SOCKETS {
        dialing.one_ended();
    }
    let parked = json!({"key": "k99", "how": "echo", "text": "still there"});
    assert_eq!(dialing.dial(&Session::new(), parked).unwrap()[0], "still there");
}

#[test]
fn frames_without_end_fill_no_memory_but_the_guests() {
    let dialing = Dialing::new(true);
    let session = Session::new();
    let call = |how: &str| dialing.dial(&session, json!({"url": dialing.server.url("/"), "how": how, "text": "x".repeat(1 << 16)}));
    // One frame is taken; what else came is too much to be parked.
    call("echo").unwrap();
    dialing.one_ended();
    let full = call("hoard").unwrap_err();
    assert_eq!(full.kind, ErrorKind::Failed, "{full:?}");
    dialing.one_ended();
}

#[test]
fn a_guest_that_waits_for_a_frame_is_stopped_at_once() {
    let dialing = Dialing::new(false);
    let (stopper, signal) = stop();
    let asked = || !dialing.server.asked().is_empty() && stopper.is_waiting();
    let session = Session::new();
    let arguments = json!({"url": dialing.server.url("/"), "how": "hold"});
    std::thread::scope(|scope| {
        let call = scope.spawn(|| session.call_within(&dialing.plugins, "dial", &arguments, Duration::from_secs(60), signal));
        let begin = Instant::now();
        while !asked() && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
        }
        stopper.stop(Duration::from_secs(30));
        assert_eq!(call.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    });
    dialing.one_ended();
}
