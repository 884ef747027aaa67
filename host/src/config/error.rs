//! What is wrong with a configuration: where, what, and what to write instead.
//!
//! A problem names the file, the line and the key. It never shows a value that could be a secret.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file was read and is wrong.
    #[error("{}", list(problems))]
    Invalid { problems: Vec<Problem> },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// `models.main.base_url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub fix: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        self.fix.as_ref().map_or(Ok(()), |fix| write!(f, "; {fix}"))
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A file's text with its tables, to tell a key from a place and a place from a key.
pub(super) struct Source<'a> {
    pub file: &'a Path,
    pub text: &'a str,
    pub table: &'a DeTable<'a>,
}

impl Source<'_> {
    /// A problem with the value (or the missing key) at `path`.
    pub fn problem(&self, path: &[&str], message: impl Into<String>, fix: Option<String>) -> Problem {
        let at = place(self.table, path).map_or(0, |span| span.start);
        Problem { file: self.file.to_owned(), line: line(self.text, at), key: join(path), message: message.into(), fix }
    }

    /// Does the file say anything at `path`?
    pub fn has(&self, path: &[&str]) -> bool {
        let mut table = Some(self.table);
        path.iter().all(|key| {
            let value = table.and_then(|table| table.get(*key)).map(toml::Spanned::get_ref);
            table = value.and_then(DeValue::as_table);
            value.is_some()
        })
    }

    /// What serde refused. The key is found by its place; the nearest right one is among those that serde lists.
    pub fn refused(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or(0..0);
        let mut path = Vec::new();
        deepest(self.table, &span, &mut path);
        let (message, fix) = explain(error.message());
        Problem { file: self.file.to_owned(), line: line(self.text, span.start), key: join(&path), message, fix }
    }
}

/// The problem of a text that is not TOML.
pub(super) fn syntax(file: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let at = error.span().map_or(0, |span| span.start);
    let message = format!("not valid TOML: {}", error.message());
    Problem { file: file.to_owned(), line: line(text, at), key: String::new(), message, fix: None }
}

/// The name in `known` that `written` was most likely meant to be.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (written.chars().count() / 3).max(1) + 1;
    known.into_iter().map(|name| (distance(written, name), name)).filter(|(far, _)| *far <= most).min().map(|(_, name)| name)
}

/// Says which of `known` to write.
pub(super) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(written, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
            format!("write {}{}", if names.len() > 1 { "one of " } else { "" }, names.join(", "))
        }
    }
}

/// Turns serde's words into the operator's. `unknown field` and `unknown variant` come with every right name.
fn explain(message: &str) -> (String, Option<String>) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let name = quoted.next().unwrap_or_default();
    if message.starts_with("unknown field") {
        return (format!("unknown key `{name}`"), Some(did_you_mean(name, quoted)));
    }
    if message.starts_with("unknown variant") {
        return (format!("unknown value `{name}`"), Some(did_you_mean(name, quoted)));
    }
    if message.starts_with("missing field") {
        return (format!("the key `{name}` is missing"), Some(format!("add `{name} = …`")));
    }
    match message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => (format!("expects {}, not {}", kind(expected), kind(found)), None),
        None => (message.to_owned(), None),
    }
}

/// Serde's name of a type, or of a value with its type, in plain words. The value is left out: it may be a secret.
fn kind(name: &str) -> &str {
    match name.split(['"', '`']).next().unwrap_or_default().trim() {
        "string" | "a string" | "path string" => "text",
        "integer" | "u64" | "u32" => "a whole number",
        "floating point" | "f64" => "a number",
        "boolean" | "a boolean" => "true or false",
        "sequence" | "a sequence" => "a list",
        "map" | "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        _ => name,
    }
}

/// Edits between two names: an insertion, a removal, a replacement or a swap of neighbours counts one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// `models.main.base_url`, with quotes where TOML wants them.
fn join(path: &[impl AsRef<str>]) -> String {
    let bare = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let part = |key: &str| if bare(key) { key.to_owned() } else { format!("{key:?}") };
    path.iter().map(|key| part(key.as_ref())).collect::<Vec<_>>().join(".")
}

/// Where the key at the end of `path` stands, or the last table on the way to it.
fn place(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    let inner = value.get_ref().as_table().and_then(|table| place(table, rest));
    Some(inner.unwrap_or_else(|| key.span()))
}

/// Follows `span` into the tables as far as it goes.
fn deepest(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let here = covers(&key.span(), span) || covers(&value.span(), span);
        let below = match value.get_ref() {
            DeValue::Table(inner) => deepest(inner, span, path),
            _ => false,
        };
        if below || here {
            return true;
        }
        path.pop();
    }
    false
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["model", "max_output", "provider"];
        assert_eq!(nearest("modle", known), Some("model"));
        assert_eq!(nearest("max-output", known), Some("max_output"));
        assert_eq!(nearest("porvider", known), Some("provider"));
        assert_eq!(nearest("sandbox", known), None);
    }

    #[test]
    fn a_distance_counts_edits() {
        for (a, b, edits) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 1), ("same", "same", 0)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
