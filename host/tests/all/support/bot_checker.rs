//! Did a bot keep the promises? What people wrote and what they got is read from the fake Bot API server, what the host knows
//! from its store; the [`checker`] judges it as it judges a terminal, and the rest is Telegram's own:
//!
//! - every confirmed update of a person is in the inbox and done with, and the messages of an album are in one turn together;
//! - nothing that a stranger wrote is in the inbox, and they were told at most once for it that they are one;
//! - every message of the bot is a part of a reply or a panel, and no panel says that it still works, unless a later one says that
//!   this is out of date;
//! - parts came in order, answers and questions audibly, all others silently, and none with link previews;
//! - nothing is held, on its way, or open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use stellaclaw::fake_telegram::{Content, FakeTelegram, Message};

use super::checker::{self, Entry, MARK, Verdict, What};
use super::fake_openai::Ask;

/// What is left of a run.
pub struct Evidence<'a> {
    pub database: &'a Path,
    pub telegram: &'a FakeTelegram,
    pub asks: &'a [Ask],
    /// See [`checker::Evidence::effects`].
    pub effects: &'a [PathBuf],
    /// How often the host was killed.
    pub crashes: usize,
    /// How often the server left the host in doubt about a sending.
    pub doubts: usize,
    /// Messages that nobody is to read, by chat and number: of people who might not talk when they wrote, and pairing codes, also when
    /// they come again after a kill.
    pub unheard: &'a BTreeSet<(i64, i64)>,
}

