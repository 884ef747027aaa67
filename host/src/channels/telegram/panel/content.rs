//! What a panel says. Pure; whatever tools and models wrote in it is one bounded, harmless line each.

use std::fmt::Write as _;
use std::time::Duration;

use crate::channels::telegram::render::{self, Entity, Kind, Text};
use crate::clock::Moment;
use crate::limits::{MESSAGE_ENTITIES, MESSAGE_UNITS, PANEL_LINE_UNITS, PANEL_STEPS, PANEL_TAIL_UNITS, PREVIEW_BYTES};
use crate::session::event::Ending;
use crate::session::live::{Activity, EndedTurn, Live, LiveCall};

/// How a turn stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Working,
    Waiting,
    Done,
    Stopped,
    Failed,
    SetAside,
    /// It is over, and nobody knows how it ended.
    Interrupted,
}

/// True whether there is such a message or not.
pub(super) const OUT_OF_DATE: &str = "If a message above still says “Working”, it is out of date.";

/// What a panel says, without the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    standing: Standing,
    activity: Option<String>,
    /// Another model is asked than the conversation's.
    stand_in: Option<String>,
    calls: u32,
    note: Option<String>,
    steps: Vec<String>,
    more: usize,
    /// The end of the answer that is being written.
    tail: Text,
}

impl Content {
    /// What there is to say of the turn that runs or is parked, with the end of its answer or without.
    pub(super) fn of(live: &Live, with_tail: bool) -> Self {
        let standing = if live.activity == Activity::Parked { Standing::Waiting } else { Standing::Working };
        let calls = live.turn.map_or(0, |turn| turn.calls);
        let stand_in = live.stand_in.as_ref().map(|one| line(&format!("{} stands in for {}", one.model, one.instead_of)));
        let content = Self { standing, stand_in, calls, ..Self::default() }.with_plan(live);
        if standing == Standing::Waiting {
            return content;
        }
        let tail = answer(&live.text, PANEL_TAIL_UNITS);
        let activity = Some(activity(live, !tail.text.is_empty()));
        Self { activity, tail: if with_tail { tail } else { Text::default() }, ..content }
    }

