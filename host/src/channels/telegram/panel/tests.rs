//! Panels and previews: what they say, and when.

mod world;

use std::time::Duration;

use tokio::time::Instant;

use super::content::{Content, OUT_OF_DATE, span};
use super::*;
use crate::channels::telegram::render::Kind;
use crate::ids::{CallId, SessionId, TurnId};
use crate::plugins::Delta;
use crate::session::event::{Ending, ParkReason};
use crate::session::live::{Activity, EndedTurn, LiveEnd, LiveTurn, LiveView, StandIn};

const SECOND: Duration = Duration::from_secs(1);

fn key(turn: i64) -> TurnKey {
    TurnKey { session: SessionId(4), turn: TurnId(turn) }
}

/// A session, a chat, and the clock.
struct Rig {
    view: LiveView,
    screen: Screen,
    kind: ChatKind,
    start: Instant,
    passed: Duration,
    interval: Duration,
    last_edit: Option<Instant>,
    frozen: bool,
    finals: bool,
    previews: bool,
    drafts: bool,
    turn: Option<LiveTurn>,
    turns: i64,
}

const CLOCK: Moment = Moment(1_800_000_000_000);

impl Rig {
    fn new(kind: ChatKind) -> Self {
        let view = LiveView::default();
        view.folded(SessionId(4), Activity::Idle, None, None);
        let interval = Duration::from_millis(if kind == ChatKind::Private { 1200 } else { 4000 });
        Self {
            view,
            screen: Screen::new(kind),
            kind,
            start: Instant::now(),
            passed: Duration::ZERO,
            interval,
            last_edit: None,
            frozen: false,
            finals: false,
            previews: true,
            drafts: true,
            turn: None,
            turns: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + self.passed
    }

    fn clock(&self) -> Moment {
        Moment(CLOCK.0 + i64::try_from(self.passed.as_millis()).unwrap())
    }

    fn around(&self) -> Around {
        let now = self.now();
        let budget = self.last_edit.map_or(now, |last| now.max(last + self.interval));
        Around { now, clock: self.clock(), budget, frozen: self.frozen, finals: self.finals, previews: self.previews, drafts: self.drafts }
    }

    fn next(&mut self) -> Next {
        let around = self.around();
        let next = self.screen.next(&self.view.watch().borrow(), &around);
        if next.send.is_some() {
            self.last_edit = Some(self.now());
        }
        next
    }

    fn outcome(&mut self, outcome: Outcome) -> Option<u64> {
        self.screen.outcome(outcome, self.now())
    }

    /// Looks, and whatever is sent arrives.
    fn step(&mut self, id: i64) -> Option<Action> {
        let send = self.next().send;
        match &send {
            Some(Action::SendPanel { .. }) => _ = self.outcome(Outcome::Sent(Some(id))),
            Some(_) => _ = self.outcome(Outcome::Sent(None)),
            None => {}
        }
        send
    }

    /// Lets so much time pass, looking whenever it is asked for; what was sent, and after how long.
    fn pass(&mut self, time: Duration) -> Vec<(u64, Action)> {
        let (from, end) = (self.passed, self.passed + time);
        let mut sent = Vec::new();
        for _ in 0..1000 {
            let next = self.next();
            if let Some(action) = next.send {
                let new = matches!(action, Action::SendPanel { .. }).then_some(7);
                self.outcome(Outcome::Sent(new));
                sent.push(((self.passed - from).as_secs(), action));
                continue;
            }
            match next.again.filter(|at| *at <= self.start + end) {
                Some(at) => self.passed = at - self.start,
                None => break,
            }
        }
        self.passed = end;
        sent
    }

    fn begin(&mut self) {
        self.turns += 1;
        let turn = LiveTurn { key: key(self.turns), began: self.clock(), calls: 0, tries: 0, parked: None };
        self.turn = Some(turn);
        self.view.turn(Activity::Asking, Some(turn), None);
        self.view.ask(false);
    }

    fn call(&mut self, name: &str, arguments: &str) -> CallId {
        let turn = self.turn.as_mut().unwrap();
        turn.calls += 1;
        let call = CallId(format!("{}.1.{}", turn.key, turn.calls));
        self.view.turn(Activity::Calling, self.turn, None);
        self.view.call_began(&call, name, arguments, self.clock());
        call
    }

    fn text(&self, text: &str) {
        self.view.deltas(&[Delta::Text(text.into())]);
    }

    fn set(&mut self, activity: Activity) {
        if let Some(turn) = &mut self.turn {
            turn.parked = (activity == Activity::Parked).then_some(ParkReason::Wall);
        }
        self.view.turn(activity, self.turn, None);
    }

    fn end(&mut self, ending: Ending) {
        if let Some(turn) = self.turn.take() {
            self.view.turn(Activity::Idle, None, Some(EndedTurn { turn, ending, at: self.clock() }));
        }
    }

    fn restart(&mut self) {
        self.view = LiveView::default();
        self.screen = match self.screen.kept() {
            Some(kept) => Screen::restored(self.kind, Kept::from_text(kept.turn, &kept.to_text()).unwrap(), self.now()),
            None => Screen::new(self.kind),
        };
    }

    fn folded(&mut self, ended: Option<EndedTurn>) {
        let activity = match self.turn {
            None => Activity::Idle,
            Some(LiveTurn { parked: Some(_), .. }) => Activity::Parked,
            Some(_) => Activity::Asking,
        };
        self.view.folded(SessionId(4), activity, self.turn, ended);
    }
}

fn said(action: Option<&Action>) -> String {
    match action {
        Some(Action::SendPanel { text }) => format!("open\n{}", text.text),
        Some(Action::EditPanel { id, text }) => format!("edit {id}\n{}", text.text),
        Some(Action::ClosePanel { id, text }) => format!("close {id}\n{}", text.text),
        Some(Action::Draft { text, .. }) => format!("draft\n{}", text.text),
        None => "nothing".to_owned(),
    }
}

fn panels(sent: &[(u64, Action)]) -> Vec<String> {
    let panels = sent.iter().filter(|(_, action)| !matches!(action, Action::Draft { .. }));
    panels.map(|(at, action)| format!("{at}: {}", said(Some(action)).replace('\n', " | "))).collect()
}

#[test]
fn who_waits_for_a_summary_is_told() {
    let view = LiveView::default();
    let turn = LiveTurn { key: key(1), began: Moment(0), calls: 0, tries: 0, parked: None };
    view.turn(Activity::Compacting, Some(turn), None);
    let live = view.watch();
    let content = Content::of(&live.borrow(), false);
    assert_eq!(content.text(None, false).text, "Working\nsummarising the conversation so far");
    let mut rig = Rig::new(ChatKind::Private);
    rig.view.turn(Activity::Tidying, None, None);
    assert_eq!(rig.next(), Next { typing: false, send: None, again: None }, "nobody waits for this one");
    rig.view.turn(Activity::Compacting, None, None);
    assert!(rig.next().typing, "somebody asked for this one");
}

#[test]
fn a_quick_answer_has_a_draft_and_no_panel() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.begin();
    let next = rig.next();
    assert!(next.typing);
    assert_eq!(next.send, Some(Action::Draft { draft_id: 4 * 65_537 + 2, text: Text::default(), can_stop: true }), "thinking");
    assert_eq!(rig.outcome(Outcome::Sent(None)), None, "nothing of the answer was shown");
    rig.text("Hello.");
    assert_eq!(rig.next().again, Some(rig.start + rig.interval), "the budget comes first");
    rig.passed = rig.interval;
    assert_eq!(said(rig.next().send.as_ref()), "draft\nHello.");
    let answer = rig.view.watch().borrow().answer;
    assert_eq!(rig.outcome(Outcome::Sent(None)), Some(answer), "now it was");
    rig.end(Ending::Done);
    rig.finals = true;
    assert_eq!(rig.next(), Next { typing: false, send: None, again: None });
    rig.finals = false;
    assert_eq!(rig.next(), Next { typing: false, send: None, again: None });
}

