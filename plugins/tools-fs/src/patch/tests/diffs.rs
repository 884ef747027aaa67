//! Unified diffs, as models write them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stellaclaw_sdk::ErrorKind;
use stellaclaw_sdk::serde_json::{Value, json};

use crate::files::fixture::value;
use crate::memory::Memory;

const A: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";
const B: &str = "fn a() {\n    x();\n}\nfn b() {\n    x();\n}\n";

fn workspace() -> Memory {
    Memory::new([("a.txt".to_owned(), A.into()), ("dir/b.rs".to_owned(), B.into()), ("crlf".to_owned(), "one\r\ntwo\r\n".into())])
}

/// What a diff makes of the workspace, and the answer.
fn apply(diff: &str) -> (BTreeMap<String, String>, Value) {
    let files = workspace();
    let output = files.apply_patch(diff, false).unwrap_or_else(|error| panic!("{}\nof\n{diff}", error.message));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (files.files().into_iter().map(|(path, bytes)| (path, text(bytes))).collect(), value(&output))
}

fn a_after(hunks: &str) -> String {
    apply(&format!("--- a/a.txt\n+++ b/a.txt\n{hunks}")).0.remove("a.txt").unwrap()
}

fn refused(diff: &str) -> (ErrorKind, String) {
    let files = workspace();
    let before = files.files();
    let Err(error) = files.apply_patch(diff, false) else { panic!("applied:\n{diff}") };
    assert_eq!(files.files(), before, "{diff}");
    (error.kind, error.message)
}

#[test]
fn a_diff_of_git_with_everything() {
    let diff = "diff --git a/a.txt b/z.txt\nsimilarity index 70%\nrename from a.txt\nrename to z.txt\nindex 1..2 100644\n--- a/a.txt\n+++ b/z.txt\n\
                @@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n@@ -6,2 +6,3 @@ five\n six\n-seven\n+7\n+8\n\
                diff --git a/dir/b.rs b/dir/b.rs\ndeleted file mode 100644\nindex 1..0\n--- a/dir/b.rs\n+++ /dev/null\n@@ -1,6 +0,0 @@\n\
                -fn a() {\n-    x();\n-}\n-fn b() {\n-    x();\n-}\n\
                diff --git a/run.sh b/run.sh\nnew file mode 100755\nindex 0..1\n--- /dev/null\n+++ b/run.sh\n@@ -0,0 +1,2 @@\n+#!/bin/sh\n+true\n\\ No newline at end of file\n\
                diff --git a/empty b/empty\nnew file mode 100644\nindex 0000000..e69de29\n";
    let (files, answer) = apply(diff);
    let expected =
        [("crlf", "one\r\ntwo\r\n"), ("empty", ""), ("run.sh", "#!/bin/sh\ntrue"), ("z.txt", "one\n2\nthree\nfour\nfive\nsix\n7\n8\n")];
    assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
    let expected = json!({"applied": true, "files": [
        {"path": "z.txt", "action": "move", "from": "a.txt"},
        {"path": "dir/b.rs", "action": "delete"},
        {"path": "run.sh", "action": "add", "mode_ignored": "100755"},
        {"path": "empty", "action": "add"},
    ]});
    assert_eq!(answer, expected);
}

#[test]
fn names_come_in_many_forms() {
    let hunk = "@@ -1 +1 @@\n-one\n+1\n";
    for header in [
        "--- a/a.txt\n+++ b/a.txt\n",
        "--- a.txt\n+++ a.txt\n",
        "--- a.txt\t2024-05-01 12:00:00.000000000 +0200\n+++ a.txt\t2024-05-02 12:00:00\n",
        "--- /workspace/a.txt\n+++ /workspace/a.txt\n",
        "--- ./a.txt\n+++ ./a.txt\n",
        "--- i/a.txt\n+++ w/a.txt\n",
        "--- \"a/\\141.txt\"\n+++ \"b/a.txt\"\n",
        "--- a.txt\n+++ b/a.txt\n",
        "diff -u old/a.txt new/a.txt\nIndex: a.txt\n=====\n--- a/a.txt\n+++ b/a.txt\n",
        "diff --git a.txt a.txt\nindex 1..2 100644\n--- a.txt\n+++ a.txt\n",
        "Here is the change:\n\n--- a/a.txt\n+++ b/a.txt\n",
    ] {
        assert!(apply(&format!("{header}{hunk}")).0["a.txt"].starts_with("1\ntwo"), "{header}");
    }
    // A directory that is really called so.
    let files = Memory::new([("a/x".to_owned(), b"one\n".to_vec())]);
    files.apply_patch(&format!("--- a/x\n+++ a/x\n{hunk}"), false).unwrap();
    files.apply_patch("--- a/x\n+++ /dev/null\n", false).unwrap();
    assert!(files.files().is_empty());
}

