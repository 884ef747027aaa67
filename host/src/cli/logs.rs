//! `logs`: what the host of the work directory has said, and what it says.
//!
//! It reads the files that a host writes; secrets were taken out when they were written. One record is one line.

pub(super) mod follow;

use std::fmt::Write as _;

use serde_json::Value;

use self::follow::Followed;
use super::args::{LogLevel, LogsArgs};
use super::chat::{eprintln, harmless};
use super::{Context, ExitCode, output};
use crate::ids::ConversationId;
use crate::store::Store;
use crate::workdir::WorkDir;
use crate::{limits, observe};

/// Shows the last lines, and follows when asked to.
pub(super) async fn run(context: &Context, args: LogsArgs) -> anyhow::Result<ExitCode> {
    let workdir = WorkDir::existing(&context.workdir)?;
    let mut wanted = Wanted { level: args.level, conversation: args.conversation, sessions: Vec::new() };
    wanted.find_sessions(&workdir).await;
    let (lines, mut place) = Followed::after(&workdir.logs(), args.lines, &|line| wanted.wants(line));
    if !show(context, &args, &lines)? || !args.follow {
        if lines.is_empty() && !context.quiet {
            eprintln(&nothing(&workdir));
        }
        return Ok(ExitCode::Ok);
    }
    loop {
        tokio::time::sleep(limits::LOG_LOOKED_AT).await;
        let mut lines = place.new_lines();
        if lines.is_empty() {
            continue;
        }
        // `/new` may have opened another one.
        wanted.find_sessions(&workdir).await;
        lines.retain(|line| wanted.wants(line));
        if !show(context, &args, &lines)? {
            return Ok(ExitCode::Ok);
        }
    }
}

/// Why nothing is shown.
fn nothing(workdir: &WorkDir) -> String {
    match workdir.logs().join(observe::NAME).exists() {
        true => "no line of the log is what was asked for".to_owned(),
        false => format!("there is no log in {} yet; `stellaclaw run` writes it", workdir.logs().display()),
    }
}

/// False: nobody reads any more.
fn show(context: &Context, args: &LogsArgs, lines: &[String]) -> anyhow::Result<bool> {
    let mut text = String::new();
    for line in lines {
        let shown = if args.json { harmless(line).into_owned() } else { told(line, context.color) };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{shown}");
    }
    output::is_read(&text)
}

/// Which lines are shown.
struct Wanted {
    level: LogLevel,
    conversation: Option<ConversationId>,
    /// Those of the conversation.
    sessions: Vec<String>,
}

impl Wanted {
    /// Lines name a conversation or a session. A store that cannot be read is no reason to show nothing.
    async fn find_sessions(&mut self, workdir: &WorkDir) {
        let Some(conversation) = self.conversation else { return };
        if let Ok(store) = Store::open_read_only(workdir)
            && let Ok(sessions) = store.sessions(conversation).await
        {
            self.sessions = sessions.iter().map(|session| session.id.to_string()).collect();
        }
    }

    fn wants(&self, line: &str) -> bool {
        if self.level == LogLevel::Trace && self.conversation.is_none() {
            return true;
        }
        let Ok(Value::Object(record)) = serde_json::from_str(line) else { return false };
        let level = record.get("level").and_then(Value::as_str).and_then(level);
        let Some(conversation) = self.conversation.map(|id| id.to_string()) else { return level <= Some(self.level) };
        // A turn or a call is named after its session: `s4.t9.2.0`.
        let names = |value: &Value| {
            let named = value.as_str().unwrap_or_default();
            let session = named.split('.').next().unwrap_or_default();
            named == conversation || self.sessions.iter().any(|known| known == session)
        };
        level <= Some(self.level) && record.iter().any(|(key, value)| key != "message" && names(value))
    }
}

fn level(word: &str) -> Option<LogLevel> {
    Some(match word {
        "ERROR" => LogLevel::Error,
        "WARN" => LogLevel::Warn,
        "INFO" => LogLevel::Info,
        "DEBUG" => LogLevel::Debug,
        "TRACE" => LogLevel::Trace,
        _ => return None,
    })
}

/// A record on one line: when, how bad, what, and its fields. What is no record is shown as it is.
fn told(line: &str, color: bool) -> String {
    let Ok(Value::Object(record)) = serde_json::from_str(line) else { return harmless(line).into_owned() };
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let word = text("level");
    let code = match level(word) {
        Some(LogLevel::Error) => "31",
        Some(LogLevel::Warn) => "33",
        Some(LogLevel::Info) => "32",
        _ => "2",
    };
    let mut told = format!("{} ", harmless(text("timestamp")));
    // Writing to a string cannot fail.
    let _ = match color {
        true => write!(told, "\u{1b}[{code}m{:>5}\u{1b}[0m", harmless(word)),
        false => write!(told, "{:>5}", harmless(word)),
    };
    let _ = write!(told, " {}", one_line(text("message")));
    for (key, value) in record.iter().filter(|(key, _)| !["timestamp", "level", "message", "target"].contains(&key.as_str())) {
        let value = match value.as_str() {
            Some(text) if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"') => text.to_owned(),
            _ => value.to_string(),
        };
        let _ = write!(told, " {}={}", one_line(key), one_line(&value));
    }
    told
}

fn one_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_harmless_line() {
        let line = r#"{"timestamp":"2026-11-22T14:36:05.000001Z","level":"WARN","message":"a\nb\u001b[31m","path":"/a b","tries":2,"id":"c1","target":"stellaclaw::router"}"#;
        assert_eq!(told(line, false), r#"2026-11-22T14:36:05.000001Z  WARN a\nb␛[31m path="/a b" tries=2 id=c1"#);
        assert_eq!(told(line, true).matches('\u{1b}').count(), 2);
        assert_eq!(told("torn {\u{1b}", false), "torn {␛");
    }

    #[test]
    fn lines_are_chosen_by_level_and_by_whom_they_name() {
        let wanted = |level, conversation: Option<i64>| Wanted {
            level,
            conversation: conversation.map(ConversationId),
            sessions: vec!["s4".into()],
        };
        let line = |level: &str, field: &str| format!(r#"{{"level":"{level}","message":"c1 s4"{field}}}"#);
        let warn = wanted(LogLevel::Warn, None);
        assert!(warn.wants(&line("ERROR", "")) && warn.wants(&line("WARN", "")) && !warn.wants(&line("INFO", "")));
        assert!(!warn.wants("no record") && wanted(LogLevel::Trace, None).wants("no record"));
        let one = wanted(LogLevel::Trace, Some(1));
        for (field, expected) in
            [(r#","conversation":"c1""#, true), (r#","session":"s4""#, true), (r#","call":"s4.t1.2.0""#, true), ("", false)]
        {
            assert_eq!(one.wants(&line("DEBUG", field)), expected, "{field}");
        }
        assert!(!one.wants(&line("DEBUG", r#","call":"s41.t1.2.0""#)) && !one.wants(&line("DEBUG", r#","conversation":"c11""#)));
    }
}
