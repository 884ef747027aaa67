//! What must hold whatever happens, in whatever order: random turns, outcomes, freezes and restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{Rig, SECOND};
use crate::channels::telegram::panel::content::OUT_OF_DATE;
use crate::channels::telegram::panel::turn::What;
use crate::channels::telegram::panel::{Action, Around, ChatKind, Outcome, draft_id};
use crate::channels::telegram::render::{Kind, Text};
use crate::ids::{CallId, TurnKey};
use crate::limits::{DRAFT_AGAIN, PANEL_CLOSES, PANELS};
use crate::session::event::Ending;
use crate::session::live::{Activity, LiveEnd};

/// What the world does next.
#[derive(Debug, Clone)]
enum Act {
    Begin,
    Text(String),
    Call,
    Progress(String),
    EndCall,
    Plan(u8, String),
    Ask,
    Fail,
    Park,
    Resume,
    End(u8),
    Delivered,
    Freeze(bool),
    Drafts(bool),
    Outcome(u8),
    Delete,
    Restart,
    Pass(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Begin),
        8 => "\\PC{0,40}|[a-z\n]{0,300}|🎉{0,300}|[\u{0}-\u{20}]{0,9}|([*_`>#] ?[a-z]{0,3}\n?){0,200}".prop_map(Act::Text),
        6 => Just(Act::Call),
        3 => "\\PC{0,400}".prop_map(Act::Progress),
        5 => Just(Act::EndCall),
        2 => (0..30_u8, "\\PC{0,400}").prop_map(|(steps, text)| Act::Plan(steps, text)),
        4 => Just(Act::Ask),
        2 => Just(Act::Fail),
        1 => Just(Act::Park),
        2 => Just(Act::Resume),
        4 => (0..4_u8).prop_map(Act::End),
        6 => Just(Act::Delivered),
        1 => any::<bool>().prop_map(Act::Freeze),
        1 => any::<bool>().prop_map(Act::Drafts),
        20 => any::<u8>().prop_map(Act::Outcome),
        1 => Just(Act::Delete),
        1 => Just(Act::Restart),
        14 => prop_oneof![4 => 0..3000_u32, 1 => 0..90_000_u32].prop_map(Act::Pass),
    ]
}

/// A message that shows a panel.
#[derive(Debug)]
struct Shown {
    turn: TurnKey,
    text: String,
    closed: u32,
    is_there: bool,
    given_up: bool,
}

/// The chat, and what was sent to it.
struct World {
    rig: Rig,
    messages: BTreeMap<i64, Shown>,
    flight: Option<Action>,
    opened: BTreeMap<TurnKey, u8>,
    draft: Option<(Instant, i64, Text)>,
    sent_at: Option<Instant>,
    typed_at: Option<Instant>,
    unknown_closes: u8,
    open_call: Option<CallId>,
    /// Turns of which there may be a panel that nobody can change. True: a later message says so, or could not.
    strays: BTreeMap<TurnKey, bool>,
}

impl World {
    fn new(kind: ChatKind) -> Self {
        Self {
            rig: Rig::new(kind),
            messages: BTreeMap::new(),
            flight: None,
            opened: BTreeMap::new(),
            draft: None,
            sent_at: None,
            typed_at: None,
            unknown_closes: 0,
            open_call: None,
            strays: BTreeMap::new(),
        }
    }

    fn running(&self) -> Option<TurnKey> {
        self.rig.turn.map(|turn| turn.key)
    }

