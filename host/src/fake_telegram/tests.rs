//! The server over loopback, with a plain HTTP client as the bot.

mod faults;
mod people;
mod sending;
mod updates;
mod view;

use serde_json::{Value, json};

use super::{ChatKind, FakeTelegram, Options, Post};

/// A server, with Ann who has said hello.
struct Stage {
    telegram: FakeTelegram,
    client: reqwest::Client,
    ann: i64,
}

impl Stage {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let telegram = FakeTelegram::start(options).await.unwrap();
        let ann = telegram.new_user("Ann");
        telegram.write(ann, ann, Post::text("hello")).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { telegram, client, ann }
    }

    /// A forum of Ann's with one topic.
    fn forum(&self) -> (i64, i64) {
        let forum = self.telegram.new_group(ChatKind::Supergroup { forum: true }, "Forum", &[self.ann]).unwrap();
        (forum, self.telegram.new_topic(forum, self.ann, "Plans").unwrap())
    }

    fn address(&self, method: &str) -> String {
        format!("{}/bot{}/{method}", self.telegram.api_base_url(), self.telegram.token())
    }

    async fn send(&self, method: &str, params: Value) -> reqwest::Result<reqwest::Response> {
        let request = self.client.post(self.address(method)).header("content-type", "application/json");
        request.body(params.to_string()).send().await
    }

    async fn read(answer: reqwest::Response) -> Value {
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(status, body["error_code"].as_u64().unwrap_or(200) as u16, "{body}");
        assert_eq!(body["ok"], status == 200, "{body}");
        body
    }

    /// The whole answer.
    async fn call(&self, method: &str, params: Value) -> Value {
        Self::read(self.send(method, params).await.unwrap()).await
    }

    /// The result of a call that succeeds.
    async fn ok(&self, method: &str, params: Value) -> Value {
        let mut body = self.call(method, params).await;
        assert_eq!(body["ok"], true, "{body}");
        body["result"].take()
    }

    /// The description of a call that is refused.
    async fn refused(&self, method: &str, params: Value) -> String {
        let body = self.call(method, params).await;
        assert_eq!(body["ok"], false, "{body}");
        body["description"].as_str().unwrap().to_owned()
    }

    async fn say(&self, chat: i64, text: &str) -> i64 {
        self.ok("sendMessage", json!({"chat_id": chat, "text": text})).await["message_id"].as_i64().unwrap()
    }
}

/// The ids of updates.
fn ids(updates: &Value) -> Vec<i64> {
    updates.as_array().unwrap().iter().map(|update| update["update_id"].as_i64().unwrap()).collect()
}
