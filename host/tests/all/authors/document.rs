//! `docs/plugins.md` is typed as it stands, in an empty home.

use std::fs;
use std::path::PathBuf;

use super::author::Author;
use crate::support::read;

/// A block between fences.
struct Block {
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language: language.to_owned(), text });
        }
    }
    blocks
}

/// Does `text` look as shown? `…` stands for any text within a line, and on a line of its own for any lines.
fn fits(shown: &[&str], text: &[&str]) -> bool {
    match (shown.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        (Some((shown, shown_rest)), Some((line, rest))) => fits_line(shown, line) && fits(shown_rest, rest),
        _ => false,
    }
}

fn fits_line(shown: &str, line: &str) -> bool {
    match shown.split_once('…') {
        None => shown == line,
        Some((head, tail)) => match line.strip_prefix(head) {
            Some(rest) => rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| fits_line(tail, &rest[at..])),
            None => false,
        },
    }
}

#[test]
fn gaps_stand_for_what_differs() {
    assert!(fits(&["a", "…", "b … d"], &["a", "x", "y", "b c d"]) && fits(&["…"], &[]));
    assert!(!fits(&["a"], &["a", "b"]) && !fits(&["a … c"], &["a b"]) && !fits(&["a", "…"], &["b"]));
}

#[test]
fn the_page_for_authors_is_true() {
    let document = read("docs/plugins.md");
    // What follows is for other toolchains than this machine's.
    let (followed, _) = document.split_once("\n## Other languages\n").unwrap();
    let author = Author::new();
    let mut folder = author.path("empty");
    fs::create_dir(&folder).unwrap();
    let mut typed = 0;
    for Block { language, text } in blocks(followed) {
        match language.as_str() {
            "console" => {
                for step in format!("\n{text}").split("\n$ ").skip(1) {
                    let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
                    typed += 1;
                    type_it(&author, &mut folder, command, shown);
                }
            }
            // Of a block that is a file the first line says which.
            "rust" => fs::write(folder.join(text.lines().next().unwrap().strip_prefix("//! ").unwrap()), text).unwrap(),
            "toml" => {
                let path = author.path(text.lines().next().unwrap().strip_prefix("# ~/").unwrap());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("/home/ada", author.path("").to_str().unwrap().trim_end_matches('/'))).unwrap();
            }
            other => panic!("nothing is known about a block of {other:?}"),
        }
    }
    assert!(typed >= 10, "only {typed} commands were found");
}

/// Types one line. What is not shown may be anything; an error has to be shown.
fn type_it(author: &Author, folder: &mut PathBuf, command: &str, shown: &str) {
    if let Some(inside) = command.strip_prefix("cd ") {
        *folder = folder.join(inside);
        assert!(folder.is_dir(), "{command}");
        return;
    }
    let done = author.shell(folder, command);
    let whole = format!("$ {command}\n{}{}", done.out, done.err);
    assert_eq!(done.code, 0, "{whole}");
    let lines: Vec<_> = shown.trim_end().lines().collect();
    if !lines.is_empty() {
        let got: Vec<_> = done.out.trim_end().lines().collect();
        assert!(fits(&lines, &got), "the page shows\n{shown}\nand it is\n{whole}");
    }
}
