//! Diffs that git made, and what git makes of diffs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;

use crate::memory::Memory;

type Tree = BTreeMap<String, Vec<u8>>;

const NAMES: [&str; 6] = ["a.txt", "dir/b c.txt", "\u{fc}.txt", "b/x", "q\"t.txt", "e"];

fn git(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(["-c", "core.autocrlf=false", "-c", "core.safecrlf=false"]).args(arguments).current_dir(dir);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap());
    command.output().unwrap()
}

fn done(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = git(dir, arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Makes the files below `dir` those of `tree`; what begins with a dot stays.
fn write(dir: &Path, tree: &Tree) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')) {
        if entry.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(entry.path()).unwrap();
        } else {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    for (path, text) in tree {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn read(dir: &Path) -> Tree {
    let files = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), std::fs::read(dir.join(name)).ok()?)));
    files.collect()
}

/// The diff from `before` to `after`, with renames.
fn diff(before: &Tree, after: &Tree) -> String {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["init", "-q"]);
    write(dir.path(), before);
    done(dir.path(), &["add", "-A"]);
    let tree = String::from_utf8(done(dir.path(), &["write-tree"])).unwrap();
    write(dir.path(), after);
    done(dir.path(), &["add", "-A"]);
    String::from_utf8(done(dir.path(), &["diff", "--cached", "-M", "--text", tree.trim()])).unwrap()
}

/// What `git apply` makes of the files; none when it refuses.
fn applied_by_git(files: &Tree, diff: &str) -> Option<Tree> {
    let dir = tempfile::tempdir().unwrap();
    let patch = dir.path().join(".patch");
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(&patch, diff).unwrap();
    write(&work, files);
    git(&work, &["apply", "--whitespace=nowarn", patch.to_str().unwrap()]).status.success().then(|| read(&work))
}

fn applied(files: &Tree, diff: &str) -> Result<Tree, String> {
    let memory = Memory::new(files.clone());
    memory.apply_patch(diff, false).map_err(|error| error.message)?;
    Ok(memory.files())
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ab]{0,2}",
        2 => "(-|\\+|@@|\\\\|--- |\\+\\+\\+ |diff --git |-- ?|```)( a/x)?",
        2 => "[ \t]{0,2}\u{e4}?[xy ]{0,3}",
        1 => Just("mid\rdle".to_owned()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let ending = prop_oneof![8 => Just("\n"), 1 => Just("\r\n")];
    let lines = prop::collection::vec((line(), ending), 0..30);
    (lines, prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.1)).prop_map(|(lines, crlf, open, mark)| {
        let mut text = if mark { "\u{feff}".to_owned() } else { String::new() };
        for (line, ending) in lines {
            text.push_str(&line);
            text.push_str(if crlf { "\r\n" } else { ending });
        }
        if open && text.ends_with('\n') {
            text.pop();
        }
        text
    })
}

/// A text and what becomes of it: some lines out, some in.
fn change() -> impl Strategy<Value = (String, String)> {
    (text(), prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, text()), 1..4)).prop_map(|(before, edits)| {
        let mut lines: Vec<String> = before.split_inclusive('\n').map(str::to_owned).collect();
        for (at, count, put) in edits {
            let start = at.index(lines.len() + 1);
            let end = (start + count).min(lines.len());
            lines.splice(start..end, put.split_inclusive('\n').take(3).map(str::to_owned));
        }
        (before, lines.concat())
    })
}

/// Two trees: files that change, come, go, or get another name.
fn trees() -> impl Strategy<Value = (Tree, Tree)> {
    let file = (change(), 0..10_u8);
    prop::collection::vec(file, 1..=NAMES.len()).prop_map(|files| {
        let (mut before, mut after) = (Tree::new(), Tree::new());
        for (index, ((old, new), what)) in files.into_iter().enumerate() {
            let name = NAMES[index].to_owned();
            if what != 0 {
                before.insert(name.clone(), old.clone().into_bytes());
            }
            match what {
                1 => {}
                2 => drop(after.insert("e".to_owned(), old.into_bytes())),
                _ => drop(after.insert(name, new.into_bytes())),
            }
        }
        (before, after)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What git says differs between two trees makes the one out of the other.
    #[test]
    fn a_diff_of_git_makes_its_target((before, after) in trees()) {
        let diff = diff(&before, &after);
        if before == after {
            prop_assert!(applied(&before, &diff).is_err(), "an empty diff is none");
        } else {
            prop_assert_eq!(applied(&before, &diff), Ok(after), "{}", diff);
        }
    }

    /// On files that went on in the meantime, what is applied is what git applies. Where lines are equal, git takes the
    /// nearest place and this refuses; here none are.
    #[test]
    fn on_other_files_it_does_what_git_does_or_refuses(
        before in prop::collection::vec(line(), 0..40),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, 0..4_usize), 1..4),
        (at, put) in (any::<prop::sample::Index>(), 0..9_usize),
        shift in -3..4_isize,
    ) {
        let numbered = |lines: &[String]| lines.iter().enumerate().map(|(number, line)| format!("{line} {number}\n")).collect::<Vec<_>>();
        let before = numbered(&before);
        let mut after = before.clone();
        for (edit, (at, count, put)) in edits.iter().enumerate() {
            let start = at.index(after.len() + 1);
            let end = (start + count).min(after.len());
            after.splice(start..end, (0..*put).map(|number| format!("new {edit} {number}\n")));
        }
        prop_assume!(before != after);
        let tree = |lines: &[String]| Tree::from([("a.txt".to_owned(), lines.concat().into_bytes())]);
        let mut diff = diff(&tree(&before), &tree(&after));
        if let Some((head, numbers)) = diff.split_once("\n@@ -").map(|(head, rest)| (head.to_owned(), rest.to_owned()))
            && let Some(digits) = numbers.find(|c: char| !c.is_ascii_digit())
            && let Some(moved) = numbers[..digits].parse::<usize>().ok().and_then(|first| first.checked_add_signed(shift))
        {
            diff = format!("{head}\n@@ -{moved}{}", &numbers[digits..]);
        }
        let mut other = before.clone();
        let start = at.index(other.len() + 1);
        other.splice(start..start, (0..put).map(|number| format!("other {number}\n")));
        let other = tree(&other);
        if let (Some(theirs), Ok(ours)) = (applied_by_git(&other, &diff), applied(&other, &diff)) {
            prop_assert_eq!(ours, theirs, "{}", diff);
        }
    }
}
