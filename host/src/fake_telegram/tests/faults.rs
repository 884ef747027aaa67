//! What goes wrong, as the bot sees it, and as the log has it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Stage;
use crate::fake_telegram::{Call, FakeTelegram, Fault, Odds, Options, Post};

fn hello(chat: i64) -> Value {
    json!({"chat_id": chat, "text": "hi"})
}

fn last(stage: &Stage) -> Call {
    stage.telegram.calls().pop().unwrap()
}

/// What a client that does not get its answer is left with.
async fn lost(stage: &Stage) -> bool {
    match stage.send("sendMessage", hello(stage.ann)).await {
        Ok(answer) => answer.bytes().await.is_err(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_lost_connection_leaves_the_message_or_not() {
    let stage = Stage::new().await;
    let count = || stage.telegram.bot_messages(stage.ann).len();
    stage.telegram.fault(Fault::lost_before());
    assert!(lost(&stage).await);
    assert_eq!((count(), last(&stage).succeeded(), last(&stage).fault.is_some()), (0, false, true));
    stage.telegram.fault(Fault::lost_after());
    assert!(lost(&stage).await);
    assert_eq!((count(), last(&stage).succeeded()), (1, true));
    stage.telegram.fault(Fault::cut());
    let half = stage.send("sendMessage", hello(stage.ann)).await.unwrap();
    assert_eq!(half.status(), 200);
    assert!(half.bytes().await.is_err());
    assert_eq!((count(), last(&stage).succeeded()), (2, true));
    assert!(!lost(&stage).await);
}

#[tokio::test]
async fn an_answer_is_another_one_than_expected() {
    let stage = Stage::new().await;
    let refused = |fault: Fault| {
        stage.telegram.fault(fault);
        stage.call("sendMessage", hello(stage.ann))
    };
    let too_many = refused(Fault::too_many(37)).await;
    assert_eq!((&too_many["error_code"], &too_many["parameters"]["retry_after"]), (&json!(429), &json!(37)));
    assert_eq!(refused(Fault::unauthorized()).await["description"], "Unauthorized");
    assert_eq!(refused(Fault::refuse(500, "Internal Server Error")).await["error_code"], 500);
    // Without entities it goes well.
    assert_eq!(refused(Fault::bad_entities()).await["ok"], true);
    let bold = json!({"chat_id": stage.ann, "text": "hi", "entities": [{"type": "bold", "offset": 0, "length": 2}]});
    assert!(stage.refused("sendMessage", bold).await.contains("can't parse entities"));
    stage.telegram.fault(Fault::conflict());
    assert_eq!(stage.call("getUpdates", json!({})).await["error_code"], 409);
    assert_eq!(stage.telegram.bot_messages(stage.ann).len(), 1);
    for (fault, status, messages) in [(Fault::page(502), 502, 1), (Fault::not_json(), 200, 2)] {
        stage.telegram.fault(fault);
        let answer = stage.send("sendMessage", hello(stage.ann)).await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(answer.text().await.unwrap().starts_with("<html>"));
        assert_eq!(stage.telegram.bot_messages(stage.ann).len(), messages);
    }
}

#[tokio::test]
async fn a_flooded_chat_refuses_until_its_time_is_over() {
    let stage = Stage::new().await;
    stage.telegram.fault(Fault::flood(37).in_chat(stage.ann));
    for _ in 0..2 {
        assert_eq!(stage.call("sendMessage", hello(stage.ann)).await["parameters"]["retry_after"], 37);
    }
    stage.telegram.advance(Duration::from_secs(30));
    assert!(stage.call("sendMessage", hello(stage.ann)).await["parameters"]["retry_after"].as_i64().unwrap() <= 7);
    stage.telegram.advance(Duration::from_secs(7));
    stage.ok("sendMessage", hello(stage.ann)).await;
}

#[tokio::test]
async fn a_call_hangs() {
    let stage = Stage::new().await;
    for (fault, messages) in [(Fault::hang(), 0), (Fault::hang_after(), 1)] {
        stage.telegram.fault(fault);
        let mut hanging = std::pin::pin!(stage.send("sendMessage", hello(stage.ann)));
        let came = |telegram: &FakeTelegram| {
            telegram.calls().pop().filter(|call| call.result.is_some() == (messages == 1) && call.ended.is_none())
        };
        tokio::select! {
            answer = &mut hanging => panic!("{answer:?}"),
            call = stage.telegram.wait("the call", came) => drop(call.unwrap()),
        }
        assert!(tokio::time::timeout(Duration::from_millis(100), hanging).await.is_err());
        assert_eq!(stage.telegram.bot_messages(stage.ann).len(), messages);
    }
    // Whoever waits for nothing goes away.
    let stage = Stage { client: reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(100)).build().unwrap(), ..stage };
    stage.telegram.fault(Fault::hang());
    assert!(stage.send("sendMessage", hello(stage.ann)).await.unwrap_err().is_timeout());
    stage.telegram.wait("the bot to be gone", |telegram| telegram.calls().pop().filter(|call| call.left)).await.unwrap();
}

#[tokio::test]
async fn a_call_is_held_until_it_is_released() {
    let stage = Stage::new().await;
    stage.telegram.fault(Fault::hold("a"));
    let held = async { stage.ok("sendMessage", hello(stage.ann)).await };
    let releasing = async {
        stage.telegram.wait("it to be held", |telegram| (telegram.held_count("a") == 1).then_some(())).await.unwrap();
        assert_eq!(stage.telegram.bot_messages(stage.ann).len(), 0);
        stage.telegram.release("a");
    };
    tokio::join!(held, releasing);
    assert_eq!(stage.telegram.bot_messages(stage.ann).len(), 1);
    stage.telegram.fault(Fault::hold_answer("b"));
    let held = async { stage.ok("sendMessage", hello(stage.ann)).await };
    let releasing = async {
        stage.telegram.wait("it to be held", |telegram| (telegram.held_count("b") == 1).then_some(())).await.unwrap();
        assert_eq!(stage.telegram.bot_messages(stage.ann).len(), 2);
        stage.telegram.release("b");
    };
    tokio::join!(held, releasing);
}

#[tokio::test]
async fn a_file_and_an_answer_can_be_slow() {
    let stage = Stage::new().await;
    let message = stage.telegram.write(stage.ann, stage.ann, Post::document("a.bin", vec![7; 1000])).unwrap();
    let id = stage.telegram.message(stage.ann, message).unwrap().file().unwrap().1.to_owned();
    let path = stage.ok("getFile", json!({"file_id": id})).await["file_path"].as_str().unwrap().to_owned();
    stage.telegram.fault(Fault::slow(100, Duration::from_millis(20)).on("download"));
    let began = Instant::now();
    let address = format!("{}/file/bot{}/{path}", stage.telegram.api_base_url(), stage.telegram.token());
    let fetched = stage.client.get(&address).send().await.unwrap();
    assert_eq!(fetched.content_length(), Some(1000));
    assert_eq!(fetched.bytes().await.unwrap(), vec![7; 1000]);
    assert!(began.elapsed() >= Duration::from_millis(200));
    stage.telegram.fault(Fault::cut().on("download"));
    assert!(stage.client.get(&address).send().await.unwrap().bytes().await.is_err());
    assert_eq!(stage.client.get(address + "x").send().await.unwrap().status(), 404);
    stage.telegram.fault(Fault::delay(Duration::from_millis(100)));
    let began = Instant::now();
    stage.say(stage.ann, "late").await;
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_server_that_is_down_refuses_connections() {
    let stage = Stage::new().await;
    let waiting = stage.send("getUpdates", json!({"offset": -1, "timeout": 50}));
    let down = async {
        stage.telegram.wait("a call to wait", |telegram| telegram.calls().pop()).await.unwrap();
        stage.telegram.write(stage.ann, stage.ann, Post::text("x")).unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, down);
    answer.unwrap();
    stage.telegram.down().await;
    assert!(stage.send("getMe", json!({})).await.unwrap_err().is_connect());
    stage.telegram.up().await.unwrap();
    stage.ok("getMe", json!({})).await;
}

#[tokio::test]
async fn everything_is_in_the_file_and_free_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let stage = Stage::with(Options { log: Some(path.clone()), ..Options::default() }).await;
    let first = stage.ok("getUpdates", json!({})).await[0]["update_id"].as_i64().unwrap();
    stage.ok("getUpdates", json!({"offset": first + 1})).await;
    stage.telegram.fault(Fault::lost_after());
    assert!(lost(&stage).await);
    let lines: Vec<Value> = std::fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["message", "update", "call", "confirmed", "call", "message", "call"]);
    let sent = lines.last().unwrap();
    assert_eq!((&sent["method"], &sent["result"]["ok"], &sent["chat"]), (&json!("sendMessage"), &json!(true), &json!(stage.ann)));
    assert!(sent["fault"].as_str().unwrap().starts_with("Lost"));
}

#[tokio::test]
async fn with_a_seed_some_calls_go_wrong() {
    let stage = Stage::new().await;
    stage.telegram.random_faults(7, Odds { too_many: 0.3, lost_after: 0.3, ..Odds::default() });
    for _ in 0..40 {
        drop(stage.send("sendMessage", hello(stage.ann)).await);
    }
    let calls = stage.telegram.calls_of("sendMessage");
    let refused = calls.iter().filter(|call| matches!(&call.result, Some(Err(refusal)) if refusal.code == 429)).count();
    let harmed = calls.iter().filter(|call| call.fault.is_some()).count();
    assert!(refused > 0 && harmed > refused && harmed < calls.len(), "{refused} {harmed}");
    stage.telegram.clear_faults();
    stage.ok("sendMessage", hello(stage.ann)).await;
}
