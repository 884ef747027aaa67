//! The page in the browser, as far as it is JSON.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Stage;
use crate::fake_telegram::png;

impl Stage {
    async fn act(&self, what: Value) -> (u16, Value) {
        let request = self.client.post(format!("{}/_/do", self.telegram.api_base_url())).header("x-fake-telegram", "1");
        let answer = request.body(what.to_string()).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    async fn look(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}/_/{path}", self.telegram.api_base_url())).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn the_page_stands_alone() {
    let stage = Stage::new().await;
    let answer = stage.client.get(stage.telegram.api_base_url()).send().await.unwrap();
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = answer.text().await.unwrap();
    assert!(page.starts_with("<!doctype html>"));
    for outside in ["http://", "src=\"", "href=\"", "innerHTML"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn one_can_be_a_person_on_the_page() {
    let stage = Stage::new().await;
    let (_, made) = stage.act(json!({"do": "new_user", "name": "Ben"})).await;
    let ben = made["chat"].as_i64().unwrap();
    let (_, made) = stage.act(json!({"do": "new_group", "title": "Team", "kind": "forum", "members": [ben]})).await;
    let forum = made["chat"].as_i64().unwrap();
    let (_, made) = stage.act(json!({"do": "new_topic", "chat": forum, "user": ben, "name": "Plans"})).await;
    let topic = made["topic"].as_i64().unwrap();
    let (status, _) = stage.act(json!({"do": "write", "chat": forum, "user": ben, "text": "hi", "thread": topic})).await;
    assert_eq!(status, 200);
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]});
    let sent = stage.ok("sendMessage", json!({"chat_id": forum, "message_thread_id": topic, "text": "ok", "reply_markup": keyboard})).await;
    let (status, pressed) =
        stage.act(json!({"do": "press", "chat": forum, "user": ben, "message": sent["message_id"], "button": "y"})).await;
    assert!(status == 200 && pressed["query"].is_string());
    assert_eq!(stage.act(json!({"do": "write", "chat": forum, "user": 5, "text": "hi"})).await.0, 400);
    assert_eq!(stage.act(json!({"do": "dance"})).await.0, 400);
    stage.act(json!({"do": "fault", "kind": "flood", "chat": forum})).await;
    assert!(stage.refused("sendMessage", json!({"chat_id": forum, "text": "hi"})).await.contains("Too Many Requests"));
    stage.act(json!({"do": "well"})).await;
    stage.say(forum, "again").await;
    let chats = stage.look("chats").await;
    let titles: Vec<&Value> = chats["chats"].as_array().unwrap().iter().map(|chat| &chat["title"]).collect();
    assert!(titles.contains(&&json!("Team")) && titles.contains(&&json!("Ben")), "{chats}");
    assert_eq!(chats["calls"][1]["refused"], "429 Too Many Requests: retry after 20");
    let inside = stage.look(&format!("chat?chat={forum}")).await;
    let said: Vec<&Value> = inside["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(said, [&Value::Null, &json!("hi"), &json!("ok"), &json!("again")]);
}

#[tokio::test]
async fn a_picked_file_is_sent_and_only_pictures_are_shown() {
    let stage = Stage::new().await;
    for (name, bytes, field, kind) in
        [("p.png", png(8, 8), "photo", "image/jpeg"), ("a.html", b"<b>".to_vec(), "document", "application/octet-stream")]
    {
        let address = format!("{}/_/file?chat={}&user={}&name={name}&caption=c", stage.telegram.api_base_url(), stage.ann, stage.ann);
        let answer = stage.client.post(address).header("x-fake-telegram", "1").body(bytes.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let message = stage.telegram.messages(stage.ann).pop().unwrap();
        let (sent, id) = message.file().unwrap();
        assert_eq!((sent.field(), message.text.as_str()), (field, "c"));
        let shown = stage.client.get(format!("{}/_/file/{id}", stage.telegram.api_base_url())).send().await.unwrap();
        assert_eq!(shown.headers()["content-type"], kind);
        assert_eq!(shown.bytes().await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn other_pages_can_do_nothing_here() {
    let stage = Stage::new().await;
    let base = stage.telegram.api_base_url();
    let act =
        |headers: HeaderMap| stage.client.post(format!("{base}/_/do")).headers(headers).body(json!({"do": "well"}).to_string()).send();
    assert_eq!(act(HeaderMap::new()).await.unwrap().status(), 403);
    let foreign = HeaderMap::from_iter([(reqwest::header::HOST, "a.example:80".parse().unwrap())]);
    assert_eq!(act(foreign.clone()).await.unwrap().status(), 403);
    for path in ["/", "/_/chats"] {
        let answer = stage.client.get(format!("{base}{path}")).headers(foreign.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 403);
    }
}
