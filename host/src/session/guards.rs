//! Loop guards: the same call failing again and again.
//!
//! Counts are part of the state and reset when a person joins; what follows from a count is decided here.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::limits;

/// Which calls count as the same: name and arguments, whatever the white space of the JSON.
#[must_use]
pub fn key(name: &str, arguments: &str) -> String {
    let canonical = serde_json::from_str::<Value>(arguments).map_or_else(|_| arguments.to_owned(), |value| value.to_string());
    let digest = Sha256::new().chain_update(name).chain_update([0]).chain_update(canonical).finalize();
    digest.iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What the model is told when the same call has now failed `failures` times.
#[must_use]
pub fn remark(failures: u32) -> Option<String> {
    (failures == limits::REPEATS_REMARKED).then(|| {
        format!(
            "[This exact call has now failed {failures} times. Repeating it unchanged will not help: change the arguments, try another \
             way, or tell the person what is in the way. After {} failures the turn is ended.]",
            limits::REPEATS_ENDING
        )
    })
}

/// Is it time to end the turn?
#[must_use]
pub fn ends_turn(failures: u32) -> bool {
    failures >= limits::REPEATS_ENDING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_the_same_whatever_their_white_space() {
        assert_eq!(key("ls", r#"{"path":"a","deep":true}"#), key("ls", "{ \"path\": \"a\", \"deep\": true }"));
        assert_ne!(key("ls", r#"{"path":"a"}"#), key("ls", r#"{"path":"b"}"#));
        assert_ne!(key("ls", "{}"), key("lsx", "{}"));
        assert_eq!(key("run", "not json"), key("run", "not json"));
    }

    #[test]
    fn the_third_failure_is_remarked_and_the_fifth_ends() {
        let remarked: Vec<u32> = (0..8).filter(|failures| remark(*failures).is_some()).collect();
        assert_eq!(remarked, [3]);
        assert_eq!((0..8).find(|failures| ends_turn(*failures)), Some(5));
    }
}
