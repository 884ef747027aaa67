//! A bot over a long time: many chats, a server and a network that fail, and a host that is killed. What it left behind is judged by
//! the checker of the tests. Which people do what, which calls fail and when the host dies follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use stellaclaw::clock;
use stellaclaw::fake_telegram::{ChatKind, FakeTelegram, Odds, Options, Post, png};
use tokio::runtime::Runtime;

use crate::bot_checker::{self, Evidence};
use crate::checker::Verdict;
use crate::measure::shown;

/// Unless the command line says otherwise.
const SECONDS: u64 = 600;
const SEED: u64 = 1;

const PRIVATE: usize = 30;
const GROUPS: usize = 15;
/// Of one more group. Together with the others there are 50 conversations.
const TOPICS: usize = 5;
/// Between two things that people do.
const PAUSE_MS: std::ops::Range<u64> = 20..180;
/// Between two kills.
const KILL_MS: std::ops::Range<u64> = 4_000..16_000;
/// Nothing is done while so many updates are not taken.
const WAITING: usize = 200;
/// What everything that is open may take in the end, the longest timeout of a call included.
const SETTLES: Duration = Duration::from_secs(300);

const ODDS: Odds = Odds { too_many: 0.01, page: 0.005, lost_before: 0.005, lost_after: 0.01, cut: 0.01, delay: 0.03, hang: 0.0003 };

/// A chat, its topic, and who writes there.
#[derive(Clone)]
struct Place {
    chat: i64,
    topic: Option<i64>,
    person: i64,
    /// What they wrote last.
    last: Option<i64>,
}

/// `soak [SECONDS] [SEED]`
pub fn soak(runtime: &Runtime, numbers: &[u64]) {
    let seconds = numbers.first().copied().unwrap_or(SECONDS);
    let seed = numbers.get(1).copied().unwrap_or(SEED);
    runtime.block_on(async {
        let mut soak = Soak::new(seed).await;
        let rss_start = soak.host.rss_kib();
        soak.run(Duration::from_secs(seconds)).await;
        soak.telegram.clear_faults();
        let settled = soak.settle().await;
        let rss_end = soak.host.rss_kib();
        soak.report(seconds, seed, settled, (rss_start, rss_end));
    });
}

struct Soak {
    folder: tempfile::TempDir,
    telegram: FakeTelegram,
    places: Vec<Place>,
    random: u64,
    host: Host,
    done: BTreeMap<&'static str, u64>,
    /// When the host was killed, in milliseconds since 1970.
    kills: Vec<i64>,
}

/// An answer to something that was said.
struct Answer {
    /// From the first delivery of the update until its first message.
    took: Duration,
    is_to_album: bool,
    /// Meanwhile the host was killed, or a call of the chat or a poll failed.
    is_disturbed: bool,
}

impl Soak {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let telegram = FakeTelegram::start(Options::default()).await.expect("a server");
        let people: Vec<i64> = (0..PRIVATE).map(|n| telegram.new_user(&format!("Person {n}"))).collect();
        let place = |chat, topic, person| Place { chat, topic, person, last: None };
        let mut places: Vec<Place> = people.iter().map(|person| place(*person, None, *person)).collect();
        let mut groups = Vec::new();
        for n in 0..GROUPS {
            let members = [people[n], people[n + 1]];
            let group = telegram.new_group(ChatKind::Supergroup { forum: false }, &format!("Group {n}"), &members).expect("a group");
            groups.push(group);
            places.push(place(group, None, members[n % 2]));
        }
        let forum = telegram.new_group(ChatKind::Supergroup { forum: true }, "Forum", &people).expect("a group");
        groups.push(forum);
        for (n, person) in people.iter().enumerate().take(TOPICS) {
            let topic = telegram.new_topic(forum, *person, &format!("Topic {n}")).expect("a topic");
            places.push(place(forum, Some(topic), *person));
        }
        let config = format!(
            "version = \"0.5\"\n[channels.telegram]\ntoken = {{ env = \"SOAK_TOKEN\" }}\napi_base_url = \"{}\"\nowners = [{}]\npeople = {:?}\ngroups = {groups:?}\n",
            telegram.api_base_url(),
            people[0],
            &people[1..],
        );
        fs::write(folder.path().join("config.toml"), config).expect("a configuration");
        // Without faults until it has compiled everything; what that takes is not what a host weighs.
        let mut host = Host::start(folder.path(), telegram.token());
        for said in 1..=2 {
            telegram.write(people[0], people[0], Post::text(&format!("hello {said}"))).expect("a message");
            let began = Instant::now();
            while telegram.bot_messages(people[0]).len() < said {
                assert!(began.elapsed() < SETTLES, "the host does not answer");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if said == 1 {
                host.kill();
                host = Host::start(folder.path(), telegram.token());
            }
        }
        telegram.random_faults(seed, ODDS);
        Self { folder, telegram, places, random: seed | 1, host, done: BTreeMap::new(), kills: Vec::new() }
    }

