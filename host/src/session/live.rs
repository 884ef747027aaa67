//! What can be seen of a turn while it runs: the latest value wins, nothing here is journalled, and nobody who looks can
//! hold up the turn.
//!
//! The session writes through [`LiveView`]; a channel watches. Text only grows within one answer, so a watcher that
//! remembers how much it has seen needs to copy only the rest.

use std::sync::Arc;

use tokio::sync::watch;

use crate::chat::FailureKind;
use crate::ids::{CallId, InboxId};
use crate::plugins::Delta;

/// A turn as a watcher sees it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub activity: Activity,
    /// Counts the answers; another number means that `text` began anew.
    pub answer: u64,
    /// The answer so far was given up.
    pub discarded: bool,
    pub text: String,
    /// Calls of the running turn, in order.
    pub calls: Vec<LiveCall>,
    /// The plan that a tool published: text and `pending|active|done`.
    pub plan: Vec<(String, String)>,
    pub plan_note: Option<String>,
    /// Why the turn is parked, when its model request failed.
    pub failure: Option<FailureKind>,
    /// The newest message that a parked turn left in the inbox, with a notice.
    pub left: Option<InboxId>,
    /// Why the session waits and cannot go on now: the disk is full, or the database is locked.
    pub held_up: Option<String>,
}

/// What the session is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    #[default]
    Idle,
    Asking,
    Calling,
    Parked,
}

/// One call of the running turn.
#[derive(Debug, Clone)]
pub struct LiveCall {
    pub call: CallId,
    pub name: String,
    /// The argument that tells most.
    pub argument: String,
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
        matches!(self.0.borrow().activity, Activity::Asking | Activity::Calling)
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

    /// The model request that parked the turn failed like this; none: something else, or nothing.
    pub fn failure(&self, failure: Option<FailureKind>) {
        self.0.send_if_modified(|live| std::mem::replace(&mut live.failure, failure) != failure);
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

    /// A parked turn left the messages up to this one in the inbox.
    pub fn left(&self, newest: Option<InboxId>) {
        self.0.send_if_modified(|live| std::mem::replace(&mut live.left, newest) != newest);
    }

    /// See [`Live::left`].
    #[must_use]
    pub fn newest_left(&self) -> Option<InboxId> {
        self.0.borrow().left
    }

    /// A new turn: nothing is shown of the one before.
    pub fn begin(&self) {
        self.0.send_modify(|live| {
            live.calls.clear();
            live.plan.clear();
            live.plan_note = None;
            live.text.clear();
            live.answer += 1;
            live.discarded = false;
        });
    }

    /// A model was asked; `again` when its answer replaces one that was given up.
    pub fn ask(&self, again: bool) {
        self.0.send_modify(|live| {
            live.activity = Activity::Asking;
            live.discarded = again && (live.discarded || !live.text.is_empty());
            live.text.clear();
            live.answer += 1;
        });
    }

    /// The answer broke off: what was shown of it is no reply, whether it is asked for again or not.
    pub fn give_up(&self) {
        self.0.send_if_modified(|live| {
            let shown = !live.text.is_empty();
            if shown {
                live.discarded = true;
                live.text.clear();
                live.answer += 1;
            }
            shown
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

    /// Has text of the current answer been shown?
    #[must_use]
    pub fn has_text(&self) -> bool {
        !self.0.borrow().text.is_empty()
    }

    /// A call has begun.
    pub fn call_began(&self, call: &CallId, name: &str, arguments: &str) {
        self.0.send_modify(|live| {
            live.activity = Activity::Calling;
            live.calls.push(LiveCall {
                call: call.clone(),
                name: name.to_owned(),
                argument: key_argument(arguments),
                progress: None,
                ended: None,
            });
        });
    }

    /// A running call says where it is.
    pub fn call_progress(&self, call: &CallId, text: String) {
        self.change_call(call, |live| live.progress = Some(text));
    }

    /// A call has ended.
    pub fn call_ended(&self, call: &CallId, end: LiveEnd) {
        self.change_call(call, |live| live.ended = Some(end));
    }

    /// Replaces the plan.
    pub fn plan(&self, steps: Vec<(String, String)>, note: Option<String>) {
        self.0.send_modify(|live| (live.plan, live.plan_note) = (steps, note));
    }

    fn change_call(&self, call: &CallId, change: impl FnOnce(&mut LiveCall)) {
        self.0.send_if_modified(|live| live.calls.iter_mut().rev().find(|known| known.call == *call).map(change).is_some());
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

    #[test]
    fn the_telling_argument_comes_first_and_is_one_short_line() {
        assert_eq!(key_argument(r#"{"content":"x","file_path":"a.txt"}"#), "a.txt");
        assert_eq!(key_argument(r#"{"text":"one\ntwo"}"#), "one…");
        assert_eq!(key_argument(&format!(r#"{{"q":"{}"}}"#, "y".repeat(80))).chars().count(), ARGUMENT_CHARS + 1);
        assert_eq!(key_argument("not json"), "");
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
