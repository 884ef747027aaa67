//! What a host says about one plugin, from its log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::cli::chat::eprintln;
use crate::limits;

/// Shows each line about `plugin` that comes to the log from now on. Does not end.
pub(super) async fn lines(log: &Path, plugin: &str) {
    let mut followed = Followed::at_the_end_of(log);
    loop {
        tokio::time::sleep(limits::LOG_LOOKED_AT).await;
        for line in followed.new_lines(log) {
            if let Some(text) = told(&line, plugin) {
                eprintln(&text);
            }
        }
    }
}

/// A file that grows, and is moved aside when a host starts.
#[derive(Default)]
struct Followed {
    file: Option<File>,
    /// The beginning of a line that is still being written.
    rest: Vec<u8>,
}

impl Followed {
    fn at_the_end_of(path: &Path) -> Self {
        let file = File::open(path).ok().filter(|mut file| file.seek(SeekFrom::End(0)).is_ok());
        Self { file, rest: Vec::new() }
    }

    fn new_lines(&mut self, path: &Path) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.rest);
        if let Some(file) = &mut self.file {
            // What cannot be read is not shown.
            let _ = file.read_to_end(&mut bytes);
        }
        if let Some(mut newer) = self.newer(path) {
            let _ = newer.read_to_end(&mut bytes);
            self.file = Some(newer);
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// The file that stands there now, when it is another one.
    fn newer(&self, path: &Path) -> Option<File> {
        let found = File::open(path).ok()?;
        let inode = |file: &File| file.metadata().ok().map(|found| found.ino());
        (self.file.as_ref().and_then(inode) != inode(&found)).then_some(found)
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
    use std::fs;

    use super::*;

    #[test]
    fn whole_lines_are_shown_once_also_of_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old\n").unwrap();
        let mut followed = Followed::at_the_end_of(&path);
        let append =
            |text: &str| std::io::Write::write_all(&mut File::options().append(true).open(&path).unwrap(), text.as_bytes()).unwrap();
        append("one\ntw");
        assert_eq!(followed.new_lines(&path), ["one"]);
        append("o\n");
        assert_eq!(followed.new_lines(&path), ["two"]);
        append("three\n");
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        fs::write(&path, "four\n").unwrap();
        assert_eq!(followed.new_lines(&path), ["three", "four"]);
        assert!(followed.new_lines(&path).is_empty());
        assert_eq!(Followed::default().new_lines(&path), ["four"], "a log that was not there yet is shown whole");
    }

    #[test]
    fn a_line_is_told_with_its_backtrace() {
        let line = r#"{"level":"ERROR","message":"the tool crashed","plugin":"greet","trap":"at greet::call\nat run"}"#;
        assert_eq!(told(line, "greet").unwrap(), "host: ERROR the tool crashed\n    at greet::call\n    at run");
        assert_eq!(told(line, "other"), None);
        assert_eq!(told("no json", "greet"), None);
    }
}
