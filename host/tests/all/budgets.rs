//! What models use: how it is told, and where it ends.

use serde_json::Value;
use stellaclaw::channels::terminal::protocol::Settled;

use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Fault, Script};
use crate::support::scene::Scene;

/// One answer of the fake: 60 tokens read, 40 of them from its cache, and 10 written, 2 of them thoughts. In millionths of a dollar.
const PRICE: &str = "price = { input = 10.0, cache_read = 1.0, output = 100.0 }\n";
const COST: u64 = 600 + 40 + 1000;

async fn attached(scene: &Scene, name: &str) -> Client {
    Client::attach(&scene.work, name, &scene.log).await.unwrap()
}

async fn usage(scene: &Scene, arguments: &[&str]) -> Value {
    let ran = scene.work.run(&[&["usage", "--json"], arguments].concat(), "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.output).unwrap()
}

/// The names of the lines, each with its requests, its cost and its estimates.
fn lines(report: &Value) -> Vec<(&str, u64, u64, u64)> {
    let lines = report["lines"].as_array().unwrap().iter();
    let figure = |line: &Value, key: &str| line[key].as_u64().unwrap();
    lines
        .map(|line| (line["name"].as_str().unwrap(), figure(line, "requests"), figure(line, "cost_micros"), figure(line, "estimated")))
        .collect()
}

#[tokio::test]
async fn what_models_used_is_told_in_the_conversation_and_on_the_command_line() {
    let scene = Scene::tuned(
        Script::default()
            .on("plain", [Answer::text("One.")])
            .on("refused", [Answer::text("Two.").after([Fault::status(503)])])
            .on("broken", [Answer::text("Three, and a few words more.").after([Fault::Cut])])
            .on("stopped", [Answer::text("Never.").held("stopped")]),
        &format!("{PRICE}retry = {{ wait = \"10ms\" }}\n"),
        "",
    )
    .await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    client.talk("1", "plain").await.unwrap();
    client.talk("2", "refused").await.unwrap();
    let mut other = attached(&scene, "other").await;
    other.talk("o1", "/model other").await.unwrap();
    other.talk("o2", "plain").await.unwrap();
    let status = client.talk("3", "/status").await.unwrap().remove(0).text;
    let table = status.split_once("\n\n").unwrap().1;
    insta::assert_snapshot!("status_table", table);

    let by_model = usage(&scene, &[]).await;
    assert_eq!(lines(&by_model), [("main", 2, 2 * COST, 0), ("other", 1, 0, 0)], "what its vendor refused costs nothing");
    assert_eq!(by_model["total"]["unpriced_tokens"], 110);
    assert_eq!(by_model["lines"][0]["cache_read"], 80);
    assert_eq!(lines(&usage(&scene, &["--by", "conversation", "--since", "1h"]).await), [("c1", 2, 2 * COST, 0), ("c2", 1, 0, 0)]);
    let by_day = usage(&scene, &["--by", "day", "--since", "2d"]).await;
    assert_eq!(by_day["lines"].as_array().unwrap().iter().map(|line| line["requests"].as_u64().unwrap()).sum::<u64>(), 3);
    let table = scene.work.run(&["usage", "--by", "kind"], "").await.output;
    assert!(table.starts_with("kind  requests") && table.contains("\nturn         3 ") && table.contains("no known price"), "{table}");
    assert_eq!(scene.work.run(&["usage", "--since", "soon"], "").await.code, Some(2));

    // Nobody says what was used by a request that broke off, or that a person stopped.
    client.talk("4", "broken").await.unwrap();
    assert_eq!(lines(&usage(&scene, &[]).await)[0].3, 1);
    client.say("5", "stopped").await.unwrap();
    scene.fake.held("stopped", 1).await;
    client.talk("6", "/cancel").await.unwrap();
    assert_eq!(lines(&usage(&scene, &[]).await)[0].3, 2);
    host.stop().await;
}

#[tokio::test]
async fn a_conversation_that_has_used_its_budget_waits_for_a_person_over_restarts_and_new_sessions() {
    let scene = Scene::tuned(
        Script::default().on("go", [Answer::text("Answered.")]),
        PRICE,
        &format!("[limits]\nconversation_spend = {}\n", 2.0 * COST as f64 / 1e6),
    )
    .await;
    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    for id in ["1", "2"] {
        assert_eq!(client.talk(id, "go").await.unwrap()[0].text, "Answered.");
    }
    client.talk("3", "/new").await.unwrap();
    client.send("4", "go").await.unwrap();
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!(state, Settled::Parked);
    let says = "The budget of this conversation is used up (0.01 USD). `/continue` goes on nevertheless.";
    assert!(replies[0].text.starts_with(says), "{replies:?}");
    host.stop().await;

    let host = scene.work.host().await;
    let mut client = attached(&scene, "").await;
    assert_eq!(client.talk("5", "/continue").await.unwrap().last().unwrap().text, "Answered.");
    let replies = client.talk("6", "go").await.unwrap();
    assert!(replies[0].text.starts_with(says), "the next turn asks again: {replies:?}");
    let mut other = attached(&scene, "other").await;
    assert_eq!(other.talk("o1", "go").await.unwrap()[0].text, "Answered.", "others have a budget of their own");
    host.stop().await;
}
