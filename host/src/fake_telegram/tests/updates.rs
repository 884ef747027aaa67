//! The queue of updates: who gets what, and when it is gone.

use serde_json::json;

use super::{Stage, ids};
use crate::fake_telegram::Post;

#[tokio::test]
async fn an_update_is_gone_when_a_higher_offset_is_asked_for() {
    let stage = Stage::new().await;
    stage.telegram.write(stage.ann, stage.ann, Post::text("two")).unwrap();
    let first = stage.ok("getUpdates", json!({})).await;
    assert_eq!(first[0]["message"]["text"], "hello");
    assert_eq!(stage.ok("getUpdates", json!({"limit": 1})).await, json!([first[0]]));
    let [one, two] = ids(&first)[..] else { panic!("{first}") };
    assert_eq!(two, one + 1);
    let state =
        || stage.telegram.updates().into_iter().map(|update| (update.delivered.len(), update.confirmed.is_some())).collect::<Vec<_>>();
    assert_eq!(state(), [(2, false), (1, false)]);
    assert_eq!(ids(&stage.ok("getUpdates", json!({"offset": two})).await), [two]);
    assert_eq!(state(), [(2, true), (2, false)]);
    assert_eq!(stage.ok("getUpdates", json!({"offset": two + 1})).await, json!([]));
    stage.telegram.confirmed().await.unwrap();
}

#[tokio::test]
async fn a_negative_offset_forgets_all_but_the_last() {
    let stage = Stage::new().await;
    for text in ["two", "three", "four"] {
        stage.telegram.write(stage.ann, stage.ann, Post::text(text)).unwrap();
    }
    let last = stage.ok("getUpdates", json!({"offset": -2})).await;
    assert_eq!((last[0]["message"]["text"].as_str(), last[1]["message"]["text"].as_str()), (Some("three"), Some("four")));
    assert_eq!(stage.ok("getUpdates", json!({})).await, last);
    assert_eq!(stage.ok("getUpdates", json!({"offset": -9})).await, last);
}

#[tokio::test]
async fn of_two_who_ask_the_older_has_lost() {
    let stage = Stage::new().await;
    let seen = ids(&stage.ok("getUpdates", json!({})).await);
    let ask = json!({"offset": seen[0] + 1, "timeout": 50});
    let older = async { stage.call("getUpdates", ask.clone()).await };
    let newer = async {
        stage.telegram.wait("the older one to ask", |telegram| (telegram.calls_of("getUpdates").len() == 2).then_some(())).await.unwrap();
        stage.ok("getUpdates", ask.clone()).await
    };
    let writer = async {
        stage.telegram.wait("both to ask", |telegram| (telegram.calls_of("getUpdates").len() == 3).then_some(())).await.unwrap();
        stage.telegram.wait("the older to lose", |telegram| telegram.calls_of("getUpdates")[1].ended).await.unwrap();
        stage.telegram.write(stage.ann, stage.ann, Post::text("late")).unwrap();
    };
    let (older, newer, ()) = tokio::join!(older, newer, writer);
    assert_eq!(older["error_code"], 409);
    assert!(older["description"].as_str().unwrap().starts_with("Conflict: terminated by other getUpdates request"));
    assert_eq!(newer[0]["message"]["text"], "late");
}

#[tokio::test]
async fn a_webhook_keeps_updates_from_who_asks() {
    let stage = Stage::new().await;
    stage.telegram.set_webhook(Some("https://other.example/hook"));
    assert_eq!(stage.ok("getWebhookInfo", json!({})).await["url"], "https://other.example/hook");
    assert!(stage.refused("getUpdates", json!({})).await.contains("while webhook is active"));
    stage.ok("deleteWebhook", json!({"drop_pending_updates": false})).await;
    assert_eq!(stage.ok("getUpdates", json!({})).await.as_array().unwrap().len(), 1);
    assert!(stage.refused("setWebhook", json!({"url": "http://a.example"})).await.contains("HTTPS"));
    stage.ok("deleteWebhook", json!({"drop_pending_updates": true})).await;
    assert_eq!(stage.ok("getUpdates", json!({})).await, json!([]));
}

#[tokio::test]
async fn kinds_that_are_not_asked_for_do_not_come() {
    let stage = Stage::new().await;
    let react = || stage.telegram.react(stage.ann, stage.ann, 1, &["👍"]).unwrap();
    react();
    assert_eq!(stage.telegram.unwanted(), 1);
    assert!(stage.refused("getUpdates", json!({"allowed_updates": ["mesage"]})).await.contains("mesage"));
    stage.ok("getUpdates", json!({"allowed_updates": ["message_reaction"]})).await;
    react();
    stage.telegram.write(stage.ann, stage.ann, Post::text("unheard")).unwrap();
    // What was said before stays; the kinds are remembered.
    let updates = stage.ok("getUpdates", json!({})).await;
    assert_eq!(updates[0]["message"]["text"], "hello");
    assert_eq!(updates[1]["message_reaction"]["new_reaction"], json!([{"type": "emoji", "emoji": "👍"}]));
    assert_eq!(updates.as_array().unwrap().len(), 2);
    stage.ok("getUpdates", json!({"allowed_updates": []})).await;
    react();
    assert_eq!(stage.telegram.unwanted(), 3);
}

#[tokio::test]
async fn updates_come_twice_with_other_ids_and_in_other_shapes() {
    let stage = Stage::new().await;
    let first = ids(&stage.ok("getUpdates", json!({})).await)[0];
    assert!(!stage.telegram.jump_ids(5), "an update waits");
    assert!(stage.telegram.repeat(first));
    assert!(!stage.telegram.repeat(1));
    // Once more although it is confirmed.
    assert_eq!(ids(&stage.ok("getUpdates", json!({"offset": first + 1})).await), [first]);
    assert_eq!(stage.ok("getUpdates", json!({"offset": first + 1})).await, json!([]));
    assert!(stage.telegram.jump_ids(5));
    stage.telegram.write(stage.ann, stage.ann, Post::text("after a week")).unwrap();
    // The offset is of another time: it neither confirms nor hides.
    assert_eq!(ids(&stage.ok("getUpdates", json!({"offset": first + 1})).await), [5]);
    assert_eq!(stage.ok("getUpdates", json!({"offset": 6})).await, json!([]));
    assert_eq!(stage.telegram.inject(json!({"from_the_future": {"a": 1}})), 6);
    stage.telegram.inject(json!("no object"));
    stage.telegram.inject(json!({"update_id": 99, "message": 5}));
    let shapes = stage.ok("getUpdates", json!({"offset": 6})).await;
    assert_eq!(shapes, json!([{"update_id": 6, "from_the_future": {"a": 1}}, "no object", {"update_id": 99, "message": 5}]));
}
