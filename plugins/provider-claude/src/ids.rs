//! Names and ids of calls in the vendor's alphabet.
//!
//! A conversation may hold calls that other vendors' models made: their ids have other characters, and repeat from answer
//! to answer. Here every call gets an id that is valid and that no other call of the request has. The same conversation
//! gives the same ids, and a longer one begins with those of the shorter, so that the prompt cache serves it.

use std::collections::HashMap;

/// What the vendor takes of a tool's name; ids are kept to the same length.
const CHARS: usize = 64;

/// The ids of one request, given out from its beginning to its end.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// What was given out, and the number that is tried next when it comes again.
    given: HashMap<String, u32>,
    /// The newest call under each id of the conversation.
    newest: HashMap<String, String>,
}

impl Ids {
    /// The id of a call that comes next in the conversation.
    pub(crate) fn call(&mut self, id: &str) -> String {
        let first = valid(id, "call");
        let mut next = self.given.get(&first).copied().unwrap_or(1);
        let mut given = first.clone();
        while self.given.contains_key(&given) {
            next += 1;
            given = format!("{first}_{next}");
        }
        self.given.insert(first, next);
        self.given.insert(given.clone(), 1);
        self.newest.insert(id.to_owned(), given.clone());
        given
    }

    /// The id of the call that an answer is for.
    pub(crate) fn answer(&self, id: &str) -> String {
        self.newest.get(id).cloned().unwrap_or_else(|| valid(id, "call"))
    }
}

/// The name of a tool. One that a model made up may be anything.
pub(crate) fn name(name: &str) -> String {
    valid(name, "unknown")
}

/// `text` when it is valid; otherwise what is left of it, and a mark that tells it from others of which the same is left.
fn valid(text: &str, otherwise: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.len() <= CHARS && text.chars().all(allowed) {
        return text.to_owned();
    }
    if text.is_empty() {
        return otherwise.to_owned();
    }
    let left: String = text.chars().take(CHARS / 2).map(|c| if allowed(c) { c } else { '_' }).collect();
    format!("{left}_{:016x}", fnv(text.as_bytes()))
}

/// FNV-1a: the same on every machine and in every build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_id_stays_and_its_answer_finds_it() {
        let mut ids = Ids::default();
        assert_eq!(ids.call("toolu_01-A"), "toolu_01-A");
        assert_eq!(ids.answer("toolu_01-A"), "toolu_01-A");
    }

    #[test]
    fn other_alphabets_are_mapped_one_to_one() {
        let mut ids = Ids::default();
        let all: Vec<String> = ["functions.ls:0", "functions.ls;0", "é", &"x".repeat(65), ""].map(|id| ids.call(id)).into();
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        for id in &all {
            assert!((1..=CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{id}");
        }
        assert_eq!(ids.answer("functions.ls:0"), all[0]);
        assert_eq!(all[0], "functions_ls_0_b1980e472fe977f7");
    }

    #[test]
    fn an_id_that_comes_again_is_another_call() {
        let mut ids = Ids::default();
        assert_eq!((ids.call("call_0"), ids.answer("call_0")), ("call_0".into(), "call_0".into()));
        assert_eq!((ids.call("call_0_2"), ids.call("call_0")), ("call_0_2".into(), "call_0_3".into()));
        assert_eq!(ids.answer("call_0"), "call_0_3");
    }

    #[test]
    fn a_name_is_never_empty() {
        assert_eq!((name("ls"), name("")), ("ls".into(), "unknown".into()));
        assert!(name("no such tool").starts_with("no_such_tool_"));
    }
}
