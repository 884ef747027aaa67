//! Long conversations: the older part gives way to a summary, whatever happens meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use stellaclaw::channels::terminal::protocol::Settled;

use crate::support::client::Client;
use crate::support::fake_openai::{Answer, Ask, Fault, Script, text_of};
use crate::support::scene::Scene;
use crate::support::within;

/// What only a request for a summary says.
const SUMMARY: &str = "replaced by a summary";

/// The roles and texts of a request, without the system prompt.
fn dialogue(ask: &Ask) -> Vec<String> {
    let messages = ask.body["messages"].as_array().unwrap();
    let one = |message: &Value| format!("{}: {}", message["role"].as_str().unwrap(), text_of(&message["content"]));
    messages.iter().map(one).filter(|text| !text.starts_with("system")).collect()
}

fn summary(text: &str) -> Answer {
    Answer::text(&format!("## State\n{text}\n\n## Handles\n- p7: the server"))
}

/// Three turns, the last of which is asked for in many words.
fn growing() -> Script {
    Script::default()
        .on(SUMMARY, [summary("They were told that the word is teapot.")])
        .on("first", [Answer::text("The word is teapot.")])
        .on("second", [Answer::text("The second answer.")])
        .on("third", [Answer::calls([("ls", json!({}))]), Answer::text("The third answer.")])
        .on("fourth", [Answer::text("The fourth answer.")])
}

/// The vendor says 110 tokens of every request: what is said after that decides.
const SMALL: &str = "[session]\ncompact_at = 300\ncompact_keep = 30\n";

/// A message that weighs something.
fn long(text: &str) -> String {
    format!("{text}:{}", " a word and another".repeat(60))
}

#[tokio::test]
async fn a_history_that_has_grown_is_summarised_and_the_conversation_goes_on() {
    let scene = Scene::with(growing(), SMALL).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", &long("first")).await.unwrap();
    client.talk("2", "second").await.unwrap();
    let replies = client.talk("3", &long("third")).await.unwrap();
    assert_eq!(replies.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["The third answer."]);
    let asks = scene.fake.asks();
    let keys: Vec<&str> = asks.iter().map(|ask| ask.key.as_str()).collect();
    assert_eq!(keys, ["first", "second", SUMMARY, "third", "third"]);
    // The vendor's cache serves the request for the summary: it begins as the one before it, and has the same tools.
    let messages = |ask: &Ask| ask.body["messages"].as_array().unwrap().clone();
    let before = messages(&asks[1]);
    assert_eq!(messages(&asks[2])[..before.len()], before);
    assert_eq!((&asks[2].body["tools"], &asks[2].body["tool_choice"]), (&asks[1].body["tools"], &asks[1].body["tool_choice"]));
    let after = dialogue(&asks[3]);
    assert!(
        after[0].starts_with("user: [Summary of the conversation so far]\n## State\nThey were told that the word is teapot."),
        "{after:?}"
    );
    assert!(after[0].ends_with("Still running or kept: p7: the server"), "{after:?}");
    assert_eq!(after.last().unwrap(), &format!("user: {}", long("third")));
    assert!(!after.iter().any(|text| text.contains("first")), "{after:?}");
    // A restart folds from the cut.
    drop(client);
    host.stop().await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("4", "fourth").await.unwrap();
    let again = dialogue(scene.fake.asks().last().unwrap());
    assert_eq!(again[..after.len()], after);
    assert!(scene.fake.refusals().is_empty(), "{:?}", scene.fake.refusals());
    host.stop().await;
}

