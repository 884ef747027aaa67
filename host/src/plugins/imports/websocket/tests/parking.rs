//! What becomes of connections between calls.

use tokio::sync::mpsc;

use super::*;
use crate::config::SecretSource;

/// Calls of one plugin, of one origin.
struct Calls {
    server: Server,
    parked: Parked,
    /// What a test has the server send, to each of its connections.
    say: tokio::sync::broadcast::Sender<Message>,
    /// The server hears of each connection that ends.
    ended: mpsc::UnboundedReceiver<()>,
}

impl Calls {
    async fn new() -> Self {
        let (say, _) = tokio::sync::broadcast::channel(64);
        let (gone, ended) = mpsc::unbounded_channel();
        let said = say.clone();
        let server = Server::start(async move |mut peer: Peer| {
            let mut said = said.subscribe();
            loop {
                tokio::select! {
                    Ok(message) = said.recv() => drop(peer.send(message).await),
                    heard = peer.next() => match heard {
                        Some(Ok(Message::Text(text))) => drop(peer.send(Message::Text(text)).await),
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => break,
                    },
                }
            }
            let _ = gone.send(());
        })
        .await;
        Self { server, parked: Parked::new(limits::PARKED_TIME), say, ended }
    }

    fn call_at(&self, place: Place) -> Call {
        Call::at(HttpClient::new(), vec![self.server.origin()], self.parked.clone(), place)
    }

    async fn open(&self, call: &mut Call) -> Resource<Connection> {
        let open = call.connect(to(self.server.url("/"))).await.ok().unwrap();
        // The server has begun to listen to the test.
        call.send(&open, "hello").await.unwrap();
        assert_eq!(call.text(&open).await, "hello");
        open
    }

    async fn park(&self, key: &str) {
        let mut call = self.call_at(place());
        let open = self.open(&mut call).await;
        call.view().park(open, key.to_owned(), format!("note of {key}").into_bytes()).await.unwrap();
    }

    async fn resume(&self, place: Place, key: &str) -> Option<(Call, Resource<Connection>, Vec<u8>)> {
        let mut call = self.call_at(place);
        let found = call.view().resume(key.to_owned()).await.unwrap();
        found.map(|(connection, note)| (call, connection, note))
    }

