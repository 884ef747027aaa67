//! What a chat shows while a turn runs: one progress panel, a preview of the answer, and "typing". Pure.
//!
//! [`Screen::next`] looks at the turn and says what to send now and when to look again; [`Screen::outcome`] is told what came of
//! it. One request is on its way at a time.
//!
//! - Panel and preview share the chat's budget of edits; whoever sends takes it. Nothing is sent to a frozen chat.
//! - Replies come first: while a final waits for delivery no preview is sent, and none of a turn that is over. Only the panel is
//!   closed after it.
//! - A panel is opened once for a turn, a second time if somebody deleted it, and closed exactly once. What was refused is not
//!   repeated, nor is what is there already.
//! - A panel whose number nobody learned, because of a kill or a lost answer, can never be changed. The turn's next panel says
//!   that such a one is out of date; a turn that is over says it in a message of its own.
//!
//! What it does not do: send, wait, keep the panel over a restart, or know what a budget is.

mod content;
#[cfg(test)]
mod tests;
mod turn;

use tokio::time::Instant;

use self::turn::{Last, Panel, Turn, Wanted, What};
use super::render::Text;
use crate::clock::Moment;
use crate::ids::TurnKey;
use crate::limits::{PANEL_CLOSES, PANEL_PATIENCE, PREVIEW_PAUSE, TYPING_AGAIN};
use crate::session::live::Live;

/// What kind of chat it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatKind {
    Private,
    Group,
}

/// What is around the turn at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    pub now: Instant,
    /// The same moment on the wall clock.
    pub clock: Moment,
    /// When the chat's budget has room for the next edit.
    pub budget: Instant,
    /// Telegram has asked for silence in this chat. Look again when it is over.
    pub frozen: bool,
    /// A final or question for this chat waits for delivery. Look again when it is delivered.
    pub finals: bool,
    /// Answers are shown while they are written.
    pub previews: bool,
    /// Telegram's server knows drafts.
    pub drafts: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Say that the bot is typing; nobody waits for what comes of it.
    pub typing: bool,
    /// Send this, and tell [`Screen::outcome`] what came of it.
    pub send: Option<Action>,
    /// Look again at this moment, beside whenever something changes.
    pub again: Option<Instant>,
}

/// A request. All of it is silent, without a preview of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    SendPanel {
        text: Text,
    },
    EditPanel {
        id: i64,
        text: Text,
    },
    /// The last edit.
    ClosePanel {
        id: i64,
        text: Text,
    },
    /// The answer so far; empty while there is none.
    Draft {
        draft_id: i64,
        text: Text,
        can_stop: bool,
    },
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there, or was before; a new message has an id.
    Sent(Option<i64>),
    /// It certainly did not arrive: no connection, or too many requests.
    NotSent,
    Unknown,
    /// The message to edit is not there, or cannot be edited any more.
    MessageGone,
    /// The server does not know the method.
    MethodMissing,
    Refused,
}

/// What a restart must know of a turn's panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub turn: TurnKey,
    /// The panel; none: it is being sent, or nobody knows its number.
    pub id: Option<i64>,
    /// There may be one that nobody can change any more. Always, while the number is not known.
    pub stray: bool,
}

impl Kept {
    /// As it is stored: the number, with a `?` before it for a stray one.
    #[must_use]
    pub fn to_text(self) -> String {
        let id = self.id.map(|id| id.to_string()).unwrap_or_default();
        if self.stray { format!("{STRAY}{id}") } else { id }
    }

    /// What was stored; none: something else.
    #[must_use]
    pub fn from_text(turn: TurnKey, text: &str) -> Option<Self> {
        match text.strip_prefix(STRAY) {
            Some("") => Some(Self { turn, id: None, stray: true }),
            Some(id) => Some(Self { turn, id: Some(id.parse().ok()?), stray: true }),
            None => Some(Self { turn, id: Some(text.parse().ok()?), stray: false }),
        }
    }
}

/// See [`Kept::to_text`].
const STRAY: char = '?';

/// What one chat, or topic of a chat, shows of its conversation.
#[derive(Debug)]
pub struct Screen {
    kind: ChatKind,
    turn: Option<Turn>,
    /// Until it is done nothing else is shown.
    closing: Option<Closing>,
    flight: Option<Flight>,
    typed: Option<Instant>,
    /// No preview before this: the last one did not get through.
    pause: Option<Instant>,
    /// The server does not know drafts.
    draftless: bool,
}