#[tokio::test]
async fn compact_is_a_command_that_reports_and_waits_for_what_runs() {
    let scene = Scene::new(growing().on("slow", [Answer::text("Done.").held("slow")])).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    let told = client.talk("0", "/compact").await.unwrap();
    assert!(told[0].text.contains("nothing to summarise"), "{told:?}");
    client.talk("1", &long("third")).await.unwrap();
    client.send("2", "slow").await.unwrap();
    scene.fake.held("slow", 1).await;
    client.say("3", "/compact").await.unwrap();
    let refusal = client.delivered().await.unwrap();
    assert!(refusal.text.contains("Something is running"), "{refusal:?}");
    scene.fake.release("slow");
    client.settle().await.unwrap();
    let told = client.talk("4", "/compact").await.unwrap();
    assert!(told.len() == 1 && told[0].text.contains(" tokens before, ") && told[0].text.contains(" of 128000 "), "{told:?}");
    client.talk("5", "fourth").await.unwrap();
    let after = dialogue(scene.fake.asks().last().unwrap());
    assert!(after[0].contains("the word is teapot") && !after.iter().any(|text| text.contains("a word and another")), "{after:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_made_again_with_a_summary_or_without_its_oldest_part() {
    let script = |faults: usize| {
        let faults: Vec<_> = (0..faults).map(|_| Fault::TooLong).collect();
        Script::default()
            .on(SUMMARY, [summary("A word was said.").after(faults)])
            .on("first", [Answer::text("The word is teapot.")])
            .on("second", [Answer::text("The second answer.")])
            .on("large", [Answer::text("It fits.").after([Fault::TooLong])])
    };
    for faults in [0, 1] {
        let scene = Scene::new(script(faults)).await;
        let host = scene.work.host().await;
        let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
        client.talk("1", &long("first")).await.unwrap();
        client.talk("2", "second").await.unwrap();
        let replies = client.talk("3", "large").await.unwrap();
        assert_eq!(replies.last().unwrap().text, "It fits.");
        let asks = scene.fake.asks();
        let asked: Vec<&str> = asks.iter().map(|ask| ask.key.as_str()).collect();
        assert_eq!(asked, ["first", "second", "large", SUMMARY, "large"]);
        assert!(asks[3].body.get("tools").is_none() && dialogue(&asks[3]).len() == 1, "it is retold: {}", asks[3].body);
        let last = dialogue(&asks[4]);
        if faults == 0 {
            assert!(last[0].contains("A word was said.") && replies.len() == 1, "{last:?} {replies:?}");
        } else {
            assert!(last[0].contains("was left out because it no longer fits"), "{last:?}");
            assert_eq!(replies.len(), 3, "both losses are told: {replies:?}");
        }
        assert_eq!(last.last().unwrap(), "user: large");
        host.stop().await;
    }
}

#[tokio::test]
async fn a_long_history_is_summarised_before_its_cache_expires_and_a_message_does_not_wait_for_it() {
    let scene = Scene::new(growing()).await;
    // The margin is half a minute: this is due a second after the request.
    scene.configure("cache_ttl = \"31s\"\n", "[session]\ncompact_at = 250\ncompact_keep = 30\n");
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", &long("first")).await.unwrap();
    client.talk("2", "second").await.unwrap();
    let summarised = async {
        while scene.fake.asks_of(SUMMARY).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the summary", summarised).await;
    assert_eq!(client.settle().await.unwrap(), (vec![], Settled::Idle), "nobody is told");
    client.talk("4", "fourth").await.unwrap();
    let last = dialogue(scene.fake.asks_of("fourth").last().unwrap());
    assert!(last[0].contains("the word is teapot"), "{last:?}");
    host.stop().await;
}

#[tokio::test]
async fn cancel_ends_a_summary_and_a_restart_begins_it_again() {
    let script = Script::default()
        .on("first", [Answer::text("The word is teapot.")])
        .on("second", [Answer::text("The second answer.")])
        .on("third", [Answer::text("The third answer.")])
        .on(SUMMARY, [summary("The word is teapot.").held("summary")]);
    let scene = Scene::with(script, SMALL).await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", &long("first")).await.unwrap();
    client.talk("2", "second").await.unwrap();
    client.send("3", &long("third")).await.unwrap();
    scene.fake.held("summary", 1).await;
    let replies = client.talk("cancel", "/cancel").await.unwrap();
    assert!(replies.iter().any(|reply| reply.text == "Stopped."), "{replies:?}");
    client.send("4", &long("third")).await.unwrap();
    scene.fake.held("summary", 2).await;
    drop(client);
    host.kill();
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    scene.fake.held("summary", 3).await;
    scene.fake.release("summary");
    let (replies, state) = client.settle().await.unwrap();
    assert_eq!((replies.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), state), (vec!["The third answer."], Settled::Idle));
    host.stop().await;
}

#[tokio::test]
async fn the_system_prompt_is_the_same_until_a_compaction_and_what_changed_is_said_once() {
    let scene = Scene::with(growing(), "[session]\ninstructions = \"Speak of tea.\"\n").await;
    let host = scene.work.host().await;
    let mut client = Client::attach(&scene.work, "", &scene.log).await.unwrap();
    client.talk("1", &long("first")).await.unwrap();
    scene.configure("", "[session]\ninstructions = \"Speak of coffee.\"\n");
    host.signal(rustix::process::Signal::HUP);
    let read_again = async {
        while !scene.work.log().contains("the configuration was read again") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the configuration to be read again", read_again).await;
    client.talk("2", &long("second")).await.unwrap();
    client.talk("4", "fourth").await.unwrap();
    let asks = scene.fake.asks();
    let system = |ask: &Ask| text_of(&ask.body["messages"][0]["content"]);
    assert!(system(&asks[0]).contains("Speak of tea.") && asks.iter().all(|ask| system(ask) == system(&asks[0])), "byte for byte");
    let said = dialogue(&asks[2]).iter().filter(|text| text.contains("Speak of coffee.")).count();
    assert_eq!(said, 1, "{:?}", dialogue(&asks[2]));
    client.talk("5", "/compact").await.unwrap();
    client.talk("6", "fourth").await.unwrap();
    let asks = scene.fake.asks();
    assert!(system(asks.last().unwrap()).contains("Speak of coffee."));
    assert!(!dialogue(asks.last().unwrap()).iter().any(|text| text.contains("Speak of coffee.")));
    host.stop().await;
}
