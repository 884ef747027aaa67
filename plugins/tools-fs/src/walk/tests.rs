//! What a walk sees.

use super::*;
use crate::files::fixture::Fixture;

fn seen(fixture: &Fixture, base: &str, hidden: bool) -> Vec<String> {
    let mut seen = Vec::new();
    walk(&fixture.files, &Place::parse(base).unwrap(), &Options { hidden, without: &[] }, &mut |place, kind| {
        if kind == Kind::File {
            seen.push(place.to_string());
        }
        ControlFlow::Continue(Step::Into)
    })
    .unwrap();
    seen.sort();
    seen
}

#[test]
fn rules_hold_below_their_directory_and_inner_ones_win() {
    let fixture = Fixture::new(&[
        (".gitignore", "*.log\n/only-top\nout/\n!keep.log\n# comment\n"),
        ("a.log", ""),
        ("keep.log", ""),
        ("only-top", ""),
        ("sub/only-top", ""),
        ("sub/b.log", ""),
        ("sub/.gitignore", "!b.log\nc.txt\n"),
        ("sub/c.txt", ""),
        ("c.txt", ""),
        ("sub/deep/b.log", ""),
        ("out/x", ""),
        ("sub/out/x", ""),
    ]);
    assert_eq!(seen(&fixture, ".", false), ["c.txt", "keep.log", "sub/b.log", "sub/deep/b.log", "sub/only-top"]);
}

#[test]
fn rules_above_the_base_hold_and_the_base_itself_is_never_ignored() {
    let fixture = Fixture::new(&[(".gitignore", "*.log\nout/\n"), ("a/b/x.log", ""), ("a/b/y", ""), ("out/z", "")]);
    assert_eq!(seen(&fixture, "a/b", false), ["a/b/y"]);
    assert_eq!(seen(&fixture, "out", false), ["out/z"]);
}

#[test]
fn a_repository_inside_has_its_own_rules() {
    let fixture =
        Fixture::new(&[(".gitignore", "*.log\n"), ("repo/.git/config", ""), ("repo/a.log", ""), ("repo/src/b.log", ""), ("b.log", "")]);
    assert_eq!(seen(&fixture, ".", false), ["repo/a.log", "repo/src/b.log"]);
    assert_eq!(seen(&fixture, "repo/src", false), ["repo/src/b.log"]);
}

#[test]
fn mounts_are_seen_whatever_the_workspace_ignores() {
    let fixture = Fixture::new(&[(".gitignore", "shared\nmounts/\n*.log\n"), ("shared/a.log", ""), ("mounts/m/b.log", ""), ("c.log", "")]);
    assert_eq!(seen(&fixture, ".", false), ["mounts/m/b.log", "shared/a.log"]);
    assert_eq!(seen(&fixture, "shared", false), ["shared/a.log"]);
}

#[test]
fn hidden_entries_only_when_asked_and_git_never() {
    let fixture = Fixture::new(&[(".env", ""), (".github/x", ""), (".git/config", ""), ("a", "")]);
    assert_eq!(seen(&fixture, ".", false), ["a"]);
    assert_eq!(seen(&fixture, ".", true), [".env", ".github/x", "a"]);
    assert_eq!(seen(&fixture, ".github", false), [".github/x"]);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let fixture = Fixture::new(&[("real/a", "")]);
    std::fs::write(fixture.outer().join("secret"), "").unwrap();
    std::os::unix::fs::symlink(fixture.outer(), fixture.at("out")).unwrap();
    std::os::unix::fs::symlink("real", fixture.at("inside")).unwrap();
    assert_eq!(seen(&fixture, ".", false), ["real/a"]);
}

#[test]
fn a_walk_is_breadth_first_and_can_be_broken_off() {
    let fixture = Fixture::new(&[("a/deep/x", ""), ("b", ""), ("c", "")]);
    let mut order = Vec::new();
    walk(&fixture.files, &Place::workspace(), &Options::default(), &mut |place, _| {
        order.push(place.to_string());
        if order.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(Step::Into) }
    })
    .unwrap();
    assert_eq!(order, ["a", "b", "c", "a/deep"]);
}
