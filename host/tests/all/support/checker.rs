//! Did a run keep the promises? Reads only the logs of the fakes and the store that is left, and knows nothing of how the
//! host works beyond its tables.
//!
//! | promise | what is counted |
//! |---|---|
//! | P1 no loss | receipted messages that are in no turn, turns without an end or a delivered word |
//! | P2 no silent double reply | parts delivered again without the mark; marked ones beyond the crashes |
//! | P3 no blind re-execution | lines of an effect beyond one per call |
//! | P4 no double turn | messages in more than one turn |
//! | P5 order | turns and replies of a conversation out of order |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::fake_openai::Ask;

/// What a part that may repeat begins with.
pub const MARK: &str = "(may repeat)";

/// A line of the log of those who talk to a host.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which of the test's conversations.
    pub place: String,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    Said {
        id: String,
        text: String,
    },
    /// The host promised to keep the message.
    Receipt {
        id: String,
    },
    /// A part was written for the person.
    Delivered {
        key: String,
        part: u32,
        text: String,
    },
    Acknowledged {
        key: String,
        part: u32,
    },
}

/// What is left of a run.
pub struct Evidence<'a> {
    pub database: &'a Path,
    pub client: &'a [Entry],
    pub asks: &'a [Ask],
    /// Files to which effects of this scenario append lines that are different for each call.
    pub effects: &'a [PathBuf],
    /// How often the host was killed.
    pub crashes: usize,
    /// How often one request may be made without a crash.
    pub tries: usize,
    /// The store comes from a backup: replies that were open in it were set aside.
    pub restored: bool,
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub lost: usize,
    /// Delivered again without a word.
    pub unmarked: usize,
    /// Delivered again, marked.
    pub marked: usize,
    pub reexecuted: usize,
    /// Everything that breaks a promise, those counted above included.
    pub broken: Vec<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    fn lost(&mut self, what: String) {
        self.lost += 1;
        self.broken.push(what);
    }

    fn expect(&mut self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            self.broken.push(what());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost={} unmarked={} marked={} reexecuted={}", self.lost, self.unmarked, self.marked, self.reexecuted)?;
        self.broken.iter().try_for_each(|what| write!(f, "\n  {what}"))
    }
}

