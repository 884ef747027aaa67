//! A bot on a Telegram that is on this machine, with the offline provider or a fake vendor behind it.

use stellaclaw::fake_telegram::{FakeTelegram, Message, Options, Post};

use super::fake_openai::{API_KEY, FakeOpenAi, Script};
use super::host::{Host, Work};

/// The stage of a test that needs Telegram. Ann owns the bot.
pub struct Bot {
    pub work: Work,
    pub telegram: FakeTelegram,
    pub ann: i64,
    pub vendor: Option<FakeOpenAi>,
    /// Everything of its configuration that tests do not change.
    settings: String,
}

impl Bot {
    /// With the offline provider, which acts on a small grammar: `ls`, `read FILE`, `write FILE: TEXT`.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// The same, and more below `[channels.telegram]`.
    pub async fn with(more: &str) -> Self {
        Self::made(None, more).await
    }

    /// With a fake vendor that plays `script`.
    pub async fn scripted(script: Script) -> Self {
        Self::made(Some(script), "").await
    }

    async fn made(script: Option<Script>, more: &str) -> Self {
        let mut work = Work::new();
        let telegram =
            FakeTelegram::start(Options { log: Some(work.folder().join("telegram.jsonl")), ..Options::default() }).await.unwrap();
        let ann = telegram.new_user("Ann");
        let vendor = match script {
            Some(script) => Some(FakeOpenAi::start(work.folder(), script).await),
            None => None,
        };
        let model = vendor.as_ref().map_or_else(String::new, |vendor| {
            format!(
                "[models.main]\nprovider = \"provider-openrouter\"\nmodel = \"fake-main\"\nbase_url = \"{}\"\napi_key = {{ env = \"FAKE_KEY\" }}\n",
                vendor.base_url()
            )
        });
        let settings = format!(
            "{model}[channels.telegram]\ntoken = {{ env = \"FAKE_TOKEN\" }}\napi_base_url = \"{}\"\nowners = [{ann}]\n",
            telegram.api_base_url()
        );
        work.configure(&format!("{settings}{more}"));
        work.set("FAKE_TOKEN", telegram.token());
        work.set("FAKE_KEY", API_KEY);
        Self { work, telegram, ann, vendor, settings }
    }

    /// Writes the configuration anew, with this below `[channels.telegram]`.
    pub fn configure(&self, more: &str) {
        self.work.configure(&format!("{}{more}", self.settings));
    }

    /// Takes everybody off the lists.
    pub fn nobody(&self) {
        self.work.configure(&self.settings.replace(&format!("owners = [{}]", self.ann), ""));
    }

    pub async fn host(&self) -> Host {
        self.work.host().await
    }

    /// Ann writes to the bot.
    pub fn write(&self, text: &str) -> i64 {
        self.telegram.write(self.ann, self.ann, Post::text(text)).unwrap()
    }

    /// Ann writes to the bot, and it says this.
    pub async fn exchange(&self, text: &str, answer: &str) -> Message {
        self.write(text);
        self.telegram.sent(self.ann, answer).await.unwrap()
    }
}
