//! A model that cannot answer: how often it is asked again, who stands in for it, and for how long.

use serde_json::json;
use stellaclaw::channels::terminal::protocol::{Settled, ToClient};

use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Fault, Script};
use crate::support::host::Host;
use crate::support::scene::Scene;

/// The models that were asked about something, in order.
fn asked(scene: &Scene, key: &str) -> Vec<String> {
    scene.fake.asks_of(key).iter().map(|ask| ask.body["model"].as_str().unwrap().to_owned()).collect()
}

async fn attached(scene: &Scene, name: &str) -> Client {
    Client::attach(&scene.work, name, &scene.log).await.unwrap()
}

/// Who stood in during a turn, as the terminal was told, and what was said at its end.
async fn turn(client: &mut Client, id: &str, text: &str) -> (Vec<(String, String)>, Vec<String>) {
    client.send(id, text).await.unwrap();
    client.ask_to_settle().await.unwrap();
    let (mut stood_in, mut said) = (Vec::new(), Vec::new());
    client
        .until(|line| {
            match line {
                ToClient::StandIn { model, instead_of } => stood_in.push((model.clone(), instead_of.clone())),
                ToClient::Deliver { text, .. } => said.push(text.clone()),
                _ => {}
            }
            matches!(line, ToClient::Settled { .. }).then_some(())
        })
        .await
        .unwrap();
    (stood_in, said)
}

#[tokio::test]
async fn a_model_that_refuses_is_stood_in_for_until_a_person_or_a_restart_asks_it_again() {
    let round = || Answer::calls([("ls", json!({}))]);
    let scene = Scene::tuned(
        Script::default()
            .on("first", [round().after([Fault::status(401)]), Answer::text("Done by the other one.")])
            .on("second", [Answer::text("Again by the other one.")])
            .on("elsewhere", [Answer::text("Here, too.")])
            .on("chosen", [Answer::text("By the first one.")])
            .on("third", [Answer::text("After a while.").after([Fault::status(401)])])
            .on("restarted", [Answer::text("Anew.")]),
        "fallback = [\"other\"]\n",
        "",
    )
    .await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    let stands_in = || vec![("other".to_owned(), "main".to_owned())];
    assert_eq!(turn(&mut client, "1", "first").await, (stands_in(), vec!["Done by the other one.".to_owned()]));
    assert_eq!(asked(&scene, "first"), ["fake-main", "fake-other", "fake-other"]);
    assert_eq!(turn(&mut client, "2", "second").await, (stands_in(), vec!["Again by the other one.".to_owned()]));
    let status = client.talk("3", "/status").await.unwrap().remove(0).text;
    assert!(status.contains("- model: `main` (fake-main); `other` stands in for it until "), "{status}");
    // What one conversation has learned counts for all.
    let mut neighbour = attached(&scene, "neighbour").await;
    neighbour.talk("n1", "elsewhere").await.unwrap();
    assert_eq!((asked(&scene, "second"), asked(&scene, "elsewhere")), (vec!["fake-other".to_owned()], vec!["fake-other".to_owned()]));
    client.talk("4", "/model main").await.unwrap();
    assert_eq!(turn(&mut client, "5", "chosen").await, (vec![], vec!["By the first one.".to_owned()]));
    let status = client.talk("6", "/status").await.unwrap().remove(0).text;
    assert!(!status.contains("stands in"), "{status}");

    client.talk("7", "third").await.unwrap();
    assert_eq!(asked(&scene, "third"), ["fake-main", "fake-other"]);
    host.stop().await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    assert_eq!(turn(&mut client, "8", "restarted").await, (vec![], vec!["Anew.".to_owned()]));
    assert_eq!(asked(&scene, "restarted"), ["fake-main"]);
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
    host.stop().await;
}

#[tokio::test]
async fn a_model_is_tried_as_often_as_it_says_then_the_next_one_and_at_last_a_person_is_asked() {
    let faults = || (0..5).map(|_| Fault::status(503)).collect::<Vec<_>>();
    let scene = Scene::tuned(
        Script::default().on("go", [Answer::text("At last.").after(faults())]),
        "fallback = [\"other\"]\nretry = { tries = 3, wait = \"10ms\" }\n",
        "[models.other.retry]\ntries = 2\nwait = \"10ms\"\n",
    )
    .await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    client.send("1", "go").await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    let text = &replies[0].text;
    assert_eq!((replies.len(), state), (1, Settled::Parked), "{replies:?}");
    assert!(text.starts_with("The model `other` did not answer after 2 attempts") && text.contains("It stood in for `main`."), "{text}");
    assert_eq!(asked(&scene, "go"), ["fake-main", "fake-main", "fake-main", "fake-other", "fake-other"]);
    // All of them cool down: whoever continues wants the first one asked.
    assert_eq!(client.talk("2", "/continue").await.unwrap().last().unwrap().text, "At last.");
    assert_eq!(asked(&scene, "go").last().unwrap(), "fake-main");
    host.stop().await;
}

#[tokio::test]
async fn a_limit_that_lasts_is_not_waited_for_where_another_model_can_answer() {
    let limited = || [Fault::too_many("7200")];
    let scene = Scene::tuned(Script::default().on("go", [Answer::text("Soon.").after(limited())]), "fallback = [\"other\"]\n", "").await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    assert_eq!(client.talk("1", "go").await.unwrap()[0].text, "Soon.");
    assert_eq!(asked(&scene, "go"), ["fake-main", "fake-other"]);
    host.stop().await;
}

#[tokio::test]
async fn a_turn_that_a_crash_interrupts_begins_with_the_conversation_s_own_model() {
    let scene = Scene::tuned(
        Script::default().on("go", [Answer::text("Survived.").held("go").after([Fault::status(401)])]),
        "fallback = [\"other\"]\n",
        "",
    )
    .await;
    let host: Host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    client.say("1", "go").await.unwrap();
    scene.fake.held("go", 1).await;
    host.kill();
    let host = scene.work.host().await;
    scene.fake.held("go", 2).await;
    scene.fake.release("go");
    let mut client = attached(&scene, "").await;
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.last().unwrap().text.as_str(), state), ("Survived.", Settled::Idle), "{replies:?}");
    assert_eq!(asked(&scene, "go"), ["fake-main", "fake-other", "fake-main"]);
    host.stop().await;
}

#[tokio::test]
async fn how_much_the_model_reasons_is_the_conversation_s_own_and_survives_a_restart() {
    let scene = Scene::tuned(Script::default().on("think", [Answer::text("Thought.")]), "effort = \"low\"\n", "").await;
    let efforts = || {
        let asks = scene.fake.asks_of("think");
        asks.iter().map(|ask| ask.body["reasoning_effort"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    client.talk("1", "think").await.unwrap();
    let shown = client.talk("2", "/reasoning much").await.unwrap().remove(0).text;
    assert!(shown.contains("no level called `much`") && shown.contains("default effort: `low`"), "{shown}");
    client.talk("3", "/reasoning high").await.unwrap();
    client.talk("4", "think").await.unwrap();
    let mut neighbour = attached(&scene, "neighbour").await;
    neighbour.talk("n1", "think").await.unwrap();
    host.stop().await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    client.talk("5", "think").await.unwrap();
    let status = client.talk("6", "/status").await.unwrap().remove(0).text;
    assert!(status.contains("- reasoning: `high`\n"), "{status}");
    client.talk("7", "/reasoning default").await.unwrap();
    client.talk("8", "think").await.unwrap();
    assert_eq!(efforts(), ["low", "high", "low", "high", "low"]);
    host.stop().await;
}