/// Looks at everything.
pub fn check(evidence: &Evidence<'_>) -> Verdict {
    let store = Connection::open_with_flags(evidence.database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let journal = journal(&store, &evidence.database.with_file_name("blobs"));
    let mut verdict = Verdict::default();
    messages(&mut verdict, &store, &journal, evidence);
    turns(&mut verdict, &store, &journal);
    replies(&mut verdict, &store, evidence);
    effects(&mut verdict, &journal, evidence);
    order(&mut verdict, &journal, evidence);
    asks(&mut verdict, evidence);
    parts(&mut verdict, &store);
    verdict
}

/// An event of the journal.
struct Event {
    session: i64,
    turn: i64,
    kind: String,
    body: Value,
}

fn journal(store: &Connection, blobs: &Path) -> Vec<Event> {
    let mut rows = store.prepare("SELECT session, turn, kind, body FROM journal ORDER BY session, seq").unwrap();
    let events = rows.query_map([], |row| {
        let mut body: String = row.get(3)?;
        if let Some(hash) = body.strip_prefix("sha256:") {
            body = std::fs::read_to_string(blobs.join(&hash[..2]).join(hash)).unwrap();
        }
        let body = serde_json::from_str(&body).unwrap();
        Ok(Event { session: row.get(0)?, turn: row.get(1)?, kind: row.get(2)?, body })
    });
    events.unwrap().map(Result::unwrap).collect()
}

fn inputs(event: &Event) -> Vec<i64> {
    event.body["inputs"].as_array().into_iter().flatten().map(|input| input["inbox"].as_i64().unwrap()).collect()
}

/// Every message with a receipt is in exactly one turn, every command was done.
fn messages(verdict: &mut Verdict, store: &Connection, journal: &[Event], evidence: &Evidence<'_>) {
    let receipts: BTreeSet<&String> =
        evidence.client.iter().filter_map(|entry| if let What::Receipt { id } = &entry.what { Some(id) } else { None }).collect();
    for id in receipts {
        let row = store.query_row("SELECT id, kind, state FROM inbox WHERE external_id = ?1", [id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let Ok((inbox, kind, state)) = row else {
            verdict.lost(format!("{id} got a receipt and is not in the inbox"));
            continue;
        };
        let turns = journal.iter().filter(|event| inputs(event).contains(&inbox)).count();
        if kind == "message" && turns != 1 {
            verdict.lost(format!("{id} (i{inbox}) is input of {turns} turns"));
        }
        if !matches!(state.as_str(), "done" | "aside") {
            verdict.lost(format!("{id} (i{inbox}) is a {kind} in state {state}"));
        }
    }
}

/// Every turn ended or is parked, and a delivered row says so.
fn turns(verdict: &mut Verdict, store: &Connection, journal: &[Event]) {
    let mut last: BTreeMap<(i64, i64), (bool, &str)> = BTreeMap::new();
    for event in journal {
        let entry = last.entry((event.session, event.turn)).or_insert((false, ""));
        match event.kind.as_str() {
            "turn_ended" | "turn_parked" => *entry = (true, &event.kind),
            "turn_began" | "turn_resumed" | "inputs_joined" => {
                if entry.1 == "turn_ended" {
                    verdict.broken.push(format!("s{}.t{} went on after its end", event.session, event.turn));
                }
                *entry = (false, &event.kind);
            }
            _ => {}
        }
    }
    for ((session, turn), (closed, kind)) in last {
        if kind.is_empty() {
            continue;
        }
        if !closed {
            verdict.lost(format!("s{session}.t{turn} has no end"));
        }
        let said = "SELECT count(*) FROM outbox WHERE key LIKE ?1 AND state IN ('sent', 'aside')";
        let said: i64 = store.query_row(said, [format!("s{session}.t{turn}.%")], |row| row.get(0)).unwrap();
        if said == 0 {
            verdict.lost(format!("s{session}.t{turn} ended without a word"));
        }
    }
}

/// Every reply was delivered once, or once more with the mark.
fn replies(verdict: &mut Verdict, store: &Connection, evidence: &Evidence<'_>) {
    let mut seen: BTreeMap<(&str, u32), (usize, usize)> = BTreeMap::new();
    let mut texts: BTreeMap<(&str, u32), BTreeSet<&str>> = BTreeMap::new();
    let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in evidence.client {
        let What::Delivered { key, part, text } = &entry.what else { continue };
        let (plain, marked) = seen.entry((key, *part)).or_default();
        let bare = text.strip_prefix(MARK);
        *(if bare.is_some() { marked } else { plain }) += 1;
        *marks.entry(&entry.place).or_default() += usize::from(bare.is_some());
        texts.entry((key, *part)).or_default().insert(bare.unwrap_or(text).trim_start());
    }
    for ((key, part), (plain, marked)) in &seen {
        let crashes = evidence.crashes;
        verdict.unmarked += plain.saturating_sub(1);
        verdict.marked += marked;
        verdict.expect(*plain <= 1, || format!("{key}/{part} was delivered {plain} times without a mark"));
        verdict.expect(*marked <= crashes, || format!("{key}/{part} was delivered {marked} times with the mark after {crashes} crashes"));
    }
    // A crash finds at most one part of a conversation on its way.
    for (place, marked) in marks {
        let crashes = evidence.crashes;
        verdict.expect(marked <= crashes, || format!("{marked} marked repeats for {place:?} after {crashes} crashes"));
    }
    for ((key, part), texts) in texts {
        verdict.expect(texts.len() == 1, || format!("{key}/{part} was delivered with different texts: {texts:?}"));
    }
    let mut rows = store.prepare("SELECT key, state FROM outbox").unwrap();
    for row in rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap() {
        let (key, state) = row.unwrap();
        let delivered = seen.keys().any(|(seen, _)| *seen == key);
        if !(state == "sent" && delivered || state == "aside" && evidence.restored) {
            let how = if delivered { "delivered" } else { "not delivered" };
            verdict.lost(format!("{key} is {state} and was {how}"));
        }
    }
}

/// Every effect happened at most once; exactly once when the journal says so, and not at all when it says that.
fn effects(verdict: &mut Verdict, journal: &[Event], evidence: &Evidence<'_>) {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for path in evidence.effects {
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    for (line, count) in &lines {
        verdict.reexecuted += count - 1;
        verdict.expect(*count == 1, || format!("the effect {line:?} happened {count} times"));
    }
    let outcomes: BTreeMap<&str, Vec<&str>> =
        journal.iter().filter(|event| event.kind == "call_ended").fold(BTreeMap::new(), |mut all, event| {
            all.entry(event.body["call"].as_str().unwrap()).or_default().push(event.body["outcome"].as_str().unwrap());
            all
        });
    for call in journal.iter().flat_map(|event| event.body["calls"].as_array()).flatten().filter(|call| call.is_object()) {
        let id = call["id"].as_str().unwrap();
        let ends = outcomes.get(id).map_or(&[][..], Vec::as_slice);
        let [outcome] = ends else {
            verdict.broken.push(format!("the call {id} has {} ends", ends.len()));
            continue;
        };
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap_or_default();
        let (Some(content), "file_write") = (arguments["content"].as_str(), call["name"].as_str().unwrap()) else { continue };
        let happened = lines.get(content.trim_end()).copied().unwrap_or(0);
        let fits = match *outcome {
            "ok" => happened == 1,
            "not_started" => happened == 0,
            _ => true,
        };
        verdict.expect(fits, || format!("the call {id} ended as {outcome}, and its effect happened {happened} times"));
    }
}

/// Turns of a session take messages as they came, and replies come as their turns.
fn order(verdict: &mut Verdict, journal: &[Event], evidence: &Evidence<'_>) {
    let mut taken: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for event in journal {
        taken.entry(event.session).or_default().extend(inputs(event));
    }
    for (session, taken) in taken {
        verdict.expect(taken.is_sorted(), || format!("s{session} took messages in the order {taken:?}"));
    }
    let mut finals: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for entry in evidence.client {
        if let What::Delivered { key, .. } = &entry.what
            && let Some(turn) = turn_of(key)
        {
            finals.entry(&entry.place).or_default().push(turn);
        }
    }
    for (place, finals) in finals {
        verdict.expect(finals.is_sorted(), || format!("the replies of {place:?} came in the order {finals:?}"));
    }
}

/// Session and turn of `s4.t9.final`.
fn turn_of(key: &str) -> Option<(i64, i64)> {
    let mut words = key.split('.');
    let session = words.next()?.strip_prefix('s')?.parse().ok()?;
    let turn = words.next()?.strip_prefix('t')?.parse().ok()?;
    Some((session, turn))
}

/// No request was made more often than tries and crashes explain.
fn asks(verdict: &mut Verdict, evidence: &Evidence<'_>) {
    let mut counts: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for ask in evidence.asks {
        *counts.entry((&ask.key, ask.round)).or_default() += 1;
    }
    let most = evidence.tries + evidence.crashes;
    for ((key, round), count) in counts {
        verdict.expect(count <= most, || {
            format!("the model was asked {count} times for answer {round} to {key:?}, at most {most} are explained")
        });
    }
}

/// Nothing is still being sent in the name of a host that is gone.
fn parts(verdict: &mut Verdict, store: &Connection) {
    let old = "SELECT count(*) FROM parts WHERE state = 'sending' AND boot < (SELECT max(id) FROM boots)";
    let old: i64 = store.query_row(old, [], |row| row.get(0)).unwrap();
    verdict.expect(old == 0, || format!("{old} parts are being sent since an earlier start"));
}
