//! Newtype ids. Which id is meant is never left to a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A row id of the store.
macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix).and_then(|digits| digits.parse().ok()).map(Self).ok_or_else(|| ParseIdError(text.to_owned()))
            }
        }
    };
}

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: {0:?}")]
pub struct ParseIdError(pub String);

row_id!(/// A run of the host, from start to exit.
    BootId, "b");
row_id!(/// A chat: one channel, one address, one workspace.
    ConversationId, "c");
row_id!(/// A model loop with a history, within a conversation.
    SessionId, "s");
row_id!(/// Something that arrived.
    InboxId, "i");
row_id!(/// Something to deliver.
    OutboxId, "o");
row_id!(/// A turn, counted within its session from 1.
    TurnId, "t");

/// A turn with its session, which alone names it for ever: `s4.t9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TurnKey {
    pub session: SessionId,
    pub turn: TurnId,
}

impl fmt::Display for TurnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.turn)
    }
}

impl FromStr for TurnKey {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (session, turn) = text.split_once('.').ok_or_else(|| ParseIdError(text.to_owned()))?;
        Ok(Self { session: session.parse()?, turn: turn.parse()? })
    }
}

/// A tool call: `<session>.<turn>.<step>.<index>`, for instance `s4.t9.2.0`. Derived, hence the same after a restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub String);

impl CallId {
    /// The `index`-th call of the answer that ended `step` of a turn.
    #[must_use]
    pub fn derive(session: SessionId, turn: TurnId, step: u32, index: usize) -> Self {
        Self(format!("{session}.{turn}.{step}.{index}"))
    }

    /// The turn and step it belongs to, also of what is derived alike: a model request is named `<session>.<turn>.<step>`.
    #[must_use]
    pub fn place(name: &str) -> Option<(TurnKey, u32)> {
        let mut parts = name.splitn(4, '.');
        let mut part = || parts.next();
        let (session, turn, step) = (part()?, part()?, part()?);
        Some((TurnKey { session: session.parse().ok()?, turn: turn.parse().ok()? }, step.parse().ok()?))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_with_their_letter_and_parse_back() {
        assert_eq!(SessionId(4).to_string(), "s4");
        assert_eq!("s4".parse(), Ok(SessionId(4)));
        assert_eq!("c4".parse::<SessionId>(), Err(ParseIdError("c4".into())));
        let key = TurnKey { session: SessionId(4), turn: TurnId(9) };
        assert_eq!((key.to_string().as_str(), "s4.t9".parse()), ("s4.t9", Ok(key)));
        assert!(["s4", "s4.t", "t9.s4", "s4.t9.2"].iter().all(|text| text.parse::<TurnKey>().is_err()));
        assert_eq!(CallId::derive(SessionId(4), TurnId(9), 2, 0).0, "s4.t9.2.0");
        assert_eq!((CallId::place("s4.t9.2.0"), CallId::place("s4.t9.2")), (Some((key, 2)), Some((key, 2))));
        assert_eq!((CallId::place("s4.t9"), CallId::place("cli.1.1.0")), (None, None));
    }
}
