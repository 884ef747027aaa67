//! What a running turn wants to show, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::content::{Content, Standing, draft, elapsed};
use super::{Around, Kept, Outcome, is_stray};
use crate::channels::telegram::render::Text;
use crate::clock::Moment;
use crate::ids::TurnKey;
use crate::limits::{DRAFT_AGAIN, PANEL_AFTER, PANEL_LONG, PANEL_TICK, PANEL_TICK_LONG, PANELS, PREVIEW_REFUSALS};
use crate::session::live::Live;

/// The turn that runs or is parked, and what a chat shows of it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) key: TurnKey,
    pub(super) panel: Panel,
    /// Until then a panel of before a restart waits to learn what became of its turn.
    pub(super) patience: Option<Instant>,
    began: Moment,
    /// What there is to say now.
    content: Content,
    /// Panels that were opened.
    panels: u8,
    /// See [`Kept::stray`].
    pub(super) stray: bool,
    draft: Shown<Text>,
}

/// What there is to say of a turn that is over.
#[derive(Debug)]
pub(super) struct Last {
    content: Content,
    time: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Panel {
    None,
    /// Being sent.
    Coming,
    Open {
        id: i64,
        shown: Box<Shown<(Content, Text)>>,
    },
    /// It was refused.
    Refused,
}

/// What a preview shows, as far as it is known.
#[derive(Debug)]
pub(super) struct Shown<T> {
    what: Option<T>,
    at: Option<Instant>,
    /// `what` was refused and is not there.
    is_refused: bool,
    /// In a row.
    refusals: u8,
}

/// Something to send.
#[derive(Debug)]
pub(super) enum What {
    Open {
        content: Content,
        text: Text,
    },
    Edit {
        id: i64,
        content: Content,
        text: Text,
    },
    Close {
        id: i64,
        text: Text,
    },
    /// In place of the last edit, where there is nothing to edit.
    Last {
        text: Text,
    },
    Draft {
        text: Text,
    },
}

/// Something to send, and when: at once if that is past.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) at: Instant,
    pub(super) what: What,
}

impl Turn {
    pub(super) fn new(key: TurnKey) -> Self {
        Self {
            key,
            panel: Panel::None,
            patience: None,
            began: Moment::default(),
            content: Content::default(),
            panels: 0,
            stray: false,
            draft: Shown::default(),
        }
    }

    pub(super) fn restored(kept: Kept, patience: Instant) -> Self {
        let Kept { turn, id, stray } = kept;
        let panel = id.map_or(Panel::None, |id| Panel::Open { id, shown: Box::default() });
        Self { panel, panels: 1, stray, patience: Some(patience), ..Self::new(turn) }
    }

    /// What a restart must know.
    pub(super) fn kept(&self) -> Option<Kept> {
        let id = self.panel.id();
        let stray = self.stray || matches!(self.panel, Panel::Coming);
        (stray || id.is_some()).then_some(Kept { turn: self.key, id, stray })
    }

    /// What was sent cannot be changed any more.
    pub(super) fn moved(&mut self) {
        if self.panel.id().is_some() {
            (self.panel, self.stray) = (Panel::None, true);
        }
    }

    /// Takes in what the session says of the turn.
    pub(super) fn update(&mut self, live: &Live, with_tail: bool) {
        self.patience = None;
        self.began = live.turn.map_or(self.began, |turn| turn.began);
        self.content = Content::of(live, with_tail);
    }

    /// What its panel says when it is over.
    pub(super) fn last(self, live: &Live) -> Last {
        let ended = live.ended.as_ref().filter(|ended| ended.turn.key == self.key);
        // The plan is shown until another turn begins.
        let plan = if live.turn.is_none() && ended.is_some() { Some(live) } else { None };
        let time = ended.and_then(|ended| elapsed(ended.turn.began, ended.at));
        Last { content: self.content.ended(ended, plan), time }
    }

    pub(super) fn refuses_drafts(&self) -> bool {
        self.draft.refusals >= PREVIEW_REFUSALS
    }

    /// What was refused was never there.
    pub(super) fn draft_is_gone(&mut self) {
        if !self.draft.is_refused {
            self.draft.what = None;
        }
    }

    /// What comes next: of two that are due the one that was not sent for longer.
    pub(super) fn wanted(&self, live: &Live, around: &Around, has_drafts: bool) -> Option<Wanted> {
        let panel = self.wanted_panel(around).map(|wanted| (wanted, self.panel.sent_at()));
        let draft = if has_drafts { self.wanted_draft(live, around) } else { None }.map(|wanted| (wanted, self.draft.at));
        let (wanted, _) = draft.into_iter().chain(panel).min_by_key(|(wanted, sent)| (wanted.at.max(around.now), *sent))?;
        Some(wanted)
    }

