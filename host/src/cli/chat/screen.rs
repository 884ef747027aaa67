//! What a conversation looks like: on a terminal as it happens, in a pipe as plain text.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use super::text::harmless;
use crate::channels::terminal::protocol::{Kind, ToClient};

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A person watches: text as it is written, tool lines, perhaps colours.
    Watched { colours: bool },
    /// A program reads: only what is delivered.
    Plain,
}

/// Writes events to `out`. What was streamed of an answer is not written again when it is delivered.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    out: W,
    style: Style,
    /// The streamed part of the current answer.
    shown: String,
    /// The cursor is not at the beginning of a line.
    inside_line: bool,
    running: HashMap<String, String>,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W, style: Style) -> Self {
        Self { out, style, shown: String::new(), inside_line: false, running: HashMap::new() }
    }

    /// Shows an event, if it is one that can be seen.
    pub(crate) fn show(&mut self, event: &ToClient) -> io::Result<()> {
        match event {
            ToClient::Deliver { kind, text, .. } => self.deliver(*kind, text)?,
            _ if self.style == Style::Plain => {}
            ToClient::Text { append } => {
                self.write(append)?;
                self.shown.push_str(append);
            }
            ToClient::Discard => {
                if !self.shown.is_empty() {
                    self.end_line()?;
                    self.aside("the answer broke off")?;
                }
                self.shown.clear();
            }
            ToClient::HeldUp { reason } => {
                self.end_line()?;
                self.aside(&format!("waiting: {reason}"))?;
            }
            ToClient::Summarising => {
                self.end_line()?;
                self.aside("summarising the conversation so far")?;
            }
            ToClient::StandIn { model, instead_of } => {
                self.end_line()?;
                self.shown.clear();
                self.aside(&format!("{model} stands in for {instead_of}"))?;
            }
            ToClient::ToolStarted { call, argument, .. } => {
                self.end_line()?;
                self.shown.clear();
                self.running.insert(call.clone(), argument.clone());
            }
            ToClient::ToolEnded { call, name, ok, duration_ms, summary } => {
                let argument = self.running.remove(call).unwrap_or_default();
                self.end_line()?;
                let mark = if *ok { "·" } else { "✗" };
                let summary = summary.as_deref().unwrap_or_default();
                let mut line = format!("{mark} {name}");
                if !argument.is_empty() && !summary.contains(&argument) {
                    line.push(' ');
                    line.push_str(&argument);
                }
                if !summary.is_empty() {
                    line.push_str(": ");
                    line.push_str(summary);
                }
                line.push_str(&format!("  {}", short(Duration::from_millis(*duration_ms))));
                self.aside(&line)?;
            }
            _ => {}
        }
        self.out.flush()
    }

    fn deliver(&mut self, kind: Kind, text: &str) -> io::Result<()> {
        let rest = match (kind, text.strip_prefix(self.shown.as_str())) {
            (Kind::Final, Some(rest)) => rest,
            _ => {
                self.end_line()?;
                text
            }
        };
        self.write(rest)?;
        self.end_line()?;
        if kind == Kind::Final {
            self.shown.clear();
        }
        Ok(())
    }

    /// A line about what happens, not part of an answer.
    fn aside(&mut self, line: &str) -> io::Result<()> {
        let line = harmless(line);
        match self.style {
            Style::Watched { colours: true } => writeln!(self.out, "\x1b[2m{line}\x1b[0m"),
            _ => writeln!(self.out, "{line}"),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let text = harmless(text);
        if let Some(last) = text.bytes().last() {
            self.out.write_all(text.as_bytes())?;
            self.inside_line = last != b'\n';
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.inside_line) {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// A span of time as a person says it.
fn short(span: Duration) -> String {
    match span.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        ms => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(style: Style, events: &[ToClient]) -> String {
        let mut screen = Screen::new(Vec::new(), style);
        for event in events {
            screen.show(event).unwrap();
        }
        String::from_utf8(screen.out).unwrap()
    }

    fn deliver(kind: Kind, text: &str) -> ToClient {
        ToClient::Deliver { key: "s1.t1.final".into(), part: 0, kind, text: text.into() }
    }

    fn turn() -> Vec<ToClient> {
        vec![
            ToClient::Text { append: "Let me look.".into() },
            ToClient::ToolStarted { call: "s1.t1.1.0".into(), name: "file_read".into(), argument: "a.txt".into() },
            ToClient::ToolEnded { call: "s1.t1.1.0".into(), name: "file_read".into(), ok: true, duration_ms: 12, summary: None },
            ToClient::Text { append: "It says ".into() },
            ToClient::Text { append: "hi.".into() },
            deliver(Kind::Final, "It says hi."),
        ]
    }

    #[test]
    fn a_person_sees_the_turn_and_no_text_twice() {
        assert_eq!(shown(Style::Watched { colours: false }, &turn()), "Let me look.\n· file_read a.txt  12 ms\nIt says hi.\n");
    }

    #[test]
    fn a_pipe_gets_only_what_is_delivered() {
        assert_eq!(shown(Style::Plain, &turn()), "It says hi.\n");
    }

    #[test]
    fn an_answer_that_was_given_up_is_not_taken_for_the_new_one() {
        let events = [
            ToClient::Text { append: "Half an".into() },
            ToClient::Discard,
            ToClient::Text { append: "A whole".into() },
            deliver(Kind::Final, "A whole answer."),
        ];
        assert_eq!(shown(Style::Watched { colours: false }, &events), "Half an\nthe answer broke off\nA whole answer.\n");
    }

    #[test]
    fn a_turn_that_stands_still_says_why() {
        let events = [
            ToClient::Text { append: "Half".into() },
            ToClient::HeldUp { reason: "the disk is full".into() },
            deliver(Kind::Final, "Half and half."),
        ];
        assert_eq!(shown(Style::Watched { colours: false }, &events), "Half\nwaiting: the disk is full\n and half.\n");
    }

    #[test]
    fn who_waits_for_a_summary_is_told() {
        let events = [ToClient::Summarising, ToClient::Text { append: "Go on.".into() }, deliver(Kind::Final, "Go on.")];
        assert_eq!(shown(Style::Watched { colours: false }, &events), "summarising the conversation so far\nGo on.\n");
    }

    #[test]
    fn who_stands_in_is_said_between_the_lines() {
        let stands_in = ToClient::StandIn { model: "other".into(), instead_of: "ma\x1b[2Jin".into() };
        let events = [ToClient::Text { append: "Half".into() }, ToClient::Discard, stands_in, deliver(Kind::Final, "All of it.")];
        let watched = shown(Style::Watched { colours: false }, &events);
        assert_eq!(watched, "Half\nthe answer broke off\nother stands in for ma␛[2Jin\nAll of it.\n");
        assert_eq!(shown(Style::Plain, &events), "All of it.\n");
    }

    #[test]
    fn escape_sequences_of_the_model_do_not_get_out() {
        let text = shown(Style::Watched { colours: true }, &[deliver(Kind::Final, "\x1b[2Jgone")]);
        assert_eq!(text, "␛[2Jgone\n");
    }
}