#[test]
fn wrappings_are_taken_off() {
    let diff = "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n";
    for wrapped in [
        format!("```diff\n{diff}```"),
        format!("\n\n```\n{diff}```\n\n"),
        format!("*** Begin Patch\n{diff}*** End Patch\n"),
        format!("git apply <<'EOF'\n{diff}EOF\n"),
        format!("From 12 Mon Sep 17 00:00:00 2001\nSubject: change\n\n- two becomes 2\n---\n a.txt | 2 +-\n\n{diff}-- \n2.47.3\n\n"),
        diff.replace('\n', "\r\n"),
        format!("{diff}\n\n"),
        diff.replace("@@ -", "\n\n@@ -"),
        format!("diff --git a/a.txt b/a.txt\n\n{diff}"),
    ] {
        assert!(apply(&wrapped).0["a.txt"].starts_with("one\n2\nthree"), "{wrapped}");
    }
}

#[test]
fn numbers_that_are_wrong_or_missing_do_no_harm() {
    let expected = A.replace("three\n", "3\n");
    for hunk in
        ["@@ -3 +3 @@", "@@ -2,3 +2,3 @@", "@@ -200,1 +1,90 @@", "@@ @@", "@@", "@@ ... @@", "@@ -1,99 +1 @@", "@@ -x,y +z @@", "@@ two"]
    {
        assert_eq!(a_after(&format!("{hunk}\n-three\n+3\n")), expected, "{hunk}");
    }
    assert_eq!(a_after("@@ -3 +3 @@\n-three\n+3\n\n@@ -7 +7 @@\n-seven\n+7\n"), expected.replace("seven", "7"));
    let two = "@@ -1,1 +1,1 @@\n-three\n+3\n \n--- a/crlf\n+++ b/crlf\n@@ -7 +7 @@\n-two\n+2\n";
    let (files, _) = apply(&format!("--- a/a.txt\n+++ b/a.txt\n{two}"));
    assert_eq!((files["a.txt"].as_str(), files["crlf"].as_str()), (expected.as_str(), "one\r\n2\r\n"));
}

#[test]
fn of_equal_places_the_stated_or_the_only_near_one_is_meant() {
    let after = |text: &str, hunks: &str| {
        let files = Memory::new([("x".to_owned(), text.into())]);
        files.apply_patch(&format!("--- a/x\n+++ b/x\n{hunks}"), false).map_err(|error| error.message)?;
        Ok::<_, String>(String::from_utf8(files.files().remove("x").unwrap()).unwrap())
    };
    let text =
        |marks: &[usize]| (1..=90).map(|n| if marks.contains(&n) { "same\n".to_owned() } else { format!("{n}\n") }).collect::<String>();
    let changed = |marks: &[usize], at: usize| {
        let lines: Vec<String> = text(marks).lines().map(str::to_owned).collect();
        lines.iter().enumerate().map(|(n, line)| if n + 1 == at { "new\n".to_owned() } else { format!("{line}\n") }).collect::<String>()
    };
    let hunk = |line: usize| format!("@@ -{line} +{line} @@\n-same\n+new\n");
    assert_eq!(after(&text(&[10, 12, 80]), &hunk(12)).unwrap(), changed(&[10, 12, 80], 12));
    assert_eq!(after(&text(&[10, 80]), &hunk(75)).unwrap(), changed(&[10, 80], 80));
    // The second hunk is as far from its line as the first one was.
    let drifted = format!("@@ -2 +2 @@\n-5\n+five\n{}", hunk(37));
    let expected = changed(&[30, 40, 50], 40).replace("\n5\n", "\nfive\n");
    assert_eq!(after(&text(&[30, 40, 50]), &drifted).unwrap(), expected);
    let problem = after(&text(&[10, 12, 80]), &hunk(11)).unwrap_err();
    assert!(problem.contains("x, hunk 1 of 1: its lines are at more than one place, at lines 10, 12, 80"), "{problem}");
    assert!(after(&text(&[10, 80]), "@@\n-same\n+new\n").unwrap_err().contains("more than one place"));
    // The words behind the numbers decide.
    let hunk = "@@ -100 +100 @@ fn b() {\n-    x();\n+    y();\n";
    assert_eq!(after(B, hunk).unwrap(), "fn a() {\n    x();\n}\nfn b() {\n    y();\n}\n");
    assert_eq!(after(B, &hunk.replace("-100 +100 @@ ", "")).unwrap(), "fn a() {\n    x();\n}\nfn b() {\n    y();\n}\n");
}

