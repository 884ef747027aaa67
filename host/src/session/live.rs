//! What can be seen of a turn while it runs: the latest value wins, nothing here is journalled, and nobody who looks can
//! hold up the turn.
//!
//! The session writes through [`LiveView`]; a channel watches. Text only grows within one answer, so a watcher that
//! remembers how much it has seen needs to copy only the rest.

use std::sync::Arc;

use tokio::sync::watch;

use crate::chat::FailureKind;
use crate::clock::Moment;
use crate::ids::{CallId, InboxId, SessionId, TurnKey};
use crate::limits::LIVE_CALLS;
use crate::plugins::Delta;
use crate::session::event::{Ending, ParkReason};

/// A turn as a watcher sees it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub activity: Activity,
    /// The session, as soon as its journal has been read.
    pub session: Option<SessionId>,
    /// The turn that runs or is parked.
    pub turn: Option<LiveTurn>,
    /// The turn that ended last. It stays when another one begins.
    pub ended: Option<EndedTurn>,
    /// The model is asked, for the first time or again; not while the request is only prepared, or waits for its next try.
    pub asked: bool,
    /// Counts the answers; another number means that `text` began anew.
    pub answer: u64,
    /// The answer so far was given up.
    pub discarded: bool,
    pub text: String,
    /// Somebody showed text of this answer to a person. Nobody is told when it changes.
    pub shown: bool,
    /// Calls of the turn, in order: all that run, and those that ended last.
    pub calls: Vec<LiveCall>,
    /// The plan that a tool published: text and `pending|active|done`.
    pub plan: Vec<(String, String)>,
    pub plan_note: Option<String>,
    /// Why the turn is parked, when its model request failed.
    pub failure: Option<FailureKind>,
    /// Another model is asked than the conversation's.
    pub stand_in: Option<StandIn>,
    /// The newest message that a parked turn left in the inbox, with a notice.
    pub left: Option<InboxId>,
    /// Why the session waits and cannot go on now: the disk is full, or the database is locked.
    pub held_up: Option<String>,
}

/// A turn that runs or is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveTurn {
    pub key: TurnKey,
    /// When it began, or was set going again after it was parked: by the journal, so it is the same after a restart.
    pub began: Moment,
    /// Tool calls that were started.
    pub calls: u32,
    /// How often in a row its model request has failed.
    pub tries: u32,
    pub parked: Option<ParkReason>,
}

/// A turn that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedTurn {
    pub turn: LiveTurn,
    pub ending: Ending,
    pub at: Moment,
}

/// A model that is asked instead of another one, by alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    pub model: String,
    pub instead_of: String,
}

/// What the session is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    #[default]
    Idle,
    Asking,
    Calling,
    /// The older part of the history is being summarised.
    Compacting,
    /// The same while nobody waits for anything.
    Tidying,
    Parked,
}

impl Activity {
    /// Is a model asked or a tool running?
    #[must_use]
    pub fn is_working(self) -> bool {
        matches!(self, Self::Asking | Self::Calling | Self::Compacting | Self::Tidying)
    }

    /// Does somebody wait for what it comes to?
    #[must_use]
    pub fn is_awaited(self) -> bool {
        self.is_working() && self != Self::Tidying
    }
}

/// One call of the running turn.
#[derive(Debug, Clone)]
pub struct LiveCall {
    pub call: CallId,
    pub name: String,
    /// The argument that tells most.
    pub argument: String,
    pub began: Moment,
    pub progress: Option<String>,
    pub ended: Option<LiveEnd>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct LiveEnd {
    pub ok: bool,
    pub duration_ms: u64,
    pub summary: Option<String>,
}

/// The writing side.
#[derive(Debug, Clone)]
pub struct LiveView(Arc<watch::Sender<Live>>);

impl Default for LiveView {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Live::default())))
    }
}

