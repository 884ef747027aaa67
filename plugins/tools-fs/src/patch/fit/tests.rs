//! How hunks fit.

use proptest::prelude::*;

use super::super::parse::{Change, parse};
use super::*;

fn updates(patch: &str) -> Vec<Hunk> {
    match parse(patch).unwrap().pop().map(|section| section.change) {
        Some(Change::Update { hunks, .. }) => hunks,
        other => panic!("{other:?}"),
    }
}

fn hunks(body: &str) -> Vec<Hunk> {
    updates(&format!("*** Begin Patch\n*** Update File: a\n{body}\n*** End Patch"))
}

fn fits(content: &str, body: &str) -> String {
    apply(content, &hunks(body)).unwrap()
}

fn fails(content: &str, body: &str) -> String {
    apply(content, &hunks(body)).unwrap_err()
}

#[test]
fn several_hunks_in_the_order_of_the_file() {
    assert_eq!(fits("a\nb\nc\nd\ne\n", "@@\n a\n-b\n+B\n@@\n-d\n+D\n e"), "a\nB\nc\nD\ne\n");
    let problem = fails("a\nb\nc\n", "@@\n-c\n+C\n@@\n-a\n+A");
    assert!(problem.starts_with("hunk 2 of 2: these lines are not after line 3, but there is at line 1"), "{problem}");
}

#[test]
fn anchors_say_which_of_equal_places() {
    let content = "fn a() {\n    x();\n}\nfn b() {\n    x();\n}\n";
    assert_eq!(fits(content, "@@ fn b() {\n-    x();\n+    y();"), "fn a() {\n    x();\n}\nfn b() {\n    y();\n}\n");
    assert_eq!(fits("class A\n f\nclass B\n f\n", "@@ class B\n@@  f\n+ g"), "class A\n f\nclass B\n f\n g\n");
    let problem = fails(content, "@@ fn c() {\n-    x();\n+    y();");
    assert!(problem.contains("hunk 1 of 1: there is no line `fn c() {` in the file"), "{problem}");
}

#[test]
fn lines_fit_loosely_and_the_file_keeps_what_is_not_changed() {
    assert_eq!(fits("  a  \nb\u{a0}\u{2014} c\nold\n", "@@\n a\n b - c\n-old\n+new"), "  a  \nb\u{a0}\u{2014} c\nnew\n");
    assert_eq!(fits("import x  # local \u{2013} y\n", "@@\n-import x  # local - y\n+import x"), "import x\n");
}

#[test]
fn endings_and_byte_order_marks_are_kept() {
    assert_eq!(fits("\u{feff}a\r\nb\r\nc\r\n", "@@\n-a\n+A\n+A2\n b"), "\u{feff}A\r\nA2\r\nb\r\nc\r\n");
    assert_eq!(fits("a\nb\r\nc\n", "@@\n b\n+x\n c"), "a\nb\r\nx\r\nc\n");
    assert_eq!(fits("a\nb", "@@\n-a\n+A"), "A\nb");
    assert_eq!(fits("a\nb", "@@\n-b\n+B\n+C"), "a\nB\nC\n");
    assert_eq!(fits("a\nb", "@@\n b\n+c"), "a\nb\nc\n");
    assert_eq!(fits("a\nb", "@@\n-b"), "a\n");
}

#[test]
fn the_end_of_the_file_is_a_place() {
    assert_eq!(fits("x\ny\nx\n", "@@\n-x\n+z\n*** End of File"), "x\ny\nz\n");
    assert_eq!(fits("x\n", "@@\n+new"), "x\nnew\n");
    assert_eq!(fits("x\n", "@@ x\n+new\n*** End of File"), "x\nnew\n");
    assert_eq!(fits("", "@@\n+new"), "new\n");
    assert_eq!(fits("a\nb\n", "@@\n+end\n@@\n-a\n+A"), "A\nb\nend\n");
    assert_eq!(fits("a\nb\n", "@@\n b\n+c\n \n*** End of File"), "a\nb\nc\n");
    let problem = fails("x\ny\n", "@@\n-x\n*** End of File");
    assert!(problem.contains("not the end of the file"), "{problem}");
}

#[test]
fn an_error_shows_the_lines_and_the_nearest_one() {
    let problem = fails("one\ntwo\nthree\n", "@@\n two\n-four\n+4");
    assert_eq!(
        problem,
        "hunk 1 of 1: these lines are not in the file:\n  two\n  four\nMost like it is the place at line 2: where the hunk has `four`, \
         the file has `three`. Read it again and give its lines as they are."
    );
}

/// Some file, and which of its lines to replace by how many.
fn a_change() -> impl Strategy<Value = (Vec<String>, bool, bool, usize, usize, usize)> {
    (prop::collection::vec("[ab ]{0,3}", 1..30), any::<bool>(), any::<bool>(), 0..30_usize, 0..4_usize, 0..4_usize)
}

proptest! {
    /// A hunk made from the file with everything before as context gives exactly the wanted file.
    #[test]
    fn a_true_hunk_fits((mut lines, crlf, open, start, dropped, put) in a_change()) {
        let ending = if crlf { "\r\n" } else { "\n" };
        // The numbers make lines unique, the spaces stay.
        lines.iter_mut().enumerate().for_each(|(number, line)| line.push_str(&format!("{number} ")));
        let start = start.min(lines.len() - 1);
        let dropped = dropped.clamp(1, lines.len() - start);
        let new: Vec<String> = (0..put).map(|number| format!("new {number}")).collect();
        let mut changes: Vec<Line> = lines[..start].iter().cloned().map(Line::Keep).collect();
        changes.extend(lines[start..start + dropped].iter().cloned().map(Line::Drop));
        changes.extend(new.iter().cloned().map(|text| Line::Put(text, Ending::Around)));
        let mut content = lines.join(ending);
        // An only line without an ending does not say which ending the file has.
        let open = open && lines.len() > 1 && start + dropped < lines.len();
        if !open {
            content.push_str(ending);
        }
        let mut wanted = lines.clone();
        wanted.splice(start..start + dropped, new);
        let mut expected = wanted.join(ending);
        if !open && !wanted.is_empty() {
            expected.push_str(ending);
        }
        let hunk = Hunk { anchors: vec![], lines: changes, at_end: false, which: Which::First };
        prop_assert_eq!(apply(&content, &[hunk]).unwrap(), expected);
    }

    /// Whatever the file, a hunk that only keeps lines changes nothing.
    #[test]
    fn keeping_keeps_every_byte(content in "\u{feff}?([ab\t ]{0,3}(\n|\r\n|\r)){0,8}[ab]{0,2}") {
        let body = content.strip_prefix(BOM).unwrap_or(&content);
        let lines: Vec<Line> = body.split_inclusive('\n').map(|line| Line::Keep(split_ending(line).text.to_owned())).collect();
        if !lines.is_empty() {
            prop_assert_eq!(apply(&content, &[Hunk { anchors: vec![], lines, at_end: false, which: Which::First }]).unwrap(), content);
        }
    }
}
