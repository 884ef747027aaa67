//! The commands a person can type, and the tool calls they become.
//!
//! One command per line, or several joined by ` && `. A line that begins with no command continues the text of a `write`,
//! `append` or `call` before it; elsewhere it is not understood. `patch` takes everything to `*** End Patch`.

use serde_json::{Map, Value, json};

/// What can be typed, in the words of the help.
pub const COMMANDS: &str = "`ls [path]`, `read FILE`, `write FILE: TEXT`, `append FILE: TEXT`, `edit FILE: OLD => NEW`, \
    `grep WORD [in PATH]`, `glob PATTERN`, `patch` with an envelope on the lines below it, `call TOOL {json}`";

const VERBS: [&str; 10] = ["ls", "read", "write", "append", "edit", "grep", "glob", "patch", "call", "help"];
const PATCH_END: &str = "*** End Patch";

/// A line, understood or not.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A call of a tool.
    Call {
        /// The tool's name.
        tool: String,
        /// Its arguments.
        arguments: Value,
    },
    /// A command with something missing, and what that is.
    Wrong(String),
    /// The person asks what can be typed.
    Help,
    /// No command.
    Unknown,
}

/// The commands of a text.
#[must_use]
pub fn parse(text: &str) -> Vec<Command> {
    statements(text).iter().map(|statement| command(statement)).collect()
}

/// Cuts a text into commands, each with the lines that belong to it.
fn statements(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut in_patch = false;
    for line in text.lines() {
        if in_patch {
            in_patch = line.trim_end() != PATCH_END;
            continue_last(&mut all, line);
            continue;
        }
        let open = all.last().is_some_and(|last| takes_lines(last));
        match verb(line) {
            Some("patch") => {
                in_patch = true;
                all.push(line.trim_start().to_owned());
            }
            Some(_) => all.extend(joined(line.trim())),
            None if open => continue_last(&mut all, line),
            None if line.trim().is_empty() => {}
            None => all.push(line.trim().to_owned()),
        }
    }
    all
}

fn continue_last(all: &mut [String], line: &str) {
    if let Some(last) = all.last_mut() {
        last.push('\n');
        last.push_str(line);
    }
}

/// The parts of `a && b`. A ` && ` before anything but a command belongs to the text around it.
fn joined(line: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for part in line.split(" && ") {
        match all.last_mut() {
            Some(last) if verb(part).is_none() => {
                last.push_str(" && ");
                last.push_str(part);
            }
            _ => all.push(part.trim_start().to_owned()),
        }
    }
    all
}

fn takes_lines(statement: &str) -> bool {
    matches!(verb(statement), Some("write" | "append" | "call"))
}

/// The command a line begins with, in lower case.
fn verb(line: &str) -> Option<&'static str> {
    let word = line.split_whitespace().next()?;
    VERBS.into_iter().find(|verb| verb.eq_ignore_ascii_case(word))
}

fn command(statement: &str) -> Command {
    let Some(verb) = verb(statement) else { return Command::Unknown };
    let rest = statement.trim_start()[verb.len()..].trim();
    match verb {
        "ls" if rest.is_empty() => call("ls", json!({})),
        "ls" => call("ls", json!({"path": unquoted(rest)})),
        "read" if !rest.is_empty() => call("file_read", json!({"file_path": unquoted(rest)})),
        "glob" if !rest.is_empty() => call("glob", json!({"pattern": unquoted(rest)})),
        "grep" if !rest.is_empty() => grep(rest),
        "write" | "append" => write(verb, rest),
        "edit" => edit(rest),
        "patch" if !rest.is_empty() => call("apply_patch", json!({"patch": format!("{rest}\n")})),
        "patch" => wrong("patch", "the envelope below it, from `*** Begin Patch` to `*** End Patch`"),
        "call" => any(rest),
        "help" => Command::Help,
        "grep" => wrong(verb, "a word: `grep welcome in docs`"),
        "glob" => wrong(verb, "a pattern: `glob *.md`"),
        _ => wrong(verb, "a file: `read welcome.md`"),
    }
}

fn call(tool: &str, arguments: Value) -> Command {
    Command::Call { tool: tool.to_owned(), arguments }
}

fn wrong(verb: &str, needs: &str) -> Command {
    Command::Wrong(format!("`{verb}` needs {needs}."))
}