impl LiveView {
    /// Watches from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Live> {
        self.0.subscribe()
    }

    /// Is a model asked or a tool running?
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.0.borrow().activity.is_working()
    }

    /// Does anybody watch?
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Says what the session is doing now.
    pub fn activity(&self, activity: Activity) {
        self.0.send_if_modified(|live| std::mem::replace(&mut live.activity, activity) != activity);
    }

    /// Says what the session is doing with which turn, and which one has just ended. Of another turn nothing is shown any more.
    pub fn turn(&self, activity: Activity, turn: Option<LiveTurn>, ended: Option<EndedTurn>) {
        self.0.send_if_modified(|live| live.turn(activity, turn, ended));
    }

    /// The same when the journal of the session has just been read: nothing is asked, and nothing runs yet.
    pub fn folded(&self, session: SessionId, activity: Activity, turn: Option<LiveTurn>, ended: Option<EndedTurn>) {
        self.0.send_modify(|live| {
            live.session = Some(session);
            live.turn(activity, turn, ended);
            live.asked = false;
        });
    }

    /// The model request that parked the turn failed like this; none: something else, or nothing.
    pub fn failure(&self, failure: Option<FailureKind>) {
        self.0.send_if_modified(|live| std::mem::replace(&mut live.failure, failure) != failure);
    }

    /// Says who is asked; none: the conversation's own model.
    pub fn stand_in(&self, stand_in: Option<StandIn>) {
        self.0.send_if_modified(|live| {
            let changed = live.stand_in != stand_in;
            live.stand_in = stand_in;
            changed
        });
    }

    /// See [`Live::failure`].
    #[must_use]
    pub fn last_failure(&self) -> Option<FailureKind> {
        self.0.borrow().failure
    }

    /// The session waits for this; none: it goes on.
    pub fn held_up(&self, by: Option<String>) {
        self.0.send_if_modified(|live| {
            let changed = live.held_up != by;
            live.held_up = by;
            changed
        });
    }

    /// See [`Live::held_up`].
    #[must_use]
    pub fn held_up_by(&self) -> Option<String> {
        self.0.borrow().held_up.clone()
    }

    /// A parked turn left the messages up to this one in the inbox.
    pub fn left(&self, newest: Option<InboxId>) {
        self.0.send_if_modified(|live| std::mem::replace(&mut live.left, newest) != newest);
    }

    /// See [`Live::left`].
    #[must_use]
    pub fn newest_left(&self) -> Option<InboxId> {
        self.0.borrow().left
    }

    /// A model was asked; `again` when its answer replaces one that was given up.
    pub fn ask(&self, again: bool) {
        self.0.send_modify(|live| {
            live.activity = Activity::Asking;
            live.discarded = again && (live.discarded || !live.text.is_empty());
            live.next_answer(true);
        });
    }

    /// The answer broke off: what was shown of it is no reply, whether it is asked for again or not.
    pub fn give_up(&self) {
        self.0.send_if_modified(|live| {
            let (asked, had_text) = (live.asked, !live.text.is_empty());
            live.asked = false;
            if had_text {
                live.discarded = true;
                live.next_answer(false);
            }
            asked || had_text
        });
    }

    /// Something of the answer arrived.
    pub fn deltas(&self, deltas: &[Delta]) {
        let grows = deltas.iter().any(|delta| matches!(delta, Delta::Text(_)));
        if grows {
            self.0.send_modify(|live| {
                for delta in deltas {
                    if let Delta::Text(text) = delta {
                        live.text.push_str(text);
                    }
                }
            });
        }
    }

    /// Has text of the current answer arrived?
    #[must_use]
    pub fn has_text(&self) -> bool {
        !self.0.borrow().text.is_empty()
    }

    /// Text of the answer with this number is shown to a person, or about to be. Whoever shows text says so: a newer message
    /// does not break off what somebody reads.
    pub fn mark_shown(&self, answer: u64) {
        self.0.send_if_modified(|live| {
            live.shown |= live.answer == answer && !live.text.is_empty();
            false
        });
    }

    /// See [`LiveView::mark_shown`].
    #[must_use]
    pub fn has_shown(&self) -> bool {
        self.0.borrow().shown
    }

    /// A call has begun.
    pub fn call_began(&self, call: &CallId, name: &str, arguments: &str, at: Moment) {
        self.0.send_modify(|live| {
            live.activity = Activity::Calling;
            live.call_began(call, name, arguments, at);
        });
    }

    /// A running call says where it is.
    pub fn call_progress(&self, call: &CallId, text: String) {
        self.change_call(call, |live| live.progress = Some(text));
    }

    /// A call has ended.
    pub fn call_ended(&self, call: &CallId, end: LiveEnd) {
        self.change_call(call, |live| live.ended = Some(end));
        self.0.send_if_modified(Live::forget_calls);
    }

    /// The journal says that a call is over: one that did not return, or this view knows it already.
    pub fn call_closed(&self, call: &CallId, ok: bool, at: Moment) {
        self.change_call(call, |live| live.ended = Some(LiveEnd { ok, duration_ms: at.since(live.began), summary: None }));
        self.0.send_if_modified(Live::forget_calls);
    }

    /// Replaces the plan.
    pub fn plan(&self, steps: Vec<(String, String)>, note: Option<String>) {
        self.0.send_modify(|live| (live.plan, live.plan_note) = (steps, note));
    }

    fn change_call(&self, call: &CallId, change: impl FnOnce(&mut LiveCall)) {
        let is_open = |known: &&mut LiveCall| known.call == *call && known.ended.is_none();
        self.0.send_if_modified(|live| live.calls.iter_mut().rev().find(is_open).map(change).is_some());
    }
}