    /// A number in a range (xorshift).
    fn draw(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        range.start + self.random % (range.end - range.start)
    }

    async fn run(&mut self, time: Duration) {
        let began = Instant::now();
        let mut kill = Duration::from_millis(self.draw(KILL_MS));
        let mut number = 0;
        while began.elapsed() < time {
            if began.elapsed() > kill {
                self.host.kill();
                self.host = Host::start(self.folder.path(), self.telegram.token());
                self.kills.push(clock::now().0);
                kill = began.elapsed() + Duration::from_millis(self.draw(KILL_MS));
            }
            if self.telegram.waiting() < WAITING {
                number += 1;
                self.act(number);
            }
            let pause = self.draw(PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Somebody does something. What cannot be done just now is not done.
    fn act(&mut self, number: u64) {
        let at = usize::try_from(self.draw(0..self.places.len() as u64)).expect("an index");
        let (place, dice) = (self.places[at].clone(), self.draw(0..100));
        let text = |text: &str| if place.chat < 0 { format!("@stella_claw_bot {text}") } else { text.to_owned() };
        let post = |post: Post| if let Some(topic) = place.topic { post.in_topic(topic) } else { post };
        let write = |said: &str| self.telegram.write(place.chat, place.person, post(Post::text(&text(said)))).ok();
        let (what, done) = match dice {
            0..35 => ("messages", write(&format!("append effects.txt: line {number}"))),
            35..55 => ("messages", write("read welcome.md")),
            55..65 => ("messages", write(&format!("hello {number}"))),
            65..75 => {
                let pictures = [1, 2].map(|n| post(Post::photo(png(20, 20)).caption(&text(&format!("picture {n} of {number}")))));
                ("albums", self.telegram.write_album(place.chat, place.person, pictures.into()).ok().and_then(|all| all.first().copied()))
            }
            75..80 => {
                let changed = |message| self.telegram.edit(place.chat, message, &text(&format!("hello again {number}"))).ok();
                ("edits", place.last.and_then(changed).and(place.last))
            }
            80..86 => ("commands", write("/status")),
            86..92 => ("commands", write("/model")),
            92..96 => ("commands", write("/cancel")),
            _ => {
                let messages = self.telegram.bot_messages(place.chat);
                let shown = messages.iter().rfind(|message| message.keyboard.is_some() && message.thread == place.topic);
                let press = |id| self.telegram.press(place.chat, place.person, id, "/model offline").ok();
                ("buttons", shown.and_then(|message| press(message.id)).and(place.last))
            }
        };
        let Some(message) = done else { return };
        *self.done.entry(what).or_default() += 1;
        // Only a text can be changed to another one.
        self.places[at].last = (what == "messages").then_some(message);
    }

    fn store(&self) -> Connection {
        let store = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a store");
        store.busy_timeout(Duration::from_secs(10)).expect("a timeout");
        store
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("work/state.db")
    }

    /// Waits until everything is answered. False: something is not.
    async fn settle(&self) -> bool {
        let open =
            "SELECT (SELECT count(*) FROM inbox WHERE state IN ('new', 'taken')) + (SELECT count(*) FROM outbox WHERE state = 'pending')
            + (SELECT count(*) FROM panels)";
        let began = Instant::now();
        while began.elapsed() < SETTLES {
            let left: i64 = self.store().query_row(open, [], |row| row.get(0)).expect("a count");
            if left == 0 && self.telegram.waiting() == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// As far as there is one for what was said.
    fn answers(&self) -> Vec<Answer> {
        let delivered: BTreeMap<String, i64> =
            self.telegram.updates().into_iter().filter_map(|update| Some((update.id.to_string(), *update.delivered.first()?))).collect();
        let faults: Vec<_> = self.telegram.calls_since(0).into_iter().filter(|call| call.fault.is_some()).collect();
        let store = self.store();
        let query = "SELECT max(inbox.external_id), conversations.address, parts.remote_id, max(inbox.group_id) FROM inbox
            JOIN outbox ON outbox.key = 's' || inbox.session || '.t' || inbox.turn || '.final'
            JOIN parts ON parts.outbox = outbox.id AND parts.n = 0
            JOIN conversations ON conversations.id = inbox.conversation
            WHERE inbox.kind = 'message' AND parts.remote_id IS NOT NULL GROUP BY outbox.id";
        let mut rows = store.prepare(query).expect("a query");
        let rows = rows.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(3)?.is_some()))
        });
        let answer = |(update, address, message, is_to_album): (String, String, String, bool)| {
            let chat = address.split(':').next()?.parse().ok()?;
            let (asked, said) = (*delivered.get(&update)?, self.telegram.message(chat, message.parse().ok()?)?.at);
            let is_meanwhile = |at: i64| (asked..=said).contains(&at);
            let is_disturbed = self.kills.iter().any(|at| is_meanwhile(*at))
                || faults.iter().any(|call| is_meanwhile(call.at) && call.chat.is_none_or(|of| of == chat));
            Some(Answer { took: Duration::from_millis(u64::try_from(said - asked).unwrap_or(0)), is_to_album, is_disturbed })
        };
        rows.expect("rows").filter_map(|row| answer(row.ok()?)).collect()
    }

    /// Replies of which a part was sent twice without anybody knowing whether it arrived. A third time is one too many.
    fn given_up(&self) -> Vec<String> {
        let store = self.store();
        let query = "SELECT key FROM outbox WHERE state = 'failed'
            AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.outbox = outbox.id AND NOT (parts.state = 'refused' AND marked = 1))";
        let mut rows = store.prepare(query).expect("a query");
        let keys = rows.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        keys.map(|key| key.expect("a key")).collect()
    }