fn unquoted(text: &str) -> &str {
    ['"', '\'', '`'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}

fn grep(rest: &str) -> Command {
    let (pattern, path) = match rest.rsplit_once(" in ") {
        Some((pattern, path)) if !path.trim().contains(char::is_whitespace) => (pattern.trim(), Some(path.trim())),
        _ => (rest, None),
    };
    let mut arguments = json!({"pattern": unquoted(pattern), "names_only": false});
    if let Some(path) = path {
        arguments["path"] = unquoted(path).into();
    }
    call("grep", arguments)
}

/// `FILE: TEXT`. A person writes lines, so the text gets the line feed that ends the last one.
fn write(verb: &str, rest: &str) -> Command {
    let Some((file, text)) = file_and_text(rest) else {
        return wrong(verb, &format!("a file, a colon and the text: `{verb} notes.txt: buy milk`"));
    };
    let mut arguments = json!({"file_path": file, "content": format!("{text}\n")});
    if verb == "append" {
        arguments["mode"] = "append".into();
    }
    call("file_write", arguments)
}

fn edit(rest: &str) -> Command {
    // Nothing after the arrow takes the text out; its space went with the end of the line.
    let cut = |text| str::split_once(text, " => ").or_else(|| Some((text.strip_suffix(" =>")?, "")));
    let parts = file_and_text(rest).and_then(|(file, text)| Some((file, cut(text)?)));
    match parts {
        Some((file, (old, new))) if !old.is_empty() => call("edit", json!({"path": file, "old_text": old, "new_text": new})),
        _ => wrong("edit", "a file, a colon, the old and the new text: `edit notes.txt: milk => bread`"),
    }
}

fn file_and_text(rest: &str) -> Option<(&str, &str)> {
    let (file, text) = rest.split_once(':')?;
    let file = unquoted(file.trim());
    let text = text.strip_prefix([' ', '\n']).unwrap_or(text);
    (!file.is_empty() && !text.is_empty()).then_some((file, text))
}

fn any(rest: &str) -> Command {
    let (tool, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
    if tool.is_empty() {
        return wrong("call", "a tool and its arguments: `call ls {\"path\": \".\"}`");
    }
    match serde_json::from_str::<Map<String, Value>>(arguments) {
        Ok(arguments) => call(tool, arguments.into()),
        Err(error) => Command::Wrong(format!("The arguments of `call {tool}` are no JSON object: {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Command {
        let mut all = parse(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn every_command() {
        assert_eq!(one("ls"), call("ls", json!({})));
        assert_eq!(one("  LS docs/"), call("ls", json!({"path": "docs/"})));
        assert_eq!(one("read welcome.md\n"), call("file_read", json!({"file_path": "welcome.md"})));
        assert_eq!(one("read \"my file.md\""), call("file_read", json!({"file_path": "my file.md"})));
        assert_eq!(one("write n.txt: a: b"), call("file_write", json!({"file_path": "n.txt", "content": "a: b\n"})));
        assert_eq!(one("append n.txt:x"), call("file_write", json!({"file_path": "n.txt", "content": "x\n", "mode": "append"})));
        assert_eq!(one("edit n.txt: a b => c"), call("edit", json!({"path": "n.txt", "old_text": "a b", "new_text": "c"})));
        assert_eq!(one("edit n.txt: a => "), call("edit", json!({"path": "n.txt", "old_text": "a", "new_text": ""})));
        assert_eq!(one("grep two words"), call("grep", json!({"pattern": "two words", "names_only": false})));
        assert_eq!(one("grep 'a in' in src"), call("grep", json!({"pattern": "a in", "names_only": false, "path": "src"})));
        assert_eq!(one("glob **/*.md"), call("glob", json!({"pattern": "**/*.md"})));
        assert_eq!(one("call my_tool"), call("my_tool", json!({})));
        assert_eq!(one("call my_tool {\"a\":\n 1}"), call("my_tool", json!({"a": 1})));
        assert_eq!(one("help"), Command::Help);
        assert_eq!(one("hello there"), Command::Unknown);
        assert_eq!(parse(" \n"), []);
    }

    #[test]
    fn what_is_missing_is_said() {
        for text in ["read", "write a poem", "write x:", "append", "edit x: y", "grep", "glob", "patch", "call", "call x [1]"] {
            assert!(matches!(one(text), Command::Wrong(_)), "{text}");
        }
    }

    #[test]
    fn several_commands_and_long_texts() {
        assert_eq!(parse("ls && read a && grep b").len(), 3);
        assert_eq!(parse("ls\n\nread a\nread b").len(), 3);
        assert_eq!(one("write n.txt: a && b"), call("file_write", json!({"file_path": "n.txt", "content": "a && b\n"})));
        assert_eq!(
            parse("write n.txt: one\n\ntwo\nread n.txt")[0],
            call("file_write", json!({"file_path": "n.txt", "content": "one\n\ntwo\n"}))
        );
        assert_eq!(one("write n.txt:\nfirst"), call("file_write", json!({"file_path": "n.txt", "content": "first\n"})));
    }

    #[test]
    fn a_patch_goes_to_its_end() {
        let all = parse("patch\n*** Begin Patch\n*** Add File: a\n+read x\n*** End Patch\nread a");
        assert_eq!(all[0], call("apply_patch", json!({"patch": "*** Begin Patch\n*** Add File: a\n+read x\n*** End Patch\n"})));
        assert_eq!(all[1], call("file_read", json!({"file_path": "a"})));
        assert_eq!(all.len(), 2);
    }
}