#[test]
fn close_changes_share_their_context() {
    let hunks = "@@ -1,5 +1,5 @@\n one\n-two\n+2\n three\n four\n five\n@@ -3,4 +3,4 @@\n three\n four\n-five\n+5\n six\n";
    assert_eq!(a_after(hunks), A.replace("two", "2").replace("five", "5"));
    assert_eq!(a_after("@@ -1,2 +1,3 @@\n one\n+1b\n two\n@@ -1,3 +2,3 @@\n one\n-two\n+2\n three\n"), A.replace("two", "1b\n2"));
}

#[test]
fn lines_fit_as_loosely_as_in_the_envelope() {
    assert_eq!(a_after("@@ -1,3 +1,3 @@\n   one  \n-two\t\n+2\n three\n"), A.replace("two", "2"));
    let (files, _) = apply("--- a/crlf\n+++ b/crlf\n@@ -1,2 +1,3 @@\n one\n-two\n+2\n+3\n");
    assert_eq!(files["crlf"], "one\r\n2\r\n3\r\n");
    let (files, _) = apply("--- a/crlf\n+++ b/crlf\n@@ -1,2 +1,2 @@\n-one\r\n+one\n two\r\n");
    assert_eq!(files["crlf"], "one\ntwo\r\n");
    // Empty lines of context lose their space.
    let files = Memory::new([("x".to_owned(), b"a\n\nb\n\nc\n".to_vec())]);
    files.apply_patch("--- a/x\n+++ b/x\n@@ -1,5 +1,5 @@\n a\n\n-b\n+B\n\n c\n", false).unwrap();
    assert_eq!(files.files()["x"], b"a\n\nB\n\nc\n");
}

#[test]
fn lines_that_look_like_headers_are_lines() {
    let files = Memory::new([("x.sql".to_owned(), b"-- one\n-- a/x\nselect;\n".to_vec())]);
    files.apply_patch("--- a/x.sql\n+++ b/x.sql\n@@ -1,3 +1,3 @@\n -- one\n--- a/x\n+++ b/x\n select;\n", false).unwrap();
    assert_eq!(files.files()["x.sql"], b"-- one\n++ b/x\nselect;\n");
}

#[test]
fn the_end_of_the_file_is_as_the_diff_says() {
    assert_eq!(a_after("@@ -7 +7 @@\n-seven\n+7\n\\ No newline at end of file\n"), A.replace("seven\n", "7"));
    let files = Memory::new([("x".to_owned(), b"a\nb".to_vec())]);
    files.apply_patch("--- a/x\n+++ b/x\n@@ -2 +2,2 @@\n-b\n\\ No newline at end of file\n+b\n+c\n", false).unwrap();
    assert_eq!(files.files()["x"], b"a\nb\nc\n");
    let (_, problem) = refused("--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n\\ No newline at end of file\n+1\n");
    assert!(problem.contains("not the end of the file, as the patch says"), "{problem}");
}