    /// The same when the turn is over. `live` is asked for the plan when it still shows that turn's.
    pub(super) fn ended(self, ended: Option<&EndedTurn>, live: Option<&Live>) -> Self {
        let standing = match ended.map(|ended| ended.ending) {
            Some(Ending::Done) => Standing::Done,
            Some(Ending::Cancelled) => Standing::Stopped,
            Some(Ending::Failed) => Standing::Failed,
            Some(Ending::SetAside) => Standing::SetAside,
            None => Standing::Interrupted,
        };
        let calls = ended.map_or(self.calls, |ended| ended.turn.calls);
        let over = Self { standing, activity: None, calls, tail: Text::default(), ..self };
        match live {
            Some(live) => over.with_plan(live),
            None => over,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// A tool was called, there is a plan, or another model answers.
    pub(super) fn is_worth_a_panel(&self) -> bool {
        self.calls > 0 || !self.steps.is_empty() || self.stand_in.is_some()
    }

    pub(super) fn shows_answer(&self) -> bool {
        !self.tail.text.is_empty()
    }

    /// As it is sent. A turn that waits does not say how long. `after_stray`: there may be a panel before it that nobody can
    /// change any more.
    pub(super) fn text(&self, elapsed: Option<Duration>, after_stray: bool) -> Text {
        let mut text = String::from(match self.standing {
            Standing::Working => "Working",
            Standing::Waiting => "Waiting for you",
            Standing::Done => "Done",
            Standing::Stopped => "Stopped",
            Standing::Failed => "Failed",
            Standing::SetAside => "Set aside",
            Standing::Interrupted => "Interrupted",
        });
        if let Some(elapsed) = elapsed.filter(|_| self.standing != Standing::Waiting) {
            text.push_str(" · ");
            text.push_str(&span(elapsed));
        }
        match self.calls {
            0 => {}
            1 => text.push_str(" · 1 tool call"),
            calls => _ = write!(text, " · {calls} tool calls"),
        }
        for line in self.stand_in.iter().chain(&self.activity) {
            text.push('\n');
            text.push_str(line);
        }
        if self.note.is_some() || !self.steps.is_empty() {
            text.push('\n');
        }
        for line in self.note.iter().chain(&self.steps) {
            text.push('\n');
            text.push_str(line);
        }
        if self.more > 0 {
            _ = write!(text, "\n{} more", self.more);
        }
        if after_stray {
            text.push_str("\n\n");
            text.push_str(OUT_OF_DATE);
        }
        self.quote_answer(text)
    }

    /// The same with the end of the answer below it, as a quote: quotes in it are not marked, for they do not nest.
    fn quote_answer(&self, mut text: String) -> Text {
        if !self.shows_answer() {
            return Text { text, entities: Vec::new() };
        }
        text.push_str("\n\n");
        let offset = units(&text);
        let quote = Entity { kind: Kind::Blockquote, offset, length: self.tail.units(), url: None, language: None };
        let is_quote = |entity: &&Entity| matches!(entity.kind, Kind::Blockquote | Kind::ExpandableBlockquote);
        let inner = self.tail.entities.iter().filter(|entity| !is_quote(entity)).take(MESSAGE_ENTITIES - 1);
        let inner = inner.map(|entity| Entity { offset: entity.offset + offset, ..entity.clone() });
        text.push_str(&self.tail.text);
        Text { text, entities: std::iter::once(quote).chain(inner).collect() }
    }

    /// At most so many steps, those around the first that is not done.
    fn with_plan(self, live: &Live) -> Self {
        let steps = &live.plan;
        let open = steps.iter().position(|(_, state)| state != "done").unwrap_or(steps.len());
        let first = open.saturating_sub(2).min(steps.len().saturating_sub(PANEL_STEPS));
        let shown = steps.iter().skip(first).take(PANEL_STEPS).map(|(text, state)| {
            let mark = match state.as_str() {
                "done" => "[x]",
                "active" => "[>]",
                _ => "[ ]",
            };
            format!("{mark} {}", line(text)).trim_end().to_owned()
        });
        Self {
            steps: shown.collect(),
            more: steps.len().saturating_sub(PANEL_STEPS),
            note: live.plan_note.as_deref().map(line).filter(|note| !note.is_empty()),
            ..self
        }
    }
}

/// What is going on right now.
fn activity(live: &Live, is_writing: bool) -> String {
    if let Some(reason) = &live.held_up {
        return line(&format!("on hold: {reason}"));
    }
    if live.activity == Activity::Compacting {
        return "summarising the conversation so far".to_owned();
    }
    if live.activity == Activity::Calling {
        let mut open = live.calls.iter().rev().filter(|call| call.ended.is_none());
        return match (open.next(), live.calls.last()) {
            (Some(call), _) => running(call, open.count()),
            (None, Some(call)) => line(&format!("{} returned", call.name)),
            (None, None) => "preparing tools".to_owned(),
        };
    }
    if is_writing {
        return "writing the answer".to_owned();
    }
    match live.turn {
        _ if live.asked => "thinking".to_owned(),
        Some(turn) if turn.tries > 0 => format!("the model did not answer, trying again (attempt {})", turn.tries.saturating_add(1)),
        _ => "starting".to_owned(),
    }
}

fn running(call: &LiveCall, others: usize) -> String {
    let mut text = call.name.clone();
    if !call.argument.is_empty() {
        text.push_str(": ");
        text.push_str(&call.argument);
    }
    if others > 0 {
        _ = write!(text, " (and {others} more)");
    }
    let progress = call.progress.as_deref().map(line).filter(|progress| !progress.is_empty());
    let text = line(&text);
    match progress {
        Some(progress) => format!("{text}\n{progress}"),
        None => text,
    }
}

/// `12s`, `3m 04s`, `1h 02m`
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// The time from `began` to `now`, unless nobody knows when it began.
pub(super) fn elapsed(began: Moment, now: Moment) -> Option<Duration> {
    (began > Moment::default()).then(|| Duration::from_millis(now.since(began)))
}

/// The answer so far as a draft shows it. Empty when there is nothing to see yet.
pub(super) fn draft(markdown: &str) -> Text {
    answer(markdown, MESSAGE_UNITS)
}

/// The end of an answer that is being written. What is far before the end is not looked at: this is done for every change.
fn answer(markdown: &str, units: usize) -> Text {
    let near = markdown.floor_char_boundary(markdown.len().saturating_sub(PREVIEW_BYTES));
    let line = if near == 0 { 0 } else { markdown[near..].find('\n').map_or(near, |at| near + at + 1) };
    render::preview(&markdown[line..], units)
}

/// UTF-16 units, in which Telegram counts.
fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// One bounded line of what may be anything.
fn line(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !is_harmful(*c)).collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if units(&words) <= PANEL_LINE_UNITS {
        return words;
    }
    let cut = words[..bytes_within(words.chars(), PANEL_LINE_UNITS - 1)].trim_end();
    format!("{cut}…")
}

/// The size of so many units of what is shown, in bytes.
fn bytes_within(chars: impl Iterator<Item = char>, mut units: usize) -> usize {
    let mut bytes = 0;
    for c in chars {
        let Some(left) = units.checked_sub(c.len_utf16()) else { break };
        (units, bytes) = (left, bytes + c.len_utf8());
    }
    bytes
}

/// Control characters but white space, and what turns the direction of writing by force.
fn is_harmful(c: char) -> bool {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control() && !other.is_whitespace(),
    }
}