/// Looks at everything.
pub fn check(evidence: &Evidence<'_>) -> Verdict {
    let store = Connection::open_with_flags(evidence.database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut broken = Vec::new();
    let (entries, working) = entries(&store, evidence, &mut broken);
    if working > evidence.doubts {
        broken.push(format!("{working} panels still work after {} doubts", evidence.doubts));
    }
    let mut verdict = checker::check(&checker::Evidence {
        database: evidence.database,
        client: &entries,
        asks: evidence.asks,
        effects: evidence.effects,
        crashes: evidence.crashes + evidence.doubts,
        tries: 1,
        restored: false,
    });
    albums(&store, &mut broken);
    open(&store, &mut broken);
    verdict.broken.extend(broken);
    verdict
}

/// A part as the host has planned it.
struct Planned {
    place: String,
    reply: i64,
    key: String,
    n: u32,
    /// Its text, or what stands below its first file.
    shown: String,
    is_file: bool,
    is_heard: bool,
    is_sent: bool,
    /// The message that the host knows of.
    message: Option<i64>,
    /// It was sent again.
    again: bool,
    plain: usize,
    marked: usize,
}

fn planned(store: &Connection) -> Vec<Planned> {
    let query = "SELECT address, outbox.id, key, n, parts.body, outbox.kind, parts.state, remote_id, marked FROM parts JOIN outbox ON outbox.id = outbox
        JOIN conversations ON conversations.id = conversation ORDER BY outbox.id, n";
    let mut rows = store.prepare(query).unwrap();
    let parts = rows.query_map([], |row| {
        let body: Value = serde_json::from_str(&row.get::<_, String>(4)?).unwrap();
        let shown = match body["part"].as_str().unwrap() {
            "text" => body["text"].as_str().unwrap(),
            "files" => body["files"][0]["label"].as_str().unwrap(),
            _ => "",
        };
        Ok(Planned {
            place: row.get(0)?,
            reply: row.get(1)?,
            key: row.get(2)?,
            n: row.get(3)?,
            shown: shown.trim().to_owned(),
            is_file: body["part"] != "text",
            is_heard: matches!(row.get::<_, String>(5)?.as_str(), "final" | "question"),
            is_sent: row.get::<_, String>(6)? == "sent",
            message: row.get::<_, Option<String>>(7)?.map(|id| id.parse().unwrap()),
            again: row.get(8)?,
            plain: 0,
            marked: 0,
        })
    });
    parts.unwrap().map(Result::unwrap).collect()
}

/// What people wrote and got, as the checker reads it, and how many panels say that they work.
fn entries(store: &Connection, evidence: &Evidence<'_>, broken: &mut Vec<String>) -> (Vec<Entry>, usize) {
    let telegram = evidence.telegram;
    let mut entries = receipts(store, evidence, broken);
    let mut parts = planned(store);
    let mut last: BTreeMap<String, (i64, u32)> = BTreeMap::new();
    let mut working: BTreeMap<String, usize> = BTreeMap::new();
    for chat in telegram.chats() {
        // Elsewhere a thread is what answers what.
        let has_topics = telegram.chat(chat).is_some_and(|chat| chat.is_private() || chat.is_forum());
        let mut albums = BTreeSet::new();
        let mut hints = evidence.unheard.iter().filter(|(of, _)| *of == chat).count();
        for message in telegram.messages(chat).into_iter().filter(Message::is_bots) {
            if message.album.as_ref().is_some_and(|album| !albums.insert(album.clone())) {
                continue;
            }
            let place = message.thread.filter(|_| has_topics).map_or_else(|| chat.to_string(), |thread| format!("{chat}:{thread}"));
            let text = message.edits.first().map_or(&message.text, |(_, before)| before).clone();
            let bare = text.strip_prefix(MARK);
            let is_file = message.file().is_some();
            let is_shown = |part: &Planned| part.place == place && part.is_file == is_file && part.shown == bare.unwrap_or(&text).trim();
            let before = last.entry(place.clone()).or_default();
            let Some(part) = part_of(&mut parts, is_shown, message.id, *before, bare.is_some()) else {
                if is_panel(&message) {
                    let working = working.entry(place).or_default();
                    if message.text.contains(OUT_OF_DATE) {
                        *working = 0;
                    }
                    *working += usize::from(message.text.starts_with(WORKS));
                    continue;
                }
                if message.silent && text.starts_with(HINT) && hints > 0 {
                    hints -= 1;
                } else {
                    broken.push(format!("nobody knows why {:?} is in chat {chat}", message.text));
                }
                continue;
            };
            if (part.reply, part.n) < *before {
                broken.push(format!("{}/{} came after {before:?} in {place}", part.key, part.n));
            }
            *before = (part.reply, part.n);
            if message.silent == part.is_heard {
                broken.push(format!("{}/{} was silent: {}", part.key, part.n, message.silent));
            }
            if !message.previews_off && message.content == Content::Text {
                broken.push(format!("{}/{} shows link previews", part.key, part.n));
            }
            entries.push(Entry { place, what: What::Delivered { key: part.key.clone(), part: part.n, text } });
        }
    }
    for part in parts.iter().filter(|part| part.is_sent && part.plain + part.marked == 0) {
        broken.push(format!("{}/{} counts as sent and is nowhere", part.key, part.n));
    }
    (entries, working.values().sum())
}

/// What people wrote to the agent and Telegram was told to forget.
fn receipts(store: &Connection, evidence: &Evidence<'_>, broken: &mut Vec<String>) -> Vec<Entry> {
    let mut receipts = Vec::new();
    for update in evidence.telegram.updates().into_iter().filter(|update| is_for_the_agent(&update.body)) {
        let id = update.id.to_string();
        let message = &update.body["message"];
        let place = message["chat"]["id"].as_i64().zip(message["message_id"].as_i64());
        if place.is_some_and(|place| evidence.unheard.contains(&place)) {
            if store.query_row("SELECT 1 FROM inbox WHERE external_id = ?1", [&id], |_| Ok(())).is_ok() {
                broken.push(format!("what nobody was to read was taken: {message}"));
            }
        } else if update.confirmed.is_some() {
            receipts.push(Entry { place: String::new(), what: What::Receipt { id } });
        }
    }
    receipts
}

/// The part that a message shows. Of several that say the same, the one that is known to be this message, or one that was sent again
/// and has not been seen: one that does not precede the part `before` this message, if there is such a one.
fn part_of(
    parts: &mut [Planned],
    is_shown: impl Fn(&Planned) -> bool,
    message: i64,
    before: (i64, u32),
    is_marked: bool,
) -> Option<&Planned> {
    let same = parts.iter_mut().filter(|part| is_shown(part));
    let part = same.min_by_key(|part| {
        let is_it = part.message == Some(message);
        let is_early = (part.reply, part.n) < before;
        (!is_it, part.message.is_some() && !part.again, is_early, if is_marked { part.marked } else { part.plain })
    })?;
    *(if is_marked { &mut part.marked } else { &mut part.plain }) += 1;
    Some(part)
}

/// Is it something that somebody says to the agent? Then it is in the inbox.
fn is_for_the_agent(update: &Value) -> bool {
    let message = ["message", "edited_message"].iter().find_map(|kind| update.get(*kind));
    let says = |message: &Value| ["text", "photo", "document", "voice"].iter().any(|content| message.get(*content).is_some());
    let presses = |pressed: &Value| pressed["data"].as_str().is_some_and(|data| data.starts_with('/'));
    message.is_some_and(says) || update.get("callback_query").is_some_and(presses)
}

/// What a panel begins with that shows how a turn went.
const OVER: [&str; 6] = ["Done", "Stopped", "Failed", "Set aside", "Interrupted", "Waiting for you"];
/// And one whose turn goes on.
const WORKS: &str = "Working";
/// What one says of a panel that nobody can change any more.
const OUT_OF_DATE: &str = "If a message above still says “Working”, it is out of date.";
/// What strangers are told.
const HINT: &str = "This bot is private.";

/// Does the message show what a turn does?
pub fn is_panel(message: &Message) -> bool {
    message.silent && OVER.iter().chain([&WORKS]).any(|word| message.text.starts_with(word))
}

/// The messages of an album are read together.
fn albums(store: &Connection, broken: &mut Vec<String>) {
    let query = "SELECT group_id, count(DISTINCT session || '.' || turn) FROM inbox WHERE group_id IS NOT NULL GROUP BY group_id";
    let mut rows = store.prepare(query).unwrap();
    for row in rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap() {
        let (album, turns) = row.unwrap();
        if turns != 1 {
            broken.push(format!("the album {album} is in {turns} turns"));
        }
    }
}

fn open(store: &Connection, broken: &mut Vec<String>) {
    for (what, query) in [
        ("messages are open", "SELECT count(*) FROM inbox WHERE state IN ('new', 'taken')"),
        ("messages are held", "SELECT count(*) FROM inbox WHERE held = 1"),
        ("parts are on their way", "SELECT count(*) FROM parts WHERE state = 'sending'"),
        ("panels are open", "SELECT count(*) FROM panels"),
    ] {
        let count: i64 = store.query_row(query, [], |row| row.get(0)).unwrap();
        if count > 0 {
            broken.push(format!("{count} {what}"));
        }
    }
}

/// The files below a place, or itself, in which one of `secrets` stands.
pub fn leaks(place: &Path, secrets: &[&str]) -> Vec<String> {
    let holds = |bytes: &[u8]| secrets.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    if place.is_dir() {
        let entries = std::fs::read_dir(place).unwrap();
        entries.flat_map(|entry| leaks(&entry.unwrap().path(), secrets)).collect()
    } else if place.is_file() && holds(&std::fs::read(place).unwrap()) {
        vec![format!("a secret is in {}", place.display())]
    } else {
        Vec::new()
    }
}