impl Live {
    /// True: something is different now.
    fn turn(&mut self, activity: Activity, turn: Option<LiveTurn>, ended: Option<EndedTurn>) -> bool {
        let ended = ended.or(self.ended);
        let changed = (self.activity, self.turn, self.ended) != (activity, turn, ended);
        if turn.is_some_and(|turn| self.turn.is_none_or(|known| known.key != turn.key)) {
            self.calls.clear();
            self.plan.clear();
            self.plan_note = None;
            self.stand_in = None;
            self.discarded = false;
            self.next_answer(false);
        }
        (self.activity, self.turn, self.ended) = (activity, turn, ended);
        changed
    }

    fn next_answer(&mut self, asked: bool) {
        self.text.clear();
        self.shown = false;
        self.answer += 1;
        self.asked = asked;
    }

    /// A call that begins again takes its own place.
    fn call_began(&mut self, call: &CallId, name: &str, arguments: &str, began: Moment) {
        let argument = key_argument(arguments);
        self.calls.retain(|known| known.call != *call);
        self.calls.push(LiveCall { call: call.clone(), name: name.to_owned(), argument, began, progress: None, ended: None });
    }

    /// Keeps the calls that ended last. Nobody is told of it: they have been seen.
    fn forget_calls(&mut self) -> bool {
        let mut left = self.calls.iter().filter(|call| call.ended.is_some()).count();
        self.calls.retain(|call| {
            let kept = call.ended.is_none() || left <= LIVE_CALLS;
            left -= usize::from(call.ended.is_some());
            kept
        });
        false
    }
}

/// Arguments that tell a person what a call is about, best first.
const TELLING: &[&str] = &["file_path", "path", "pattern", "command", "url", "query", "prompt", "name"];

/// The most that is shown of an argument, in characters.
const ARGUMENT_CHARS: usize = 60;

