//! A patch, in either format, and the files it is for: `FILE NUL FILE NUL PATCH`.

use std::collections::BTreeMap;

use stellaclaw_sdk::Part;
use tools_fs::memory::Memory;

type Workspace = BTreeMap<String, Vec<u8>>;

/// An error repeats some lines, each cut.
const MOST_ERROR_BYTES: usize = 16 << 10;

pub fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let files: Workspace = [("a.txt".to_owned(), part()), ("dir/b.txt".to_owned(), part())].into();
    let patch = part();
    if let Ok(patch) = std::str::from_utf8(&patch) {
        all_or_nothing(&files, patch);
    }
    if let (Ok(old), Ok(new)) = (std::str::from_utf8(&files["a.txt"]), std::str::from_utf8(&files["dir/b.txt"])) {
        a_true_diff_applies(old, new);
    }
}

/// Either all that a patch says is done, or nothing; a check does nothing and says the same.
fn all_or_nothing(files: &Workspace, patch: &str) {
    let check = Memory::new(files.clone());
    let fits = check.apply_patch(patch, true).map(|_| ());
    assert_eq!(check.files(), *files, "a check changed something");

    let real = Memory::new(files.clone());
    let done = real.apply_patch(patch, false);
    assert_eq!(done.is_ok(), fits.is_ok(), "the check said {fits:?}, the call {done:?}");
    match done {
        Ok(output) => {
            let [Part::Json(answer)] = &output.parts[..] else { panic!("not one part: {output:?}") };
            let told = |path: &String| answer.contains(&serde_json::to_string(path).expect("a text is JSON"));
            assert!(real.files().keys().all(|path| files.contains_key(path) || told(path)), "a file that nobody was told of");
        }
        Err(error) => {
            assert_eq!(real.files(), *files, "refused, and yet changed: {}", error.message);
            assert!(error.message.len() <= MOST_ERROR_BYTES, "{} bytes of error", error.message.len());
            return;
        }
    }
    for changes in 0..4 {
        let failing = Memory::new(files.clone()).failing_after(changes);
        if let Err(error) = failing.apply_patch(patch, false)
            && error.message.contains("no file was changed")
        {
            assert_eq!(failing.files(), *files, "it says {:?}", error.message);
        }
    }
}

/// What a diff of two texts makes of the one is the other.
fn a_true_diff_applies(old: &str, new: &str) {
    let Some(diff) = diff(old, new) else { return };
    let workspace = Memory::new([("a.txt".to_owned(), old.as_bytes().to_owned())]);
    if let Err(error) = workspace.apply_patch(&diff, false) {
        panic!("{}\nof\n{diff:?}\nfor\n{old:?}", error.message);
    }
    assert_eq!(String::from_utf8_lossy(&workspace.files()["a.txt"]), new, "by\n{diff:?}\nof\n{old:?}");
}

/// A unified diff with one hunk: what differs, and three lines around it. None where nothing differs.
fn diff(old: &str, new: &str) -> Option<String> {
    let lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(old), lines(new));
    let before = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    if before == old.len() && before == new.len() {
        return None;
    }
    let after = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(|(one, other)| one == other).count();
    let (start, end) = (before.saturating_sub(3), after.saturating_sub(3));
    let (old_end, new_end) = (old.len() - end, new.len() - end);
    let position = |count: usize| if count == 0 { start } else { start + 1 };
    let (old_count, new_count) = (old_end - start, new_end - start);
    let mut text = "--- a/a.txt\n+++ b/a.txt\n".to_owned();
    text.push_str(&format!("@@ -{},{old_count} +{},{new_count} @@\n", position(old_count), position(new_count)));
    let mut put = |sign: char, line: &str| {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    };
    old[start..before].iter().for_each(|line| put(' ', line));
    old[before..old.len() - after].iter().for_each(|line| put('-', line));
    new[before..new.len() - after].iter().for_each(|line| put('+', line));
    old[old.len() - after..old_end].iter().for_each(|line| put(' ', line));
    Some(text)
}