    async fn until_parked(&self, count: usize) {
        while self.parked.count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_parked_connection_is_found_again_once_with_its_note() {
    let mut calls = Calls::new().await;
    calls.park("k").await;
    calls.say.send(Message::text(format!("meanwhile {SECRET}"))).unwrap();
    assert!(calls.resume(place(), "other").await.is_none());
    let (mut call, open, note) = calls.resume(place(), "k").await.unwrap();
    assert_eq!(note, b"note of k");
    assert_eq!(call.text(&open).await, "meanwhile [redacted]");
    call.send(&open, "again").await.unwrap();
    assert_eq!(call.text(&open).await, "again");
    assert!(calls.resume(place(), "k").await.is_none(), "one at a time has it");
    drop(call);
    calls.ended.recv().await.unwrap();
    assert_eq!(calls.parked.count(), 0);
}

#[tokio::test]
async fn nobody_else_finds_it() {
    let mut calls = Calls::new().await;
    calls.park("k").await;
    let other_plugin = Arc::new(Grant { plugin: "tools-other".to_owned(), ..Grant::default() });
    for stranger in [
        Place { session: SessionId(2), ..place() },
        Place { model: Some("main".to_owned()), ..place() },
        Place { granted: other_plugin.clone(), grant: other_plugin, ..place() },
    ] {
        assert!(calls.resume(stranger, "k").await.is_none());
    }
    assert!(calls.resume(place(), "k").await.is_some(), "and they took nothing from it");

    // Whoever comes with other bytes or other grants is not the one who parked it, and nobody is any more.
    let secret = crate::plugins::grants::SlotSecret { source: SecretSource::Env("KEY".to_owned()), origins: Vec::new() };
    let more = Arc::new(Grant { secrets: [("api-key".to_owned(), secret)].into(), ..(*place().grant).clone() });
    for changed in [Place { digest: "e".to_owned(), ..place() }, Place { grant: more, ..place() }] {
        calls.park("k").await;
        calls.ended.recv().await.unwrap();
        assert!(calls.resume(changed, "k").await.is_none());
        assert_eq!(calls.parked.count(), 0);
    }
    calls.ended.recv().await.unwrap();
}

#[tokio::test]
async fn what_ends_or_gets_too_much_is_forgotten() {
    let mut calls = Calls::new().await;
    calls.park("k").await;
    calls.say.send(Message::Ping(vec![1].into())).unwrap();
    calls.say.send(Message::Close(None)).unwrap();
    calls.until_parked(0).await;
    assert!(calls.resume(place(), "k").await.is_none());
    calls.ended.recv().await.unwrap();

    for flood in [Message::text("x".repeat(limits::PARKED_BYTES)), Message::Ping(vec![b'x'; 125].into())] {
        calls.park("k").await;
        while calls.parked.count() == 1 {
            calls.say.send(flood.clone()).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        calls.ended.recv().await.unwrap();
    }

    // What a call may leave unread and what not.
    for (unread, stays) in [(limits::PARKED_BYTES / 2, true), (limits::PARKED_BYTES, false)] {
        let mut call = calls.call_at(place());
        let open = calls.open(&mut call).await;
        calls.say.send(Message::text("x".repeat(unread))).unwrap();
        while call.table.get(&socket(&open)).unwrap().held_bytes() < unread {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        call.view().park(open, "k".to_owned(), Vec::new()).await.unwrap();
        assert_eq!(calls.resume(place(), "k").await.is_some(), stays);
    }
}

#[tokio::test]
async fn no_flood_of_keys_keeps_more_than_a_few() {
    let mut calls = Calls::new().await;
    for n in 0..limits::PARKED_HERE + 3 {
        calls.park(&format!("k{n}")).await;
    }
    assert_eq!(calls.parked.count(), limits::PARKED_HERE);
    for _ in 0..3 {
        calls.ended.recv().await.unwrap();
    }
    assert!(calls.resume(place(), "k2").await.is_none(), "the oldest went");
    assert!(calls.resume(place(), "k3").await.is_some());
    calls.park("k4").await;
    assert_eq!(calls.parked.count(), limits::PARKED_HERE - 1, "one for each key");
    for (key, note) in [("k".repeat(limits::PARKED_KEY_BYTES + 1), 0), ("k".to_owned(), limits::PARKED_NOTE_BYTES + 1)] {
        let mut call = calls.call_at(place());
        let open = calls.open(&mut call).await;
        call.view().park(open, key.clone(), vec![0; note]).await.unwrap();
        assert!(calls.resume(place(), &key).await.is_none());
    }
    for session in 0..40 {
        let mut call = calls.call_at(Place { session: SessionId(100 + session), ..place() });
        let open = calls.open(&mut call).await;
        call.view().park(open, "k".to_owned(), Vec::new()).await.unwrap();
    }
    assert_eq!(calls.parked.count(), limits::PARKED_OF_PLUGIN);
}

#[tokio::test]
async fn what_is_not_served_any_more_is_closed() {
    let mut calls = Calls::new().await;
    calls.park("k").await;
    calls.parked.keep_only(|place| place.digest == "d");
    assert_eq!(calls.parked.count(), 1);
    calls.parked.keep_only(|place| place.digest != "d");
    assert_eq!(calls.parked.count(), 0);
    calls.ended.recv().await.unwrap();
}

#[tokio::test]
async fn nothing_stays_parked_for_ever() {
    let mut calls = Calls { parked: Parked::new(Duration::from_millis(20)), ..Calls::new().await };
    calls.park("k").await;
    calls.until_parked(0).await;
    calls.ended.recv().await.unwrap();
}