    fn verdict(&self, given_up: &[String]) -> Verdict {
        let calls = self.telegram.calls_since(0);
        let doubts = calls.iter().filter(|call| call.fault.is_some() && call.method.starts_with("send")).count();
        let workspaces = self.folder.path().join("work/conversations");
        let effects: Vec<_> =
            fs::read_dir(workspaces).expect("workspaces").map(|entry| entry.expect("an entry").path().join("effects.txt")).collect();
        let mut verdict = bot_checker::check(&Evidence {
            database: &self.database(),
            telegram: &self.telegram,
            asks: &[],
            effects: &effects,
            // And the one before it began.
            crashes: self.kills.len() + 1,
            doubts,
            unheard: &BTreeSet::new(),
        });
        let is_given_up = |line: &String| {
            given_up.iter().any(|key| {
                let turn = key.rsplit_once('.').map_or(key.as_str(), |(turn, _)| turn);
                line.starts_with(&format!("{key} is failed")) || line.starts_with(&format!("{turn} ended without"))
            })
        };
        let all = verdict.broken.len();
        verdict.broken.retain(|line| !is_given_up(line));
        verdict.lost -= all - verdict.broken.len();
        let token = self.telegram.token();
        for name in ["state.db", "state.db-wal", "blobs", "logs", "conversations", "../host.log"] {
            verdict.broken.extend(bot_checker::leaks(&self.folder.path().join("work").join(name), &[token]));
        }
        verdict
    }

    fn report(&self, seconds: u64, seed: u64, settled: bool, (rss_start, rss_end): (u64, u64)) {
        let given_up = self.given_up();
        let (verdict, answers) = (self.verdict(&given_up), self.answers());
        let faults = self.telegram.calls_since(0).iter().filter(|call| call.fault.is_some()).count();
        let done: Vec<_> = self.done.iter().map(|(what, count)| format!("{count} {what}")).collect();
        println!("soak of {seconds} s, seed {seed}, {} conversations", self.places.len());
        println!("  done by people                      {}", done.join(", "));
        println!("  kills of the host, faults of the server  {}, {faults}", self.kills.len());
        println!("  lost, unmarked duplicates           {}, {} (bar 0, 0)", verdict.lost, verdict.unmarked);
        println!("  effects done twice                  {} (bar 0)", verdict.reexecuted);
        println!("  marked repeats                      {}", verdict.marked);
        println!("  given up after an unknown repeat    {}", given_up.len());
        println!("  from update to answer, p50, p99     {}", percentiles(&answers, |_| true));
        println!("  … to text, without kill and fault   {}", percentiles(&answers, |answer| !answer.is_disturbed && !answer.is_to_album));
        println!("  … to an album, likewise             {}", percentiles(&answers, |answer| !answer.is_disturbed && answer.is_to_album));
        println!("  RSS of the first and the last host  {:.1}, {:.1} MB", rss_start as f64 / 1024.0, rss_end as f64 / 1024.0);
        for line in &verdict.broken {
            println!("  {line}");
        }
        assert!(settled, "something is still open");
        assert!(verdict.is_good(), "{} promises were broken", verdict.broken.len());
    }
}

/// The median and the 99th of a hundred of some answers' times.
fn percentiles(answers: &[Answer], counts: impl Fn(&Answer) -> bool) -> String {
    let mut times: Vec<_> = answers.iter().filter(|answer| counts(answer)).map(|answer| answer.took).collect();
    times.sort_unstable();
    let at =
        |percent: usize| shown(times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default());
    format!("{}, {} (of {})", at(50), at(99), times.len())
}

/// A host, until it is killed: by being dropped.
struct Host(Child);

impl Host {
    fn start(folder: &Path, token: &str) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("host.log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_stellaclaw"))
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("SOAK_TOKEN", token), ("RUST_LOG", "warn")])
            .env("HOME", folder)
            .arg("--config")
            .arg(folder.join("config.toml"))
            .arg("--workdir")
            .arg(folder.join("work"))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary");
        Self(child)
    }

    fn kill(&mut self) {
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<_> = self.0.wait();
    }

    fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a running host");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}