/// The panel of a turn that is over.
#[derive(Debug)]
struct Closing {
    key: TurnKey,
    id: Option<i64>,
    /// It is still being sent.
    is_coming: bool,
    /// See [`Kept::stray`].
    stray: bool,
    last: Last,
    tries: u8,
    not_before: Option<Instant>,
}

/// What is on its way.
#[derive(Debug)]
struct Flight {
    key: TurnKey,
    what: What,
    /// The answer of which it shows text.
    shows: Option<u64>,
}

impl Screen {
    #[must_use]
    pub fn new(kind: ChatKind) -> Self {
        Self { kind, turn: None, closing: None, flight: None, typed: None, pause: None, draftless: false }
    }

    /// After a restart: the panel of a turn, which goes on with it or is closed.
    #[must_use]
    pub fn restored(kind: ChatKind, kept: Kept, now: Instant) -> Self {
        Self { turn: Some(Turn::restored(kept, now + PANEL_PATIENCE)), ..Self::new(kind) }
    }

    /// What a restart must know, also of a panel that is only about to be sent.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        match &self.closing {
            Some(closing) => Some(Kept { turn: closing.key, id: closing.id, stray: closing.stray || closing.id.is_none() }),
            None => self.turn.as_ref().and_then(Turn::kept),
        }
    }

    /// The chat has another number from now on, and what was sent there before cannot be changed any more.
    pub fn moved(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.moved();
        }
        if let Some(closing) = &mut self.closing {
            closing.stray |= closing.id.take().is_some();
        }
    }

    /// Another message of the bot came into the chat: a draft is gone with it.
    pub fn message_sent(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.draft_is_gone();
        }
    }

    /// What to do now.
    pub fn next(&mut self, live: &Live, around: &Around) -> Next {
        self.follow(live, around);
        let mut again = Soonest(self.turn.as_ref().and_then(|turn| turn.patience));
        let typing = self.is_typing(live, around, &mut again);
        let send = if self.flight.is_some() || around.frozen { None } else { self.choose(live, around, &mut again) };
        Next { typing, send, again: again.0 }
    }

    /// What came of [`Next::send`]. The answer, by its number, of which a person can now read text.
    pub fn outcome(&mut self, outcome: Outcome, now: Instant) -> Option<u64> {
        let Flight { key, what, shows } = self.flight.take()?;
        let is_preview = !matches!(what, What::Close { .. } | What::Last { .. });
        if is_preview && matches!(outcome, Outcome::NotSent | Outcome::Unknown) {
            self.pause = Some(now + PREVIEW_PAUSE);
        }
        match what {
            What::Close { .. } | What::Last { .. } => self.closed(outcome, matches!(what, What::Close { .. }), now),
            What::Draft { .. } if outcome == Outcome::MethodMissing => self.draftless = true,
            _ => {}
        }
        match (&mut self.turn, &mut self.closing) {
            (Some(turn), _) if turn.key == key => turn.sent(what, outcome, now),
            // It was over before its panel had come.
            (_, Some(closing)) if closing.key == key && closing.is_coming => {
                closing.is_coming = false;
                closing.id = if let Outcome::Sent(id) = outcome { id } else { None };
                closing.stray |= is_stray(outcome);
                if closing.id.is_none() && !closing.stray {
                    self.closing = None;
                }
            }
            _ => {}
        }
        shows.filter(|_| matches!(outcome, Outcome::Sent(_)))
    }

    /// `is_edit`: it can be made again without harm when nobody knows whether it arrived.
    fn closed(&mut self, outcome: Outcome, is_edit: bool, now: Instant) {
        let Some(closing) = &mut self.closing else { return };
        closing.tries += u8::from(outcome == Outcome::Unknown);
        let may_be_again = outcome == Outcome::NotSent || (outcome == Outcome::Unknown && is_edit);
        if may_be_again && closing.tries < PANEL_CLOSES {
            closing.not_before = Some(now + PREVIEW_PAUSE);
        } else if is_edit && !matches!(outcome, Outcome::Sent(_) | Outcome::MessageGone) {
            // It stays as it is: what follows says so.
            (closing.id, closing.stray, closing.tries, closing.not_before) = (None, true, 0, Some(now + PREVIEW_PAUSE));
        } else {
            self.closing = None;
        }
    }

    /// Takes in what the session says of its turn.
    fn follow(&mut self, live: &Live, around: &Around) {
        let with_tail = around.previews && !self.has_drafts(around);
        if let Some(mut turn) = self.turn.take() {
            if live.turn.is_some_and(|running| running.key == turn.key) {
                turn.update(live, with_tail);
                self.turn = Some(turn);
                return;
            }
            let may_still_come = live.session.is_none() && turn.patience.is_some_and(|patience| around.now < patience);
            if may_still_come {
                self.turn = Some(turn);
                return;
            }
            self.end(turn, live);
        }
        self.turn = live.turn.map(|running| {
            let mut turn = Turn::new(running.key);
            turn.update(live, with_tail);
            turn
        });
    }

    /// A turn is over: its panel is closed, also one that is still on its way.
    fn end(&mut self, turn: Turn, live: &Live) {
        let (key, id, stray) = (turn.key, turn.panel.id(), turn.stray);
        let is_coming = matches!(turn.panel, Panel::Coming);
        if id.is_some() || is_coming || stray {
            self.closing = Some(Closing { key, id, is_coming, stray, last: turn.last(live), tries: 0, not_before: None });
        }
    }

    fn has_drafts(&self, around: &Around) -> bool {
        let is_refused = self.turn.as_ref().is_some_and(Turn::refuses_drafts);
        self.kind == ChatKind::Private && around.previews && around.drafts && !self.draftless && !is_refused
    }

    fn is_typing(&mut self, live: &Live, around: &Around, again: &mut Soonest) -> bool {
        if around.frozen || !live.activity.is_awaited() {
            return false;
        }
        let is_due = again.is_due(self.typed.map_or(around.now, |typed| typed + TYPING_AGAIN), around.now);
        if is_due {
            self.typed = Some(around.now);
            again.add(around.now + TYPING_AGAIN);
        }
        is_due
    }

    /// The request that is due, if the budget has room for it.
    fn choose(&mut self, live: &Live, around: &Around, again: &mut Soonest) -> Option<Action> {
        let (key, Wanted { at, what }) = self.wanted(live, around)?;
        if !again.is_due(at.max(around.budget), around.now) {
            return None;
        }
        if let (What::Open { .. }, Some(turn)) = (&what, &mut self.turn) {
            turn.panel = Panel::Coming;
        }
        let (action, shows_text) = match &what {
            What::Open { text, content } => (Action::SendPanel { text: text.clone() }, content.shows_answer()),
            What::Edit { id, text, content } => (Action::EditPanel { id: *id, text: text.clone() }, content.shows_answer()),
            What::Close { id, text } => (Action::ClosePanel { id: *id, text: text.clone() }, false),
            What::Last { text } => (Action::SendPanel { text: text.clone() }, false),
            What::Draft { text } => (Action::Draft { draft_id: draft_id(key), text: text.clone(), can_stop: true }, !text.text.is_empty()),
        };
        self.flight = Some(Flight { key, what, shows: shows_text.then_some(live.answer) });
        Some(action)
    }

    /// What comes next, and when.
    fn wanted(&self, live: &Live, around: &Around) -> Option<(TurnKey, Wanted)> {
        if around.finals {
            return None;
        }
        if let Some(closing) = &self.closing {
            let text = closing.last.text(closing.stray);
            let what = match closing.id {
                Some(id) => What::Close { id, text },
                None if closing.is_coming => return None,
                None => What::Last { text },
            };
            return Some((closing.key, Wanted { at: closing.not_before.unwrap_or(around.now), what }));
        }
        let turn = self.turn.as_ref().filter(|turn| turn.patience.is_none())?;
        let mut wanted = turn.wanted(live, around, self.has_drafts(around))?;
        wanted.at = self.pause.map_or(wanted.at, |pause| wanted.at.max(pause));
        Some((turn.key, wanted))
    }
}

/// May a new message be there, and nobody knows its number?
fn is_stray(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Sent(None) | Outcome::Unknown)
}

/// The earliest of several moments.
struct Soonest(Option<Instant>);

impl Soonest {
    fn add(&mut self, at: Instant) {
        self.0 = Some(self.0.map_or(at, |known| known.min(at)));
    }

    /// Is it time? If not, it will be.
    fn is_due(&mut self, at: Instant, now: Instant) -> bool {
        if at > now {
            self.add(at);
        }
        at <= now
    }
}

/// One draft for a turn, whoever asks: a number that is never 0 and fits 31 bits.
fn draft_id(key: TurnKey) -> i64 {
    let mixed = key.session.0.wrapping_mul(65_537).wrapping_add(key.turn.0);
    1 + mixed.rem_euclid(i64::from(i32::MAX))
}