#[test]
fn another_model_than_the_conversation_s_is_said_in_a_panel_also_of_a_quick_answer() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.view.stand_in(Some(StandIn { model: "other".into(), instead_of: "main".into() }));
    assert_eq!(said(rig.step(7).as_ref()), "open\nWorking · 0s\nother stands in for main\nthinking");
}

#[test]
fn a_panel_comes_with_time_or_with_work_and_ticks_slower_and_slower() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    let sent = rig.pass(40 * SECOND);
    assert_eq!(
        panels(&sent),
        ["2: open | Working · 2s | thinking", "17: edit 7 | Working · 17s | thinking", "32: edit 7 | Working · 32s | thinking"]
    );
    rig.passed = Duration::from_secs(700);
    rig.pass(20 * SECOND);
    let sent = rig.pass(130 * SECOND);
    assert_eq!(sent.len(), 2, "{sent:?}");

    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    assert_eq!(said(rig.step(7).as_ref()), "open\nWorking · 0s · 1 tool call\nls");
}

#[test]
fn panel_and_draft_take_turns_and_a_draft_does_not_vanish() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.begin();
    let sent = rig.pass(60 * SECOND);
    let drafts: Vec<u64> = sent.iter().filter(|(_, action)| matches!(action, Action::Draft { .. })).map(|(at, _)| *at).collect();
    assert_eq!(drafts, [0, 3, 23, 43], "again after the panel's message, and before half a minute has passed: {sent:?}");
    let call = rig.call("grep", r#"{"pattern":"x"}"#);
    let mut kinds = String::new();
    for n in 0..10 {
        rig.text("word ");
        rig.view.call_progress(&call, format!("{n} files"));
        kinds.extend(rig.pass(rig.interval).iter().map(|(_, action)| if matches!(action, Action::Draft { .. }) { 'd' } else { 'p' }));
    }
    assert!(kinds.contains("dpdpdp") && !kinds.contains("dd") && !kinds.contains("pp"), "{kinds}");
}