/// The argument that tells most about a call, on one line.
#[must_use]
pub fn key_argument(arguments: &str) -> String {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(arguments) else { return String::new() };
    let telling = TELLING.iter().find_map(|name| object.get(*name)?.as_str());
    let Some(value) = telling.or_else(|| object.values().find_map(serde_json::Value::as_str)) else { return String::new() };
    let line = value.lines().next().unwrap_or_default();
    if line.chars().count() > ARGUMENT_CHARS || line.len() < value.trim_end().len() {
        let mut cut: String = line.chars().take(ARGUMENT_CHARS).collect();
        cut.push('…');
        return cut;
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TurnId;

    #[test]
    fn the_telling_argument_comes_first_and_is_one_short_line() {
        assert_eq!(key_argument(r#"{"content":"x","file_path":"a.txt"}"#), "a.txt");
        assert_eq!(key_argument(r#"{"text":"one\ntwo"}"#), "one…");
        assert_eq!(key_argument(&format!(r#"{{"q":"{}"}}"#, "y".repeat(80))).chars().count(), ARGUMENT_CHARS + 1);
        assert_eq!(key_argument("not json"), "");
    }

    fn turn(number: i64) -> LiveTurn {
        let key = TurnKey { session: SessionId(4), turn: TurnId(number) };
        LiveTurn { key, began: Moment(1000), calls: 0, tries: 0, parked: None }
    }

    #[test]
    fn who_watches_and_shows_nothing_does_not_count_as_a_reader() {
        let view = LiveView::default();
        let mut watch = view.watch();
        view.ask(false);
        let answer = watch.borrow_and_update().answer;
        view.mark_shown(answer);
        assert!(!view.has_shown(), "there was nothing to be shown");
        view.deltas(&[Delta::Text("Hello".into())]);
        assert!(view.has_text() && !view.has_shown());
        watch.borrow_and_update();
        view.mark_shown(answer - 1);
        assert!(!view.has_shown(), "that was another answer");
        view.mark_shown(answer);
        assert!(view.has_shown());
        assert!(!watch.has_changed().unwrap(), "nobody needs to look because of it");
        view.give_up();
        assert!(!view.has_shown(), "what was shown of it is taken back");
        view.deltas(&[Delta::Text("Hello".into())]);
        view.mark_shown(answer + 1);
        view.ask(true);
        assert!(!view.has_shown());
    }

    #[test]
    fn another_turn_begins_empty_and_the_same_one_goes_on() {
        let view = LiveView::default();
        let watch = view.watch();
        view.turn(Activity::Asking, Some(turn(1)), None);
        view.plan(vec![("look".into(), "active".into())], None);
        view.call_began(&CallId("s4.t1.1.0".into()), "ls", "{}", Moment(0));
        view.turn(Activity::Calling, Some(LiveTurn { calls: 1, ..turn(1) }), None);
        assert_eq!((watch.borrow().plan.len(), watch.borrow().calls.len()), (1, 1));
        let end = EndedTurn { turn: turn(1), ending: Ending::Done, at: Moment(5000) };
        view.turn(Activity::Idle, None, Some(end));
        assert_eq!((watch.borrow().plan.len(), watch.borrow().ended), (1, Some(end)), "what it came to can still be seen");
        view.turn(Activity::Asking, Some(turn(2)), None);
        assert_eq!((watch.borrow().plan.len(), watch.borrow().calls.len(), watch.borrow().ended), (0, 0, Some(end)));
    }

    #[test]
    fn calls_that_ended_are_kept_in_a_bounded_number() {
        let view = LiveView::default();
        let watch = view.watch();
        let id = |n: usize| CallId(format!("s4.t1.1.{n}"));
        for n in 0..LIVE_CALLS + 10 {
            view.call_began(&id(n), "ls", "{}", Moment(0));
        }
        assert_eq!(watch.borrow().calls.len(), LIVE_CALLS + 10, "all that run");
        for n in 0..LIVE_CALLS + 5 {
            view.call_ended(&id(n), LiveEnd { ok: true, duration_ms: 1, summary: None });
        }
        let kept: Vec<_> = watch.borrow().calls.iter().map(|call| call.call.clone()).collect();
        assert_eq!(kept, (5..LIVE_CALLS + 10).map(id).collect::<Vec<_>>());
    }

    #[test]
    fn a_call_that_did_not_return_ends_with_its_journal_and_only_once() {
        let view = LiveView::default();
        let watch = view.watch();
        let call = CallId("s4.t1.1.0".into());
        view.call_began(&call, "nap", "{}", Moment(1000));
        view.call_closed(&call, false, Moment(3000));
        view.call_ended(&call, LiveEnd { ok: true, duration_ms: 9, summary: None });
        let ends = || watch.borrow().calls.iter().map(|call| call.ended.as_ref().map(|end| (end.ok, end.duration_ms))).collect::<Vec<_>>();
        assert_eq!(ends(), [Some((false, 2000))]);
        view.call_began(&call, "nap", "{}", Moment(4000));
        assert_eq!(ends(), [None], "it runs again, in its own place");
    }

    #[test]
    fn a_watcher_sees_text_grow_and_begin_anew() {
        let view = LiveView::default();
        let watch = view.watch();
        view.ask(false);
        view.deltas(&[Delta::Text("Hel".into()), Delta::Reasoning("hm".into())]);
        view.deltas(&[Delta::Text("lo".into())]);
        let first = watch.borrow().answer;
        assert_eq!(watch.borrow().text, "Hello");
        view.ask(true);
        assert!(watch.borrow().discarded && watch.borrow().text.is_empty() && watch.borrow().answer > first);
    }

    #[test]
    fn an_answer_that_broke_off_is_taken_back_also_when_it_was_the_last() {
        let view = LiveView::default();
        let watch = view.watch();
        view.ask(false);
        view.give_up();
        assert!(!watch.borrow().discarded, "nothing was shown");
        view.deltas(&[Delta::Text("Half".into())]);
        let first = watch.borrow().answer;
        view.give_up();
        let is_taken_back = || watch.borrow().discarded && watch.borrow().text.is_empty() && watch.borrow().answer > first;
        assert!(is_taken_back());
        view.ask(true);
        assert!(is_taken_back(), "whoever looks only now learns it too");
    }
}