    fn act(&mut self, act: Act) {
        let rig = &mut self.rig;
        let is_parked = rig.turn.is_some_and(|turn| turn.parked.is_some());
        match act {
            Act::Begin if rig.turn.is_none() => rig.begin(),
            Act::Text(text) if rig.turn.is_some() && !is_parked => rig.text(&text),
            Act::Call if rig.turn.is_some() && !is_parked => self.open_call = Some(rig.call("tool", r#"{"path":"a"}"#)),
            Act::Progress(text) => {
                if let Some(call) = &self.open_call {
                    rig.view.call_progress(call, text);
                }
            }
            Act::EndCall => {
                if let Some(call) = self.open_call.take() {
                    rig.view.call_ended(&call, LiveEnd { ok: true, duration_ms: 1, summary: None });
                }
            }
            Act::Plan(steps, text) if rig.turn.is_some() => {
                rig.view.plan(
                    (0..steps).map(|n| (text.clone(), ["done", "active", "pending"][usize::from(n % 3)].to_owned())).collect(),
                    Some(text),
                );
            }
            Act::Ask if rig.turn.is_some() && !is_parked => {
                rig.set(Activity::Asking);
                rig.view.ask(false);
            }
            Act::Fail => rig.view.give_up(),
            Act::Park => rig.set(if rig.turn.is_some() { Activity::Parked } else { Activity::Idle }),
            Act::Resume if is_parked => rig.set(Activity::Asking),
            Act::End(how) if rig.turn.is_some() => {
                rig.end([Ending::Done, Ending::Cancelled, Ending::Failed, Ending::SetAside][usize::from(how)]);
                rig.finals = true;
            }
            Act::Delivered => rig.finals = false,
            Act::Freeze(frozen) => rig.frozen = frozen,
            Act::Drafts(drafts) => rig.drafts = drafts,
            Act::Outcome(how) => self.arrive(how),
            Act::Delete => self.messages.values_mut().for_each(|message| message.is_there = false),
            Act::Restart => self.restart(),
            Act::Pass(millis) => self.pass(Duration::from_millis(millis.into())),
            _ => {}
        }
        self.look();
    }

    /// Something may be on its way while the host stops: then nobody knows what became of it.
    fn restart(&mut self) {
        match self.flight.take() {
            Some(Action::ClosePanel { id, .. }) => self.message(id).given_up = true,
            Some(Action::SendPanel { .. }) => {
                let turn = self.flying();
                self.strays.insert(turn, false);
            }
            _ => {}
        }
        self.messages.values_mut().for_each(|message| message.text.clear());
        (self.draft, self.typed_at, self.unknown_closes) = (None, None, 0);
        self.opened.clear();
        self.rig.restart();
        self.rig.folded(None);
    }

    /// The turn of what is on its way.
    fn flying(&self) -> TurnKey {
        self.rig.screen.flight.as_ref().expect("something is on its way").key
    }

    fn message(&mut self, id: i64) -> &mut Shown {
        self.messages.get_mut(&id).expect("a message that was sent")
    }

    /// Lets time pass, looking whenever that was asked for.
    fn pass(&mut self, time: Duration) {
        let end = self.rig.passed + time;
        for _ in 0..10_000 {
            match self.look().filter(|at| *at <= self.rig.start + end) {
                Some(at) => self.rig.passed = at - self.rig.start,
                None => break,
            }
        }
        self.rig.passed = end;
    }

    fn look(&mut self) -> Option<Instant> {
        let around = self.rig.around();
        let next = self.rig.next();
        if next.typing {
            assert!(!around.frozen && self.rig.turn.is_some_and(|turn| turn.parked.is_none()), "typing for nobody");
            assert!(self.typed_at.is_none_or(|at| around.now >= at + 4 * SECOND));
            self.typed_at = Some(around.now);
        }
        assert!(next.again.is_none_or(|at| at > around.now), "to be looked at again in the past");
        if let Some(action) = next.send {
            self.check(&action, &around);
            self.flight = Some(action);
        }
        next.again
    }

    fn check(&mut self, action: &Action, around: &Around) {
        assert!(self.flight.is_none() && !around.frozen && !around.finals);
        assert!(self.sent_at.is_none_or(|at| around.now >= at + self.rig.interval), "two edits too close");
        self.sent_at = Some(around.now);
        let (running, flying) = (self.running(), self.flying());
        if let Action::SendPanel { text } | Action::EditPanel { text, .. } | Action::ClosePanel { text, .. } = action {
            assert_eq!(text.text.contains(OUT_OF_DATE), self.strays.contains_key(&flying), "{:?}", text.text);
        }
        match action {
            Action::SendPanel { text } => {
                check_text(text);
                assert!(Some(flying) == running || self.strays.contains_key(&flying), "a panel of a turn that is over");
                let is_over = |message: &Shown| message.closed > 0 || message.given_up || !message.is_there;
                assert!(self.messages.values().all(|message| message.turn == flying || is_over(message)));
            }
            Action::EditPanel { id, text } => {
                check_text(text);
                let message = self.message(*id);
                assert_eq!(Some(message.turn), running, "a preview of a turn that is over");
                assert!(message.closed == 0 && message.text != text.text, "the same again");
            }
            Action::ClosePanel { id, text } => {
                check_text(text);
                let message = self.message(*id);
                assert!(Some(message.turn) != running && (message.closed == 0 || message.given_up), "closed twice");
            }
            Action::Draft { draft_id: id, text, can_stop } => {
                assert!(
                    self.rig.kind == ChatKind::Private
                        && around.drafts
                        && *can_stop
                        && *id == draft_id(running.expect("a turn"))
                        && *id > 0
                );
                assert!(text.units() <= 4096);
                if let Some((at, shown_id, shown)) = &self.draft {
                    assert!(shown_id != id || shown != text || around.now >= *at + DRAFT_AGAIN, "the same draft again");
                }
            }
        }
    }

    fn arrive(&mut self, how: u8) {
        let Some(action) = self.flight.take() else { return };
        let mut outcome = match how {
            0..180 => Outcome::Sent(None),
            180..200 => Outcome::NotSent,
            200..215 => Outcome::Unknown,
            215..230 => Outcome::Refused,
            230..235 => Outcome::MethodMissing,
            _ => Outcome::Sent(None),
        };
        let now = self.rig.now();
        match &action {
            Action::SendPanel { text } => {
                let turn = self.flying();
                let is_last = matches!(self.rig.screen.flight.as_ref().unwrap().what, What::Last { .. });
                let is_known = outcome == Outcome::Sent(None) && how < 240;
                if is_known {
                    let id = i64::try_from(self.messages.len()).unwrap() + 1;
                    let closed = u32::from(is_last);
                    self.messages.insert(id, Shown { turn, text: text.text.clone(), closed, is_there: true, given_up: false });
                    outcome = Outcome::Sent(Some(id));
                    self.draft = None;
                }
                if let Some(is_said) = self.strays.get_mut(&turn) {
                    // Whatever else could not be said is not known either.
                    *is_said |= is_known || (is_last && outcome != Outcome::NotSent);
                }
                if matches!(outcome, Outcome::Sent(None) | Outcome::Unknown) {
                    self.strays.entry(turn).or_insert(false);
                }
                if outcome != Outcome::NotSent {
                    let opened = self.opened.entry(turn).or_default();
                    *opened += 1;
                    assert!(*opened <= PANELS + u8::from(is_last), "too many panels");
                }
            }
            Action::EditPanel { id, text } => {
                let message = self.messages.get_mut(id).unwrap();
                if !message.is_there && !matches!(outcome, Outcome::NotSent | Outcome::Unknown) {
                    outcome = Outcome::MessageGone;
                }
                match outcome {
                    Outcome::Sent(_) => message.text.clone_from(&text.text),
                    Outcome::Unknown | Outcome::NotSent => message.text.clear(),
                    _ => {}
                }
            }
            Action::ClosePanel { id, .. } => {
                self.unknown_closes += u8::from(outcome == Outcome::Unknown);
                let lost = self.unknown_closes >= PANEL_CLOSES;
                let message = self.messages.get_mut(id).unwrap();
                match outcome {
                    Outcome::Sent(_) => message.closed += 1,
                    Outcome::NotSent => {}
                    Outcome::Unknown => message.given_up |= lost,
                    _ => message.given_up = true,
                }
                if message.given_up && !matches!(outcome, Outcome::Sent(_) | Outcome::NotSent) {
                    // Something has to say so.
                    self.strays.insert(message.turn, false);
                }
                if message.closed > 0 || message.given_up {
                    self.unknown_closes = 0;
                }
            }
            Action::Draft { draft_id, text, .. } => {
                self.draft = matches!(outcome, Outcome::Sent(_)).then(|| (now, *draft_id, text.clone()));
            }
        }
        self.rig.outcome(outcome);
    }

    /// The turn ends, everything arrives, and time passes.
    fn settle(&mut self) {
        (self.rig.frozen, self.rig.finals) = (false, false);
        self.rig.end(Ending::Done);
        for _ in 0..100 {
            self.arrive(0);
            self.pass(40 * SECOND);
        }
        self.arrive(0);
        let now = self.rig.now();
        assert_eq!(self.look(), None, "there is nothing to look for any more at {now:?}");
        assert!(self.flight.is_none() && self.rig.screen.kept().is_none());
        assert!(self.strays.values().all(|is_said| *is_said), "nobody was told of a panel that is out of date: {:?}", self.strays);
        for (id, message) in &self.messages {
            assert!(
                message.closed == 1 || message.given_up || !message.is_there,
                "panel {id} was closed {} times: {message:?}",
                message.closed
            );
        }
    }
}

fn check_text(text: &Text) {
    let all = text.units();
    assert!((1..=4096).contains(&all), "{all} units");
    assert!(text.text.trim() == text.text && !text.text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{:?}", text.text);
    for entity in &text.entities {
        assert!(entity.length > 0 && entity.offset + entity.length <= all, "{entity:?} of {all}");
    }
    let quotes: Vec<_> = text.entities.iter().filter(|entity| entity.kind == Kind::Blockquote).collect();
    assert!(text.entities.len() <= 100 && quotes.len() <= 1 && quotes.iter().all(|quote| quote.offset + quote.length == all));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(private in any::<bool>(), acts in prop::collection::vec(act(), 1..150)) {
        let mut world = World::new(if private { ChatKind::Private } else { ChatKind::Group });
        for act in acts {
            world.act(act);
        }
        world.settle();
    }
}