#[test]
fn what_does_not_fit_says_where_and_what_would() {
    let first = "--- a/crlf\n+++ b/crlf\n@@ -1 +1 @@\n-one\n+1\n";
    let (kind, problem) = refused(&format!("{first}--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+1\n@@ -3,2 +3,2 @@\n three\n-vier\n+4\n"));
    assert_eq!(kind, ErrorKind::Conflict);
    assert_eq!(
        problem,
        "a.txt, hunk 2 of 2: these lines are not in the file:\n  three\n  vier\nMost like it is the place at line 3: where \
         the hunk has `vier`, the file has `four`. Read it again and give its lines as they are.\nNothing was changed."
    );
    for (diff, part) in [
        ("--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n-eins\n+one\n two\n", "was it applied before?"),
        ("--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-nothing\n+x\n", "None of them is in the file"),
        ("--- a/a.txt\n+++ b/a.txt\n@@ -2,0 +3 @@\n+x\n", "does not say between which"),
        ("--- a/no\n+++ b/no\n@@ -1 +1 @@\n-one\n+1\n", "there is no no to update"),
        ("--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+x\n", "a.txt is there already"),
        ("diff --git a/a.txt b/crlf\nrename from a.txt\nrename to crlf\n", "crlf is there already"),
        ("--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", "has 6 lines that the patch, which deletes it, does not name"),
    ] {
        let (_, problem) = refused(&format!("{first}{diff}"));
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_its_line() {
    let names = "--- a/a.txt\n+++ b/a.txt\n";
    for (diff, part) in [
        (
            "diff --git a/x.png b/x.png\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmb\n".to_owned(),
            "line 3 of the patch: binary files",
        ),
        ("diff --git a/x.png b/x.png\nBinary files a/x.png and b/x.png differ\n".into(), "line 2 of the patch: binary files"),
        (format!("{names}@@ -1 +1 @@\n-one\n+1\nBinary files x and y differ\n"), "binary files"),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+a.txt\n".into(), "a symbolic link"),
        ("diff --git a/s b/s\nindex 1..2 160000\n--- a/s\n+++ b/s\n@@ -1 +1 @@\n-x\n+y\n".into(), "a submodule"),
        ("diff --git a/a.txt b/a.txt\nold mode 100644\nnew mode 100755\n".into(), "modes cannot be set here"),
        ("diff --git a/a.txt b/c\ncopy from a.txt\ncopy to c\n".into(), "copies are not served"),
        ("diff --git a/a.txt b/c\nrename from a.txt\n".into(), "a rename has two lines"),
        ("--- a/a.txt\n+++ b/c.txt\n@@ -1 +1 @@\n-one\n+1\n".into(), "are two files"),
        ("--- a/../../etc/passwd\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-x\n+y\n".into(), "outside the workspace"),
        ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-x\n+y\n".into(), "outside the workspace"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-x\n+y\n".into(), "new and deleted at once"),
        ("--- /dev/null\n+++ b/n\n@@ -1 +1 @@\n-x\n+y\n".into(), "all its lines start with `+`"),
        ("--- \"a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n+y\n".into(), "line 1 of the patch: the quoted name has no closing quote"),
        ("@@ -1 +1 @@\n-one\n+1\n".into(), "line 1 of the patch: a hunk of no file"),
        (names.to_owned(), "has no hunk"),
        (format!("{names}@@ -1 +1 @@\n"), "line 3 of the patch: a hunk without lines"),
        (format!("{names}@@ -1,3 +1,3 @@\n one\ntwo\n-three\n+3\n"), "line 5 of the patch: `two` is not part of a hunk"),
        (format!("{names}@@ -1 +1 @@\n-one\n+1\nand\n-two\n+2\n"), "line 7 of the patch: `-two` is not part of a hunk"),
    ] {
        let (_, problem) = refused(&diff);
        assert!(problem.contains(part), "{diff}: {problem}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever becomes of a diff on its way: it is applied whole, or nothing is, and a failing disk is told.
    #[test]
    fn a_damaged_diff_never_half_writes(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[-+ @\\\\a-z0-9/,\n\r]{0,6}"), 0..5),
        failing in prop::option::of(0..6_u32),
    ) {
        let mut diff: Vec<char> = "diff --git a/a.txt b/z.txt\nrename from a.txt\nrename to z.txt\n--- a/a.txt\n+++ b/z.txt\n@@ -1,3 +1,3 @@\n one\n\
            -two\n+2\n three\n--- a/dir/b.rs\n+++ b/dir/b.rs\n@@ -4,3 +4,2 @@\n fn b() {\n-    x();\n }\n--- /dev/null\n+++ b/n/new\n@@ -0,0 +1 @@\n+n\n"
            .chars().collect();
        for (at, count, put) in cuts {
            let start = at.index(diff.len() + 1);
            let end = (start + count).min(diff.len());
            diff.splice(start..end, put.chars());
        }
        let diff: String = diff.into_iter().collect();
        let files = match failing {
            Some(changes) => workspace().failing_after(changes),
            None => workspace(),
        };
        let before = files.files();
        if let Err(error) = files.apply_patch(&diff, false) {
            prop_assert!(error.message.len() < 16 << 10);
            let told = error.message.contains("these files were changed before");
            prop_assert!(told || files.files() == before, "{}", error.message);
            prop_assert!(failing.is_some() || !told);
        }
        prop_assert!(files.files().keys().all(|path| !path.ends_with(".tmp")), "a temporary file is left");
    }
}
