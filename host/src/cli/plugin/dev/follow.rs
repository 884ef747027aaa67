//! What a host says about one plugin, from its log.

use std::path::Path;

use serde_json::Value;

use crate::cli::chat::eprintln;
use crate::cli::logs::follow::Followed;
use crate::limits;

/// Shows each line about `plugin` that comes to the log in `folder` from now on. Does not end.
pub(super) async fn lines(folder: &Path, plugin: &str) {
    let mut followed = Followed::at_the_end(folder);
    loop {
        tokio::time::sleep(limits::LOG_LOOKED_AT).await;
        for line in followed.new_lines() {
            if let Some(text) = told(&line, plugin) {
                eprintln(&text);
            }
        }
    }
}

/// A line of the log in the words of a person; none when it is about something else.
fn told(line: &str, plugin: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| line[key].as_str();
    if text("plugin") != Some(plugin) {
        return None;
    }
    let head = format!("host: {} {}", text("level").unwrap_or_default(), text("message").unwrap_or_default());
    let more = ["reason", "output", "trap"].into_iter().filter_map(text).flat_map(str::lines).map(|line| format!("\n    {line}"));
    Some([head].into_iter().chain(more).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_with_its_backtrace() {
        let line = r#"{"level":"ERROR","message":"the tool crashed","plugin":"greet","trap":"at greet::call\nat run"}"#;
        assert_eq!(told(line, "greet").unwrap(), "host: ERROR the tool crashed\n    at greet::call\n    at run");
        assert_eq!(told(line, "other"), None);
        assert_eq!(told("no json", "greet"), None);
    }
}
