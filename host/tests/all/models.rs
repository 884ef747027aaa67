//! A model over the network, with everything that goes wrong there.

use std::time::Duration;

use serde_json::json;
use stellaclaw::channels::terminal::protocol::{Settled, ToClient};

use crate::support::client::Client;
use crate::support::fake_openai::{API_KEY, Answer, Fault, Script};
use crate::support::scene::Scene;

#[tokio::test]
async fn two_rounds_of_parallel_tools() {
    let read = |path: &str| ("file_read", json!({"file_path": path}));
    let write = |path: &str, content: &str| ("file_write", json!({"file_path": path, "content": content}));
    let scene = Scene::new(Script::default().on(
        "go",
        [
            Answer::calls([write("a.txt", "alpha"), write("b.txt", "beta"), read("welcome.md"), ("ls", json!({}))]),
            Answer::calls([read("a.txt"), read("b.txt"), ("no_such_tool", json!({})), ("grep", json!({"pattern": 1}))]),
            Answer::text("Both were read."),
        ],
    ))
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let replies = client.talk("1", "go").await.unwrap();
    assert_eq!(replies.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["Both were read."]);
    let asks = scene.fake.asks();
    assert_eq!(asks.len(), 3);
    let answers: Vec<_> = asks[2].body["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "tool").collect();
    assert_eq!(answers.len(), 8);
    let content = |at: usize| answers[at]["content"].to_string();
    assert!(content(4).contains("alpha") && content(5).contains("beta"), "{answers:?}");
    assert!(content(6).contains("no_such_tool"), "{}", content(6));
    assert!(content(7).contains("pattern"), "{}", content(7));
    // The prompt cache works on equal beginnings.
    let system = |at: usize| asks[at].body["messages"][0].clone();
    assert_eq!((system(0), &asks[0].body["tools"]), (system(2), &asks[2].body["tools"]));
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
    host.stop().await;
}

#[tokio::test]
async fn whatever_passes_is_tried_again_and_the_answer_comes_once() {
    let faults = [
        ("too many", Fault::too_many("1")),
        ("unavailable", Fault::status(503)),
        ("cut", Fault::Cut),
        ("error chunk", Fault::ErrorChunk),
        ("malformed", Fault::Malformed),
        ("error with 200", Fault::OkWithError),
        ("unfinished", Fault::Unfinished),
        ("page", Fault::Page),
    ];
    let script = faults
        .iter()
        .fold(Script::default(), |script, (name, fault)| script.on(name, [Answer::text(&format!("After {name}.")).after([fault.clone()])]));
    let scene = Scene::new(script).await;
    let host = scene.work.host().await;
    let mut clients = Vec::new();
    for (name, _) in &faults {
        let mut client = Client::attach(&scene.work, name, &scene.log).await.unwrap();
        client.say(name, &format!("do {name}")).await.unwrap();
        clients.push(client);
    }
    for ((name, _), client) in faults.iter().zip(&mut clients) {
        let (replies, state) = client.settle().await.unwrap();
        let texts: Vec<_> = replies.iter().map(|reply| reply.text.as_str()).collect();
        assert_eq!((texts, state), (vec![format!("After {name}.").as_str()], Settled::Idle), "{}", scene.work.log());
        let faults: Vec<_> = scene.fake.asks_of(name).iter().map(|ask| ask.fault.is_some()).collect();
        assert_eq!(faults, [true, false], "{name}");
    }
    let waited = scene.fake.asks_of("too many");
    assert!(waited[1].at - waited[0].at >= Duration::from_secs(1), "Retry-After was not kept: {waited:?}");
    host.stop().await;
}

#[tokio::test]
async fn an_answer_is_seen_while_it_is_written() {
    let text = "Word after word after word, until the end.";
    let scene =
        Scene::new(Script::default().on("go", [Answer::text(text).slowly(Duration::from_millis(20)).held_after_text("rest")])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.send("1", "go").await.unwrap();
    let (mut seen, mut pieces) = (String::new(), 0);
    let whole = |line: &ToClient| {
        if let ToClient::Text { append } = line {
            seen.push_str(append);
            pieces += 1;
        }
        (seen == text).then_some(())
    };
    client.until(whole).await.unwrap();
    assert!(pieces > 1, "it came at once");
    scene.fake.release("rest");
    assert_eq!(client.settle().await.unwrap().0[0].text, text);
    host.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_given_up_is_taken_back() {
    let scene = Scene::new(Script::default().on("go", [Answer::text("The whole answer.").after([Fault::Cut])])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.send("1", "go").await.unwrap();
    client.ask_to_settle().await.unwrap();
    let mut shown = String::new();
    let mut discarded = 0;
    client
        .until(|line| {
            match line {
                ToClient::Text { append } => shown.push_str(append),
                ToClient::Discard => {
                    discarded += 1;
                    shown.clear();
                }
                _ => {}
            }
            matches!(line, ToClient::Settled { .. }).then_some(())
        })
        .await
        .unwrap();
    assert_eq!((shown.as_str(), discarded), ("The whole answer.", 1));
    host.stop().await;
}

#[tokio::test]
async fn a_model_that_stays_away_parks_the_turn_and_continue_goes_on() {
    let faults: Vec<_> = (0..2).map(|_| Fault::status(503)).collect();
    let scene = Scene::with(Script::default().on("go", [Answer::text("At last.").after(faults)]), "[session]\nask_tries = 2\n").await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.send("1", "go").await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.len(), state), (1, Settled::Parked), "{replies:?}");
    assert!(replies[0].text.contains("did not answer after 2 attempts") && replies[0].text.contains("/continue"), "{replies:?}");
    let replies = client.talk("2", "/continue").await.unwrap();
    assert_eq!(replies.last().unwrap().text, "At last.");
    host.stop().await;
}

#[tokio::test]
async fn a_message_to_a_parked_turn_sets_it_going_unless_it_waits_for_money() {
    let scene = Scene::with(
        Script::default()
            .on("again", [Answer::text("The second message helped.")])
            .on("more", [Answer::text("never")])
            .on("fail", [Answer::text("").after([Fault::status(503)])])
            .on("spend", [Answer::calls([("ls", json!({}))]), Answer::text("After the budget.")]),
        "[session]\nask_tries = 1\n[limits]\nturn_tokens = 100\n",
    )
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "failed", &scene.log).await.unwrap();
    client.send("1", "fail").await.unwrap();
    assert_eq!(client.settle().await.unwrap().1, Settled::Parked);
    let replies = client.talk("2", "again").await.unwrap();
    assert_eq!(replies.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["The second message helped."]);

    let mut client = Client::attach(&scene.work, "spent", &scene.log).await.unwrap();
    client.send("3", "spend").await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert!(state == Settled::Parked && replies[0].text.contains("budget"), "{replies:?}");
    client.send("4", "more").await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert!(state == Settled::Parked && replies.len() == 1 && replies[0].text.contains("budget"), "the notice is repeated: {replies:?}");
    assert!(scene.fake.asks_of("more").is_empty(), "a message is no permission to spend");
    host.stop().await;
}

#[tokio::test]
async fn no_secret_is_left_anywhere() {
    use base64::Engine as _;

    let told = format!("Your key is {API_KEY}, is it not?");
    let scene = Scene::new(
        Script::default()
            .on("tell", [Answer::calls([("file_write", json!({"file_path": "note.txt", "content": "x"}))]), Answer::text(&told)])
            .on("fail", [Answer::text("").after([Fault::Leak, Fault::Leak])]),
    )
    .await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.send("1", "tell").await.unwrap();
    client.ask_to_settle().await.unwrap();
    let (mut preview, mut reply) = (String::new(), String::new());
    client
        .until(|line| {
            match line {
                ToClient::Text { append } => preview.push_str(append),
                ToClient::Deliver { text, .. } => reply.push_str(text),
                _ => {}
            }
            matches!(line, ToClient::Settled { .. }).then_some(())
        })
        .await
        .unwrap();
    assert_eq!((preview.as_str(), reply.as_str()), ("Your key is [redacted], is it not?", "Your key is [redacted], is it not?"));
    client.talk("2", "fail").await.unwrap();
    client.talk("3", "/status").await.unwrap();
    host.stop().await;
    let base64 = base64::engine::general_purpose::STANDARD.encode(API_KEY);
    for (path, bytes) in crate::support::files(scene.work.folder()) {
        for canary in [API_KEY, &base64] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "the key is in {}", path.display());
        }
    }
}
