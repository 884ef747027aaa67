//! A bot on a Telegram that is on this machine, with the offline provider or a fake vendor behind it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use rusqlite::{Connection, OpenFlags};
use stellaclaw::fake_telegram::{FakeTelegram, Message, Options, Post};

use super::bot_checker::{self, Evidence};
use super::checker::Verdict;
use super::fake_openai::{API_KEY, FakeOpenAi, Script};
use super::host::{Host, Work};

/// The stage of a test that needs Telegram. Ann owns the bot.
pub struct Bot {
    pub work: Work,
    pub telegram: FakeTelegram,
    pub ann: i64,
    pub vendor: Option<FakeOpenAi>,
    /// See [`Evidence::unheard`].
    unheard: BTreeSet<(i64, i64)>,
    /// The store, while its file is the same: opening it takes longer than looking.
    store: Mutex<Option<(u64, Connection)>>,
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

    /// The same, and more below `[channels.telegram]`.
    pub async fn scripted_with(script: Script, more: &str) -> Self {
        Self::made(Some(script), more).await
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
        // Two models: one can be changed for the other.
        let models = vendor.as_ref().map_or_else(String::new, |vendor| {
            let model = |alias: &str| {
                format!(
                    "[models.{alias}]\nprovider = \"provider-openrouter\"\nmodel = \"fake-{alias}\"\nbase_url = \"{}\"\napi_key = {{ env = \"FAKE_KEY\" }}\n",
                    vendor.base_url()
                )
            };
            format!("default_model = \"main\"\n{}{}", model("main"), model("other"))
        });
        let settings = format!(
            "{models}[channels.telegram]\ntoken = {{ env = \"FAKE_TOKEN\" }}\napi_base_url = \"{}\"\nowners = [{ann}]\n",
            telegram.api_base_url()
        );
        work.configure(&format!("{settings}{more}"));
        work.set("FAKE_TOKEN", telegram.token());
        work.set("FAKE_KEY", API_KEY);
        Self { work, telegram, ann, vendor, unheard: BTreeSet::new(), store: Mutex::default(), settings }
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

    /// Somebody who may not talk writes to the bot, or sends it a pairing code.
    pub fn write_unheard(&mut self, person: i64, text: &str) {
        let message = self.telegram.write(person, person, Post::text(text)).unwrap();
        self.unheard.insert((person, message));
    }

    /// Ann writes to the bot, and it says this.
    pub async fn exchange(&self, text: &str, answer: &str) -> Message {
        self.write(text);
        self.telegram.sent(self.ann, answer).await.unwrap()
    }

    /// The code that a verb shows whoever is to be the first owner.
    pub fn shown_code(said: &str) -> Option<String> {
        let letters = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        let is_code = |word: &&str| word.split_once('-').is_some_and(|(first, second)| letters(first) && letters(second));
        said.split_whitespace().find(is_code).map(str::to_owned)
    }

    /// The first column of what a query finds in the store, as text.
    pub fn rows(&self, query: &str) -> Vec<String> {
        let file = std::fs::metadata(self.work.database()).unwrap().ino();
        let mut known = self.store.lock().unwrap();
        let (_, store) = match known.take().filter(|(of, _)| *of == file) {
            Some(open) => known.insert(open),
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let store = Connection::open_with_flags(self.work.database(), flags).unwrap();
                store.busy_timeout(super::HANGS).unwrap();
                known.insert((file, store))
            }
        };
        let mut rows = store.prepare_cached(query).unwrap();
        let found = rows.query_map([], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
        let text = |value| match value {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        found.map(|value| text(value.unwrap())).collect()
    }

    /// Is everything that people did taken, answered and delivered?
    pub fn is_settled(&self) -> bool {
        let open =
            "SELECT (SELECT count(*) FROM inbox WHERE state IN ('new', 'taken')) + (SELECT count(*) FROM outbox WHERE state = 'pending')
            + (SELECT count(*) FROM panels)";
        self.telegram.waiting() == 0 && self.rows(open) == ["0"]
    }

    /// Waits until it is.
    pub async fn settle(&self) {
        self.telegram.wait("everything to be answered", |_| self.is_settled().then_some(())).await.unwrap();
    }

    /// What the checker says of it all; `crashes`: how often the host was killed, `doubts`: see [`Evidence::doubts`].
    pub fn judge(&self, effects: &[PathBuf], crashes: usize, doubts: usize) -> Verdict {
        let mut verdict = bot_checker::check(&Evidence {
            database: &self.work.database(),
            telegram: &self.telegram,
            asks: &self.vendor.as_ref().map_or_else(Vec::new, FakeOpenAi::asks),
            effects,
            crashes,
            doubts,
            unheard: &self.unheard,
        });
        verdict.broken.extend(self.leaks());
        verdict
    }

    /// Files of the run with a secret in them: the store, workspaces, the logs of the host and of those it talked to.
    pub fn leaks(&self) -> Vec<String> {
        let kept = ["state.db", "state.db-wal", "blobs", "logs", "rundir", "conversations"].map(|name| self.work.workdir().join(name));
        let logs = std::fs::read_dir(self.work.folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let token = self.telegram.token();
        let secrets = [token, token.split_once(':').unwrap().1, API_KEY];
        kept.into_iter().chain(logs).flat_map(|place| bot_checker::leaks(&place, &secrets)).collect()
    }
}