#[test]
fn where_there_are_no_drafts_the_panel_quotes_the_end_of_the_answer() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.begin();
    rig.next();
    rig.outcome(Outcome::MethodMissing);
    rig.text("First line\n\nSecond **line** 🎉");
    rig.passed = 3 * SECOND;
    let Some(Action::SendPanel { text }) = rig.next().send else { panic!("a panel") };
    assert_eq!(text.text, "Working · 3s\nwriting the answer\n\nFirst line\n\nSecond line 🎉");
    let marks: Vec<_> = text.entities.iter().map(|entity| (entity.kind, entity.offset, entity.length)).collect();
    assert_eq!(marks, [(Kind::Blockquote, 33, 26), (Kind::Bold, 52, 4)]);
    assert!(rig.outcome(Outcome::Sent(Some(7))).is_some(), "that is shown text, too");
    rig.end(Ending::Done);
    assert!(rig.pass(60 * SECOND).iter().all(|(_, action)| matches!(action, Action::ClosePanel { text, .. } if text.entities.is_empty())));
}

#[test]
fn without_previews_there_is_a_panel_and_nothing_of_the_answer() {
    for kind in [ChatKind::Private, ChatKind::Group] {
        let mut rig = Rig::new(kind);
        rig.previews = false;
        rig.begin();
        rig.text("First line");
        let sent = rig.pass(10 * SECOND);
        assert_eq!(panels(&sent), ["2: open | Working · 2s | writing the answer"], "{sent:?}");
        assert_eq!(sent.len(), 1);
    }
}

#[test]
fn a_final_comes_before_anything_but_the_closing_edit_after_it() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.begin();
    rig.pass(10 * SECOND);
    rig.end(Ending::Done);
    rig.finals = true;
    assert_eq!(rig.pass(60 * SECOND), []);
    rig.begin();
    assert_eq!(rig.pass(60 * SECOND), [], "nor of the next turn");
    rig.finals = false;
    let sent = rig.pass(10 * SECOND);
    assert_eq!(panels(&sent)[0], "0: close 7 | Done · 10s", "as long as it took, not as long as it waited");
    assert!(panels(&sent)[1].contains("open"), "{sent:?}");
}

#[test]
fn a_frozen_chat_is_silent() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.frozen = true;
    rig.begin();
    rig.call("ls", "{}");
    rig.passed += 10 * SECOND;
    assert_eq!(rig.next(), Next { typing: false, send: None, again: None });
    rig.frozen = false;
    assert!(rig.next().send.is_some());
}

#[test]
fn a_deleted_panel_comes_back_once() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    for (id, comes) in [(7, true), (8, true), (9, false)] {
        rig.passed += 10 * SECOND;
        let opened = rig.step(id);
        assert_eq!(matches!(opened, Some(Action::SendPanel { .. })), comes, "{opened:?}");
        rig.call("ls", "{}");
        rig.passed += 10 * SECOND;
        if rig.next().send.is_some() {
            rig.outcome(Outcome::MessageGone);
        }
    }
    rig.end(Ending::Done);
    assert_eq!(rig.pass(60 * SECOND), [], "there is nothing to close");
}

