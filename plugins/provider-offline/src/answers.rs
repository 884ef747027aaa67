//! What tools answered, in words.
//!
//! A model reads JSON with line numbers; a person wants the file. Only the shapes of the bundled tools are known here: what
//! has another shape is shown as it is.

use std::fmt::Write;

use serde_json::Value;
use stellaclaw_sdk::chat::{AnswerPiece, ToolAnswer, ToolUse};

/// The answers to the calls of one message. One is shown bare; several get a heading each.
#[must_use]
pub fn told(answers: &[(Option<&ToolUse>, &ToolAnswer)]) -> String {
    if let [(call, answer)] = answers {
        return one(*call, answer);
    }
    let parts: Vec<String> = answers.iter().map(|(call, answer)| format!("**{}**\n\n{}", title(*call), one(*call, answer))).collect();
    parts.join("\n\n")
}

fn one(call: Option<&ToolUse>, answer: &ToolAnswer) -> String {
    let text = text(answer);
    if answer.is_error {
        return format!("`{}` did not work: {}", title(call), text.trim());
    }
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let told = call.and_then(|call| match call.name.as_str() {
        "file_read" => file(&json),
        "file_write" => written(&json),
        "edit" => edited(&json),
        "grep" | "glob" => found(&json),
        "apply_patch" => patched(&json),
        _ => None,
    });
    told.unwrap_or_else(|| match json {
        Value::Object(_) | Value::Array(_) => format!("{json:#}"),
        _ if text.trim().is_empty() => "Done; there is nothing to show.".to_owned(),
        _ => text,
    })
}

fn text(answer: &ToolAnswer) -> String {
    let mut all = String::new();
    for piece in &answer.pieces {
        if !all.is_empty() && !all.ends_with('\n') {
            all.push('\n');
        }
        match piece {
            AnswerPiece::Text(text) => all.push_str(text),
            AnswerPiece::Media(media) => {
                let name = media.name.as_deref().unwrap_or("a file without a name");
                let _ = write!(all, "[{name}, {}, {} bytes]", media.media_type, media.size);
            }
        }
    }
    all
}

/// The command that made the call.
fn title(call: Option<&ToolUse>) -> String {
    let Some(call) = call else { return "an earlier call".to_owned() };
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
    let of = |verb: &str, keys: &[&str]| {
        let said = keys.iter().find_map(|key| arguments.get(key)?.as_str()).unwrap_or_default();
        format!("{verb} {said}").trim_end().to_owned()
    };
    match call.name.as_str() {
        "file_read" => of("read", &["file_path"]),
        "file_write" if arguments.get("mode").is_some_and(|mode| mode == "append") => of("append", &["file_path"]),
        "file_write" => of("write", &["file_path"]),
        "apply_patch" => "patch".to_owned(),
        "ls" => of("ls", &["path"]),
        "edit" => of("edit", &["path", "file_path"]),
        "grep" | "glob" => of(&call.name, &["pattern"]),
        other => format!("call {other}"),
    }
}

/// The file's text without the numbers its lines were given for the model.
fn file(json: &Value) -> Option<String> {
    let content = json.get("content")?.as_str()?;
    let lines: Vec<&str> = content.split('\n').map(without_number).collect();
    let mut text = lines.join("\n");
    if text.is_empty() {
        text.push_str("(the file is empty)");
    }
    if json.get("truncated").is_some_and(|cut| *cut == Value::Bool(true)) {
        let line = |key: &str| json.get(key).and_then(Value::as_u64).unwrap_or_default();
        let _ = write!(text, "\n\n(lines {} to {} of {})", line("start_line"), line("end_line"), line("total_lines"));
    }
    Some(text)
}

/// `12: text` without the number; the space is missing where an editor would trim it.
fn without_number(line: &str) -> &str {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    match line[digits..].strip_prefix(':') {
        Some(text) if digits > 0 => text.strip_prefix(' ').unwrap_or(text),
        _ => line,
    }
}

fn written(json: &Value) -> Option<String> {
    let path = json.get("file_path")?.as_str()?;
    let bytes = json.get("bytes_written")?.as_u64()?;
    let appended = json.get("mode").is_some_and(|mode| mode == "append");
    Some(if appended { format!("Appended {bytes} bytes to {path}.") } else { format!("Wrote {bytes} bytes to {path}.") })
}

fn edited(json: &Value) -> Option<String> {
    let path = json.get("path").or_else(|| json.get("file_path"))?.as_str()?;
    if json.get("created") == Some(&Value::Bool(true)) {
        return Some(format!("Created {path}."));
    }
    Some(match json.get("replacements")?.as_u64()? {
        1 => format!("Edited {path}: 1 replacement."),
        many => format!("Edited {path}: {many} replacements."),
    })
}