    fn wanted_panel(&self, around: &Around) -> Option<Wanted> {
        let is_working = self.content.standing() == Standing::Working;
        let time = elapsed(self.began, around.clock);
        let (content, text) = (self.content.clone(), self.content.text(time, self.stray));
        match &self.panel {
            // Somebody must be told of a stray one, also when there is nothing else to say.
            Panel::None if (is_working || self.stray) && self.panels < PANELS => {
                let is_due = self.stray || content.is_worth_a_panel();
                let missing = if is_due { Duration::ZERO } else { PANEL_AFTER.saturating_sub(time.unwrap_or(PANEL_AFTER)) };
                Some(Wanted { at: around.now + missing, what: What::Open { content, text } })
            }
            Panel::Open { id, shown } if shown.refusals < PREVIEW_REFUSALS => {
                let says = |known: &(Content, Text)| known.0 == content || known.1 == text;
                let at = match (shown.what.as_ref().filter(|known| says(known)), shown.at) {
                    (Some(_), _) if !is_working => return None,
                    // The clock of the wall may have been set back.
                    (Some((_, same)), Some(_)) if *same == text => around.now + PANEL_TICK,
                    (Some(_), Some(at)) => at + if time >= Some(PANEL_LONG) { PANEL_TICK_LONG } else { PANEL_TICK },
                    _ => around.now,
                };
                Some(Wanted { at, what: What::Edit { id: *id, content, text } })
            }
            Panel::None | Panel::Open { .. } | Panel::Coming | Panel::Refused => None,
        }
    }

    fn wanted_draft(&self, live: &Live, around: &Around) -> Option<Wanted> {
        if self.content.standing() != Standing::Working {
            return None;
        }
        let text = draft(&live.text);
        let at = match (&self.draft.what, self.draft.at) {
            (Some(shown), _) if *shown == text && self.draft.is_refused => return None,
            (Some(shown), Some(at)) if *shown == text => at + DRAFT_AGAIN,
            _ => around.now,
        };
        Some(Wanted { at, what: What::Draft { text } })
    }

    /// What became of something that was sent.
    pub(super) fn sent(&mut self, what: What, outcome: Outcome, now: Instant) {
        match what {
            What::Open { content, text } => {
                self.panels = self.panels.saturating_add(u8::from(outcome != Outcome::NotSent));
                self.panel = match outcome {
                    Outcome::Sent(Some(id)) => {
                        self.draft_is_gone();
                        Panel::Open { id, shown: Box::new(Shown { what: Some((content, text)), at: Some(now), ..Shown::default() }) }
                    }
                    Outcome::NotSent | Outcome::Sent(None) | Outcome::Unknown => Panel::None,
                    Outcome::MessageGone | Outcome::MethodMissing | Outcome::Refused => Panel::Refused,
                };
                self.stray |= is_stray(outcome);
            }
            What::Edit { .. } if outcome == Outcome::MessageGone => self.panel = Panel::None,
            What::Edit { content, text, .. } => {
                if let Panel::Open { shown, .. } = &mut self.panel {
                    shown.sent((content, text), outcome, now);
                }
            }
            What::Draft { text } => self.draft.sent(text, outcome, now),
            What::Close { .. } | What::Last { .. } => {}
        }
    }
}

impl Last {
    /// `after_stray`: see [`Kept::stray`].
    pub(super) fn text(&self, after_stray: bool) -> Text {
        self.content.text(self.time, after_stray)
    }
}

impl Panel {
    pub(super) fn id(&self) -> Option<i64> {
        if let Self::Open { id, .. } = self { Some(*id) } else { None }
    }

    fn sent_at(&self) -> Option<Instant> {
        if let Self::Open { shown, .. } = self { shown.at } else { None }
    }
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self { what: None, at: None, is_refused: false, refusals: 0 }
    }
}

impl<T> Shown<T> {
    fn sent(&mut self, what: T, outcome: Outcome, now: Instant) {
        self.at = Some(now);
        match outcome {
            Outcome::Sent(_) => *self = Self { what: Some(what), at: Some(now), ..Self::default() },
            // Something newer may be there by the time that it can be sent.
            Outcome::NotSent | Outcome::Unknown => self.what = None,
            Outcome::MessageGone | Outcome::MethodMissing | Outcome::Refused => {
                (self.what, self.is_refused) = (Some(what), true);
                self.refusals = self.refusals.saturating_add(1);
            }
        }
    }
}