#[test]
fn what_is_refused_is_not_repeated_and_what_is_refused_again_and_again_is_given_up() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.begin();
    let mut drafts = 0;
    for word in 0..10 {
        for _ in 0..30 {
            rig.passed += SECOND;
            match rig.next().send {
                Some(Action::Draft { .. }) => {
                    drafts += 1;
                    rig.outcome(Outcome::Refused);
                }
                Some(Action::SendPanel { .. }) => _ = rig.outcome(Outcome::Sent(Some(7))),
                Some(_) => _ = rig.outcome(Outcome::Sent(None)),
                None => {}
            }
        }
        assert!(drafts <= word + 1);
        rig.text("word ");
    }
    assert_eq!(drafts, 3);
    assert!(said(rig.pass(20 * SECOND).last().map(|(_, action)| action)).contains("word word"), "the panel shows it instead");
}

#[test]
fn a_panel_that_does_not_get_through_is_tried_again() {
    for (outcome, again) in [(Outcome::NotSent, Some(5)), (Outcome::Unknown, Some(5)), (Outcome::Refused, None)] {
        let mut rig = Rig::new(ChatKind::Group);
        rig.begin();
        rig.call("ls", "{}");
        assert!(matches!(rig.next().send, Some(Action::SendPanel { .. })));
        rig.outcome(outcome);
        let sent = rig.pass(60 * SECOND);
        assert_eq!(sent.first().map(|(at, _)| *at), again, "{outcome:?}");
        let says = said(sent.first().map(|(_, action)| action)).contains(OUT_OF_DATE);
        assert_eq!(says, outcome == Outcome::Unknown, "{outcome:?}");
    }
}

#[test]
fn what_follows_a_panel_that_nobody_can_change_says_so_to_its_end() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    rig.next();
    rig.outcome(Outcome::Unknown);
    let opened = rig.pass(10 * SECOND);
    assert_eq!(panels(&opened), [format!("5: open | Working · 5s · 1 tool call | ls |  | {OUT_OF_DATE}")]);
    assert_eq!(rig.screen.kept().map(Kept::to_text).as_deref(), Some("?7"));
    rig.restart();
    rig.folded(None);
    assert_eq!(panels(&rig.pass(SECOND)), [format!("0: edit 7 | Working · 10s · 1 tool call | starting |  | {OUT_OF_DATE}")]);
    rig.end(Ending::Done);
    assert_eq!(panels(&rig.pass(5 * SECOND)), [format!("3: close 7 | Done · 11s · 1 tool call |  | {OUT_OF_DATE}")]);
    assert_eq!(rig.screen.kept(), None);
}

/// A host that died while a panel was on its way. `turn`: it ran, and goes on or has ended meanwhile.
fn killed_on_the_way(ended: bool) -> Rig {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    assert!(rig.next().send.is_some());
    assert_eq!(rig.screen.kept().map(Kept::to_text).as_deref(), Some("?"), "the store knows it before it leaves");
    rig.restart();
    rig.passed += 10 * SECOND;
    let over = if ended { rig.turn.take() } else { None };
    rig.folded(over.map(|turn| EndedTurn { turn, ending: Ending::Done, at: rig.clock() }));
    rig
}

#[test]
fn a_panel_that_was_on_its_way_when_the_host_died_is_out_of_date() {
    let mut rig = killed_on_the_way(false);
    let opened = rig.pass(SECOND);
    assert_eq!(panels(&opened), [format!("0: open | Working · 10s · 1 tool call | starting |  | {OUT_OF_DATE}")]);

    let mut rig = killed_on_the_way(false);
    rig.set(Activity::Parked);
    assert!(said(rig.step(7).as_ref()).contains(OUT_OF_DATE), "also when the turn waits");
}