/// Lines where the tool found lines, else files.
fn found(json: &Value) -> Option<String> {
    let matches = json.get("matches").and_then(Value::as_array);
    let mut lines: Vec<String> = matches.into_iter().flatten().filter_map(match_line).collect();
    if lines.is_empty() {
        let files = json.get("filenames").and_then(Value::as_array);
        if matches.is_none() && files.is_none() {
            return None;
        }
        lines = files.into_iter().flatten().filter_map(|file| file.as_str().map(str::to_owned)).collect();
    }
    if lines.is_empty() {
        return Some("Nothing was found.".to_owned());
    }
    if json.get("truncated").is_some_and(|cut| *cut == Value::Bool(true)) {
        lines.push("(there are more)".to_owned());
    }
    Some(lines.join("\n"))
}

fn match_line(found: &Value) -> Option<String> {
    let text = found.get("text")?.as_str()?.trim_end();
    Some(format!("{}:{}: {text}", found.get("file")?.as_str()?, found.get("line")?.as_u64()?))
}

fn patched(json: &Value) -> Option<String> {
    let applied = json.get("applied")?.as_bool()?;
    let said: Vec<&str> =
        ["stdout", "stderr"].iter().filter_map(|key| Some(json.get(key)?.as_str()?.trim())).filter(|said| !said.is_empty()).collect();
    let verdict = if applied { "The patch was applied." } else { "The patch was not applied." };
    let files = json.get("files").and_then(Value::as_array).into_iter().flatten();
    let changed = files.filter_map(|file| Some(format!("{} {}", file.get("action")?.as_str()?, file.get("path")?.as_str()?)));
    let lines = std::iter::once(verdict.to_owned()).chain(changed).chain(said.into_iter().map(str::to_owned));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(name: &str, arguments: &Value) -> ToolUse {
        ToolUse { call_id: "c".into(), item_id: None, name: name.into(), arguments: arguments.to_string(), freeform: false }
    }

    fn answer(text: &str) -> ToolAnswer {
        ToolAnswer { call_id: "c".into(), pieces: vec![AnswerPiece::Text(text.into())], is_error: false }
    }

    fn says(name: &str, result: &Value) -> String {
        told(&[(Some(&call(name, &json!({}))), &answer(&result.to_string()))])
    }

    #[test]
    fn a_file_is_its_text() {
        let read = |content: &str| says("file_read", &json!({"file_path": "a", "content": content, "total_lines": 3}));
        assert_eq!(read("1: # Hi\n2: \n3:\n4: 5: x"), "# Hi\n\n\n5: x");
        assert_eq!(read("1:   indented"), "  indented");
        assert_eq!(read(""), "(the file is empty)");
        let cut = json!({"content": "2: x", "truncated": true, "start_line": 2, "end_line": 2, "total_lines": 9});
        assert_eq!(says("file_read", &cut), "x\n\n(lines 2 to 2 of 9)");
    }

    #[test]
    fn what_the_other_tools_say() {
        assert_eq!(says("file_write", &json!({"file_path": "a", "mode": "overwrite", "bytes_written": 3})), "Wrote 3 bytes to a.");
        assert_eq!(says("file_write", &json!({"file_path": "a", "mode": "append", "bytes_written": 3})), "Appended 3 bytes to a.");
        assert_eq!(says("edit", &json!({"path": "a", "created": false, "replacements": 1})), "Edited a: 1 replacement.");
        assert_eq!(says("edit", &json!({"path": "a", "created": true, "replacements": 0})), "Created a.");
        let lines = json!({"matches": [{"file": "a", "line": 3, "column": 1, "text": "x y\n"}], "truncated": true});
        assert_eq!(says("grep", &lines), "a:3: x y\n(there are more)");
        assert_eq!(says("grep", &json!({"matches": []})), "Nothing was found.");
        assert_eq!(says("glob", &json!({"filenames": ["a", "b/c"]})), "a\nb/c");
        assert_eq!(
            says("apply_patch", &json!({"applied": true, "files": [{"path": "a", "action": "added"}]})),
            "The patch was applied.\nadded a"
        );
        assert_eq!(says("apply_patch", &json!({"applied": false, "stderr": "no\n"})), "The patch was not applied.\nno");
        assert_eq!(says("my_tool", &json!({"a": 1})), "{\n  \"a\": 1\n}");
        assert_eq!(told(&[(Some(&call("ls", &json!({}))), &answer("num_entries: 1\n./\n  a"))]), "num_entries: 1\n./\n  a");
        assert_eq!(told(&[(None, &answer(""))]), "Done; there is nothing to show.");
    }

    #[test]
    fn several_answers_have_headings_and_errors_say_what_failed() {
        let (read, list) = (call("file_read", &json!({"file_path": "a"})), call("ls", &json!({})));
        let failed = ToolAnswer { is_error: true, ..answer("there is no a") };
        assert_eq!(told(&[(Some(&read), &failed)]), "`read a` did not work: there is no a");
        let both = told(&[(Some(&list), &answer("x")), (Some(&read), &failed)]);
        assert_eq!(both, "**ls**\n\nx\n\n**read a**\n\n`read a` did not work: there is no a");
    }
}
