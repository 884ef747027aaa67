//! What is known of a parked socket: the note that is left with it.
//!
//! The server remembers, for as long as the connection lives, the answers it gave on it. A request that begins with all of
//! one exchange names that answer and sends only what is new; the note says how to recognise such a request. A note that does
//! not fit costs a full request, never a wrong one.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The server closes a connection after an hour; an exchange that begins now may still take a while.
pub const LIFE_MS: u64 = 55 * 60 * 1000;

/// The note. Kept as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When the connection was opened, in milliseconds since 1970.
    pub opened_at: u64,
    /// A digest of the address and the headers of the upgrade: another login or server needs another connection.
    pub peer: String,
    /// The answer that the server remembers.
    pub last: Option<Last>,
}

/// The last exchange on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The id of the answer.
    pub response: String,
    /// A digest of everything in the request but its input.
    pub rest: String,
    /// How many items its input and its output are together.
    pub items: usize,
    /// Their digest.
    pub digest: String,
}

impl Note {
    /// Reads a note; none for one that another version wrote.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The note as it is kept.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// May the connection be used for another exchange with `peer`?
    #[must_use]
    pub fn serves(&self, peer: &str, now: u64) -> bool {
        self.peer == peer && is_young(self.opened_at, now)
    }
}

/// Will the server let a connection of this age live? A clock that was set back makes it old.
#[must_use]
pub fn is_young(opened_at: u64, now: u64) -> bool {
    now.checked_sub(opened_at).is_some_and(|age| age < LIFE_MS)
}

impl Last {
    /// From which item on a request with this `rest` is news to the server. None: all of it must be sent.
    #[must_use]
    pub fn new_from(&self, rest: &str, items: &[String]) -> Option<usize> {
        let known = items.get(..self.items)?;
        (items.len() > self.items && self.rest == rest && self.digest == digest(known)).then_some(self.items)
    }
}

/// The digest of a list of items, each as its JSON. Lengths are part of it, so that no two lists are alike.
#[must_use]
pub fn digest<T: AsRef<str>>(items: &[T]) -> String {
    let mut hash = Sha256::new();
    for item in items {
        let item = item.as_ref();
        hash.update((item.len() as u64).to_le_bytes());
        hash.update(item);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn last(known: &[&str]) -> Last {
        Last { response: "resp_1".into(), rest: "r".into(), items: known.len(), digest: digest(known) }
    }

    #[test]
    fn only_what_follows_the_last_exchange_is_sent() {
        let last = last(&["a", "b"]);
        assert_eq!(last.new_from("r", &items(&["a", "b", "c", "d"])), Some(2));
        assert_eq!(last.new_from("other", &items(&["a", "b", "c"])), None, "another model, tool or effort");
        assert_eq!(last.new_from("r", &items(&["a", "B", "c"])), None, "another history");
        assert_eq!(last.new_from("r", &items(&["a"])), None, "a shorter history");
        assert_eq!(last.new_from("r", &items(&["a", "b"])), None, "nothing new");
    }

    #[test]
    fn after_a_prewarm_everything_is_new() {
        assert_eq!(last(&[]).new_from("r", &items(&["a"])), Some(0));
    }

    #[test]
    fn an_old_connection_or_another_peer_serves_no_more() {
        let note = Note { opened_at: 1000, peer: "p".into(), last: Some(last(&["a"])) };
        assert_eq!(Note::parse(&note.bytes()), Some(note.clone()));
        assert!(note.serves("p", 1000) && note.serves("p", 1000 + LIFE_MS - 1));
        assert!(!note.serves("p", 1000 + LIFE_MS) && !note.serves("p", 999) && !note.serves("q", 1000));
        assert_eq!(Note::parse(b"{}"), None);
        assert_eq!(Note::parse(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn a_continuation_is_exactly_a_longer_list(known in prop::collection::vec("[ab]{0,3}", 0..5), now in prop::collection::vec("[ab]{0,3}", 0..7)) {
            let last = Last { response: "x".into(), rest: "r".into(), items: known.len(), digest: digest(&known) };
            let continues = now.len() > known.len() && now.starts_with(&known);
            prop_assert_eq!(last.new_from("r", &now), continues.then_some(known.len()));
        }
    }
}
