//! What goes over `host.sock`: one JSON object per line, in both directions.
//!
//! A client says hello once and belongs to one conversation from then on. A message is accepted when its receipt comes,
//! after the commit; a client that did not get one sends it again with the same id, which is then accepted once. A
//! delivered part counts as sent when the client, having written it, acknowledged its key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::channels::telegram::Fate;
use crate::chat::FailureKind;
use crate::health::Part;
use crate::operator::{Deed, Done};
use crate::plugins::{Inspection, Mount, PluginStatus};
use crate::store::Person;

/// Spoken by both sides; another one is refused.
pub const PROTOCOL: u32 = 1;

/// From a client to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToHost {
    Hello {
        protocol: u32,
        version: String,
        place: Place,
        #[serde(default)]
        mounts: Vec<Mount>,
    },
    /// Instead of a hello: answer this, and end.
    Look { protocol: u32, version: String, at: Look },
    /// Instead of a hello, too: do this, say what came of it, and end.
    Do { protocol: u32, version: String, deed: Deed },
    /// Instead of a hello, too: who may talk to the bot. `bot`: its channel's name, as the client's configuration has it; a host
    /// that serves another one refuses.
    Access { protocol: u32, version: String, wish: Wish, bot: Option<String> },
    /// Instead of a hello, too: bring this to an address of a channel, and say what came of it.
    Send { protocol: u32, version: String, errand: Errand },
    /// A message or command of the person. `id` is made by the client and unique for ever.
    Say { id: String, text: String },
    /// The part was written.
    Ack { key: String, part: u32 },
    /// Answer with `settled` as soon as nothing is going on in the conversation.
    Settle,
}

/// What the operator wants about who may talk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// A code for the first owner; answered again when somebody has used it.
    Pair,
    /// The number of a person or group.
    Allow(i64),
    Ignore(i64),
    /// Forget what was decided.
    Forget(i64),
}

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// The channel and the address in it: `telegram:123` or `telegram:-100123:7`.
    pub to: String,
    /// Markdown.
    pub text: String,
    /// Goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Without a sound.
    #[serde(default)]
    pub silent: bool,
}

/// Which conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The local user's conversation, or another one of theirs by name.
    Chat { name: Option<String> },
    /// A conversation of its own for one question, closed after its answer.
    Ask { id: String },
}

/// What the host is asked about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Every component that it found, and whether it serves it.
    Plugins,
    /// One of them.
    Plugin { name: String },
    /// How its parts are.
    Health,
}

/// From the host to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    Welcome {
        conversation: String,
        workspace: PathBuf,
        model: String,
        provider: String,
        /// The conversation was made by this hello.
        created: bool,
        /// Components that are still being compiled.
        preparing: usize,
    },
    /// There will be no conversation; the connection ends.
    Refused {
        reason: String,
    },
    Receipt {
        id: String,
    },
    /// The message was not accepted; nothing of it is kept.
    Rejected {
        id: String,
        reason: String,
    },
    /// Text of the answer that is being written: appended to what came before.
    Text {
        append: String,
    },
    /// The answer that was being written broke off and is void.
    Discard,
    /// The turn cannot go on for now; nothing of it is lost.
    HeldUp {
        reason: String,
    },
    /// The older part of the history is being summarised.
    Summarising,
    /// Another model is asked than the conversation's.
    StandIn {
        model: String,
        instead_of: String,
    },
    /// A tool has begun.
    ToolStarted {
        call: String,
        name: String,
        argument: String,
    },
    ToolEnded {
        call: String,
        name: String,
        ok: bool,
        duration_ms: u64,
        summary: Option<String>,
    },
    /// A part to write and acknowledge.
    Deliver {
        key: String,
        part: u32,
        kind: Kind,
        text: String,
    },
    Settled {
        state: Settled,
        /// Why the turn waits, when the model did not answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<FailureKind>,
    },
    /// See [`Look::Plugins`].
    Plugins {
        plugins: Vec<PluginStatus>,
    },
    /// See [`Look::Plugin`]; none when there is no such plugin.
    Plugin {
        inspection: Option<Box<Inspection>>,
    },
    /// See [`Look::Health`].
    Health {
        parts: Vec<Part>,
    },
    /// See [`Wish::Pair`]: a code, for how long it can be used, and the number of the bot that it is for.
    Code {
        code: String,
        seconds: u64,
        bot: String,
    },
    /// See [`ToHost::Access`]; none: nothing was known about them. The bot may have lost its last owner by it.
    Decided {
        person: Option<Person>,
        is_ownerless: bool,
    },
    /// See [`ToHost::Send`].
    Sent {
        fate: Fate,
    },
    /// See [`ToHost::Do`].
    Did {
        done: Done,
    },
    /// The host stops; another one can be started.
    Bye,
}

/// What a delivered part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The answer of a turn.
    Final,
    /// Something the host says: a command's answer, a failure.
    Notice,
    /// A question that waits for an answer.
    Question,
    /// Said by a tool while it works.
    Tell,
}

/// Why nothing is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    Idle,
    /// A turn waits for `/continue`.
    Parked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_reads_back_as_it_was_written() {
        let line = ToHost::Hello { protocol: PROTOCOL, version: "0.1.0".into(), place: Place::Chat { name: None }, mounts: Vec::new() };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(text, r#"{"type":"hello","protocol":1,"version":"0.1.0","place":{"chat":{"name":null}},"mounts":[]}"#);
        assert_eq!(serde_json::from_str::<ToHost>(&text).unwrap(), line);
    }
}