#[test]
fn a_turn_that_is_over_says_it_in_a_message_of_its_own_once() {
    let last = format!("open\nDone · 10s · 1 tool call\n\n{OUT_OF_DATE}");
    for outcome in [Outcome::Sent(Some(9)), Outcome::Sent(None), Outcome::Unknown, Outcome::Refused] {
        let mut rig = killed_on_the_way(true);
        rig.finals = true;
        assert_eq!(rig.pass(SECOND), [], "after the answer");
        rig.finals = false;
        assert_eq!(said(rig.next().send.as_ref()), last);
        rig.outcome(Outcome::NotSent);
        rig.passed += 5 * SECOND;
        assert_eq!(said(rig.next().send.as_ref()), last, "it was not there");
        rig.outcome(outcome);
        assert_eq!(rig.pass(60 * SECOND), [], "{outcome:?}");
        assert_eq!(rig.screen.kept(), None);
    }
    // It was lost just before the end.
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    rig.next();
    rig.end(Ending::Done);
    assert_eq!(rig.next().send, None);
    rig.outcome(Outcome::Unknown);
    assert_eq!(panels(&rig.pass(20 * SECOND)), [format!("4: open | Done · 0s · 1 tool call |  | {OUT_OF_DATE}")]);
}

#[test]
fn what_was_sent_before_a_group_got_another_number_is_out_of_date() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    rig.step(7);
    rig.screen.moved();
    assert_eq!(panels(&rig.pass(10 * SECOND)), [format!("4: open | Working · 4s · 1 tool call | ls |  | {OUT_OF_DATE}")]);
    rig.end(Ending::Done);
    rig.finals = true;
    rig.next();
    rig.screen.moved();
    rig.finals = false;
    assert_eq!(panels(&rig.pass(10 * SECOND)), [format!("0: open | Done · 10s · 1 tool call |  | {OUT_OF_DATE}")]);
}

#[test]
fn what_a_restart_must_know_is_a_short_text() {
    for (text, id, stray) in [("7", Some(7), false), ("?7", Some(7), true), ("?", None, true), ("-7", Some(-7), false)] {
        let kept = Kept { turn: key(1), id, stray };
        assert_eq!((kept.to_text().as_str(), Kept::from_text(key(1), text)), (text, Some(kept)));
    }
    assert_eq!(["", "?x", "x", "??"].map(|text| Kept::from_text(key(1), text)), [None; 4]);
}

#[test]
fn a_panel_whose_edits_are_refused_is_only_closed() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    rig.step(7);
    let mut edits = 0;
    for _ in 0..10 {
        rig.call("ls", "{}");
        rig.passed += 10 * SECOND;
        if rig.next().send.is_some() {
            edits += 1;
            rig.outcome(Outcome::Refused);
        }
    }
    assert_eq!(edits, 3);
    rig.end(Ending::Done);
    assert_eq!(panels(&rig.pass(60 * SECOND)), ["0: close 7 | Done · 1m 40s · 11 tool calls"]);
}

#[test]
fn a_closing_edit_is_made_until_it_is_there() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.pass(5 * SECOND);
    rig.end(Ending::Cancelled);
    for _ in 0..20 {
        rig.passed += 10 * SECOND;
        assert_eq!(said(rig.next().send.as_ref()), "close 7\nStopped · 5s");
        rig.outcome(Outcome::NotSent);
    }
    assert_eq!(panels(&rig.pass(60 * SECOND)), ["5: close 7 | Stopped · 5s"]);
    assert_eq!(rig.screen.kept(), None);
}

#[test]
fn a_turn_that_ends_while_its_panel_is_on_its_way_closes_it() {
    let mut rig = Rig::new(ChatKind::Group);
    rig.begin();
    rig.call("ls", "{}");
    assert!(rig.next().send.is_some());
    rig.end(Ending::Failed);
    assert_eq!(rig.next().send, None);
    rig.outcome(Outcome::Sent(Some(9)));
    assert_eq!(rig.screen.kept(), Some(Kept { turn: key(1), id: Some(9), stray: false }));
    assert_eq!(panels(&rig.pass(9 * SECOND)), ["4: close 9 | Failed · 0s · 1 tool call"]);
}

#[test]
fn a_parked_turn_says_that_it_waits_and_goes_on_in_the_same_panel() {
    let mut rig = Rig::new(ChatKind::Private);
    rig.begin();
    rig.call("ls", "{}");
    rig.pass(10 * SECOND);
    rig.set(Activity::Parked);
    let next = rig.next();
    assert!(!next.typing, "it waits for a person");
    assert_eq!(said(next.send.as_ref()), "edit 7\nWaiting for you · 1 tool call");
    rig.outcome(Outcome::Sent(None));
    assert_eq!(rig.pass(3600 * SECOND), []);
    rig.turn.as_mut().unwrap().began = rig.clock();
    rig.set(Activity::Asking);
    assert!(panels(&rig.pass(5 * SECOND))[0].contains("edit 7 | Working · "));
    rig.end(Ending::Done);
    assert_eq!(panels(&rig.pass(5 * SECOND)), ["0: close 7 | Done · 5s · 1 tool call"]);
}

