//! What a session's journal holds.
//!
//! Events are only added to, never changed: a field that comes later has a default, a kind that exists keeps its meaning.
//! An event says what happened and carries everything that a fold needs; no limit or wording of today is consulted when it
//! is read again. Nothing here decides anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::{AnswerPiece, Batching, FailureKind, Media, Message, Piece, Reached, Replay, Usage};
use crate::clock::Moment;
use crate::ids::{BootId, CallId, InboxId, TurnId};
use crate::session::state::{Phase, Spend, Turn};
use crate::session::system::Surroundings;

/// An event with its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Counted within the session from 1, without gaps.
    pub seq: u64,
    pub turn: TurnId,
    pub at_ms: Moment,
    pub event: Event,
}

/// A message to the session, from its row in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnInput {
    pub inbox: InboxId,
    pub text: String,
    /// Who wrote it, where more than one person could have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    pub at: Moment,
    /// What comes with the text.
    #[serde(flatten)]
    pub beside: Beside,
}

/// What comes with a message beside its text. Every field is what the channel saw, not what somebody claims in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Messages of one group, such as an album, are read as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The channel's id of the message, for an answer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The channel's number of who wrote it, where more than one person could have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// It is a message of before with another text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// What it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    /// Who wrote it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Attached>,
}

/// A message, or the part of one, that another one replies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// Its writer; none: the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub text: String,
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// What the channel calls it: `photo`, `document`, `voice` …
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where it lies in the workspace; none: it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What a model can be shown of it: as it was when the message was read, whatever becomes of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Media>,
    /// Why a model can be shown nothing of a file that lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unshown: Option<String>,
}

/// Something that the model is told once, before the next message: a changed component of its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What changed, for instance `skills`.
    pub component: String,
    /// Of the announced state; the same hash is not announced again.
    pub hash: String,
    pub text: String,
}

/// A call that an answer asked for, as the catalogue classified it then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub id: CallId,
    /// The vendor's own id, for pairing the answer.
    pub vendor: String,
    pub name: String,
    /// JSON text.
    pub arguments: String,
    pub replay: Replay,
    pub batching: Batching,
    /// Why it is answered without running: unknown tool, invalid arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Error,
    /// It did not run at all.
    NotStarted,
    /// It was stopped, and had no effect worth knowing about.
    Cancelled,
    /// It began, and may or may not have done what it was for.
    Unknown,
}

/// Why a turn waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// The model request failed for good.
    Failed,
    /// The history cannot be made small enough.
    TooLarge,
    /// What one turn may spend.
    Spend,
    /// What one day may spend.
    Day,
    /// What one conversation may spend.
    Conversation,
    /// Active time of one turn.
    Wall,
    /// Model requests of one turn.
    Steps,
    /// The host was away for too long to go on unasked.
    Downtime,
}

impl ParkReason {
    /// Does a new message set the turn going again? Money waits for an explicit `/continue`.
    #[must_use]
    pub fn accepts_messages(self) -> bool {
        !matches!(self, Self::Spend | Self::Day | Self::Conversation)
    }
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Done,
    Cancelled,
    Failed,
    /// Its inputs were poison: they are taken out of the context.
    SetAside,
}

/// Why the history is summarised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactReason {
    /// It has grown to `compact_at`.
    Grown,
    /// The model refused a request because of its size.
    TooLarge,
    /// A person wants it.
    Asked,
    /// The vendor's cache of it is about to expire.
    Idle,
}