#[test]
fn a_panel_of_before_a_restart_goes_on_or_is_closed_as_the_journal_says() {
    let begun = || {
        let mut rig = Rig::new(ChatKind::Group);
        rig.begin();
        rig.call("ls", "{}");
        rig.pass(10 * SECOND);
        rig
    };
    let mut rig = begun();
    rig.restart();
    assert_eq!(rig.next().send, None, "its session has not been read");
    rig.folded(None);
    assert_eq!(said(rig.step(0).as_ref()), "edit 7\nWorking · 10s · 1 tool call\nstarting");

    let mut rig = begun();
    rig.restart();
    let ended = EndedTurn { turn: rig.turn.take().unwrap(), ending: Ending::Done, at: rig.clock() };
    rig.passed += 60 * SECOND;
    rig.folded(Some(ended));
    assert_eq!(said(rig.step(0).as_ref()), "close 7\nDone · 10s · 1 tool call");

    let mut rig = begun();
    rig.restart();
    assert_eq!(panels(&rig.pass(60 * SECOND)), ["30: close 7 | Interrupted"], "nobody ever said what became of it");

    let mut rig = begun();
    rig.restart();
    rig.turns += 1;
    rig.turn = Some(LiveTurn { key: key(5), ..rig.turn.unwrap() });
    rig.folded(None);
    assert_eq!(said(rig.step(0).as_ref()), "close 7\nInterrupted");
}

#[test]
fn times_are_short() {
    let said = |seconds| span(Duration::from_secs(seconds));
    assert_eq!([said(0), said(12), said(184), said(3720)], ["0s", "12s", "3m 04s", "1h 02m"]);
}

/// What a panel says in the course of a turn.
#[test]
fn what_a_panel_says() {
    let mut rig = Rig::new(ChatKind::Group);
    let mut pages = Vec::new();
    let mut page = |rig: &mut Rig, what: &str| {
        rig.passed += 30 * SECOND;
        let shown = rig.step(7);
        pages.push(format!("## {what}\n{}\n", said(shown.as_ref())));
    };
    rig.begin();
    page(&mut rig, "thinking");
    rig.text("Let me look.");
    page(&mut rig, "says something first");
    let read = rig.call("file_read", r#"{"file_path":"src/main.rs"}"#);
    page(&mut rig, "a call");
    let grep = rig.call("grep", r#"{"pattern":"two\nlines"}"#);
    rig.view.call_progress(&grep, "120 files\u{1b}[31m\u{202e} searched\n".into());
    page(&mut rig, "two calls, one with progress");
    let end = |ok| LiveEnd { ok, duration_ms: 5, summary: None };
    rig.view.call_ended(&grep, end(true));
    rig.view.call_ended(&read, end(false));
    page(&mut rig, "both returned");
    let step = |n: usize, state: &str| (format!("Step {n}"), state.to_owned());
    let plan = (1..=12)
        .map(|n| {
            step(
                n,
                if n < 6 {
                    "done"
                } else if n == 6 {
                    "active"
                } else {
                    "pending"
                },
            )
        })
        .collect();
    rig.view.plan(plan, Some("  Moving the parser\n to its own module ".into()));
    rig.view.ask(false);
    rig.set(Activity::Asking);
    page(&mut rig, "a plan");
    rig.view.held_up(Some("the disk is full".into()));
    page(&mut rig, "no room");
    rig.view.held_up(None);
    rig.view.give_up();
    rig.turn.as_mut().unwrap().tries = 2;
    rig.set(Activity::Asking);
    page(&mut rig, "a failed request");
    rig.view.stand_in(Some(StandIn { model: "other".into(), instead_of: "main".into() }));
    rig.view.ask(true);
    page(&mut rig, "another model");
    rig.text(&"All is done. ".repeat(60));
    rig.passed += 3600 * SECOND;
    page(&mut rig, "a long answer");
    rig.set(Activity::Parked);
    page(&mut rig, "parked");
    rig.set(Activity::Asking);
    rig.next();
    rig.outcome(Outcome::Sent(None));
    rig.end(Ending::Done);
    page(&mut rig, "done");
    insta::assert_snapshot!(pages.join("\n"));
}