/// What a fold that starts at `cut` would miss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    pub phase: Phase,
    pub last_turn: TurnId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// Component → hash of what was announced.
    #[serde(default)]
    pub announced: BTreeMap<String, String>,
    /// What the system prompt is made of from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<Surroundings>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    TurnBegan {
        inputs: Vec<TurnInput>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notices: Vec<Notice>,
        boot: BootId,
    },
    /// Newer messages became part of the running turn.
    InputsJoined { inputs: Vec<TurnInput> },
    Answered {
        message: Message,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Call>,
        usage: Usage,
        /// The alias of the model that answered.
        model: String,
    },
    /// A model request failed and will be tried again, or with another model.
    AskFailed {
        failure: FailureKind,
        message: String,
        /// How far it had come.
        #[serde(default, skip_serializing_if = "Reached::is_before_send")]
        reached: Reached,
        /// Failures in a row, this one included.
        tries: u32,
        /// The alias that is not asked any more for this answer: another model is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given_up: Option<String>,
        /// What it cost, as far as it is known or estimated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// These calls may have had effects from here on.
    CallsBegan { calls: Vec<CallId> },
    CallEnded {
        call: CallId,
        outcome: Outcome,
        /// What the model reads, already shortened.
        pieces: Vec<AnswerPiece>,
        /// The guard's remark to the model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
        /// One line for the person who watches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    },
    /// A model is asked for a summary of everything before `cut` (a seq).
    CompactionBegan {
        why: CompactReason,
        cut: u64,
        /// The size of the whole history, estimated.
        tokens: u64,
        /// The history is retold in short, because it would not fit as it is.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retold: bool,
        /// The command that wants it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<InboxId>,
    },
    /// A request for a summary failed, and will be made again.
    SummaryFailed {
        failure: FailureKind,
        message: String,
        /// Failures in a row, this one included.
        tries: u32,
        /// From now on the history is retold in short.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retold: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// There will be no summary; the history stays as it is.
    CompactionGivenUp {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// Everything before `cut` (a seq) is replaced by `summary`.
    Compacted {
        cut: u64,
        summary: String,
        /// Ids of things that still run, so that they are not lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        handles: Vec<String>,
        carry: Box<Carry>,
        /// What the turn that runs was asked before the cut.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<Message>,
        /// The alias of the model that wrote it; none in journals of early builds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// The size of the whole history after it, estimated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<u64>,
    },
    /// Everything before `cut` (a seq) left the context, except what the running turn was asked.
    ContextDropped { cut: u64, reason: String },
    CancelRequested {
        by: String,
        /// The command: messages that came before it end with the turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<InboxId>,
    },
    TurnResumed {
        attempt: u32,
        boot: BootId,
        /// The person who asked for it; none after a restart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// The estimated cost of a request whose answer was lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<Usage>,
        /// What the conversation had spent when the person granted it another budget for this turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted: Option<Spend>,
    },
    TurnParked {
        reason: ParkReason,
        can_continue: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    TurnEnded {
        ending: Ending,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Announced once: not again with this hash.
    Noticed { component: String, hash: String },
    /// What the system prompt would be made of now. The first counts at once, later ones from the next compaction on.
    Surrounded { surroundings: Surroundings },
    /// The session takes no more messages.
    Closed { by: String },
}

impl Event {
    /// The files that the history has from this event.
    #[must_use]
    pub fn media(&self) -> Vec<&Media> {
        match self {
            Self::TurnBegan { inputs, .. } | Self::InputsJoined { inputs } => {
                inputs.iter().flat_map(|input| &input.beside.files).filter_map(|file| file.blob.as_ref()).collect()
            }
            Self::CallEnded { pieces, .. } => pieces.iter().filter_map(AnswerPiece::media).collect(),
            Self::Compacted { kept, .. } => kept.iter().flat_map(|message| &message.pieces).filter_map(Piece::media).collect(),
            _ => Vec::new(),
        }
    }

    /// The kind, as in the journal's column.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TurnBegan { .. } => "turn_began",
            Self::InputsJoined { .. } => "inputs_joined",
            Self::Answered { .. } => "answered",
            Self::AskFailed { .. } => "ask_failed",
            Self::CallsBegan { .. } => "calls_began",
            Self::CallEnded { .. } => "call_ended",
            Self::CompactionBegan { .. } => "compaction_began",
            Self::SummaryFailed { .. } => "summary_failed",
            Self::CompactionGivenUp { .. } => "compaction_given_up",
            Self::Compacted { .. } => "compacted",
            Self::ContextDropped { .. } => "context_dropped",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::TurnResumed { .. } => "turn_resumed",
            Self::TurnParked { .. } => "turn_parked",
            Self::TurnEnded { .. } => "turn_ended",
            Self::Noticed { .. } => "noticed",
            Self::Surrounded { .. } => "surrounded",
            Self::Closed { .. } => "closed",
        }
    }
}
