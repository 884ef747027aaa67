//! Any Markdown, and any Unicode, as messages of Telegram: each is one that Telegram takes, and nothing of the text is lost.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fuzz::targets::render::check;

/// What means something in Markdown, alone or beside others.
const SYNTAX: &[&str] = &[
    "*",
    "**",
    "***",
    "_",
    "__",
    "~",
    "~~",
    "`",
    "``",
    "```",
    "```rust\n",
    "~~~\n",
    "> ",
    ">",
    ">> ",
    "- ",
    "* ",
    "+ ",
    "1. ",
    "7) ",
    "- [ ] ",
    "- [x] ",
    "# ",
    "### ",
    "\n===\n",
    "\n---\n",
    "***\n",
    "|",
    "| a | b |\n|---|:-:|\n",
    "|---|\n",
    "[",
    "]",
    "](",
    ")",
    "![",
    "](https://example.org/a_b_c)",
    "](mailto:a@example.org)",
    "](javascript:alert(1))",
    "](notes/a%20b.md)",
    "](../x)",
    "<",
    ">",
    "<b>",
    "<br>",
    "<!-- ",
    "-->",
    "<attachment>a/b.txt</attachment>",
    "&amp;",
    "&#8238;",
    "&#0;",
    "\\",
    "\\\n",
    "  \n",
    "\n",
    "\n\n",
    "    ",
    "\t",
    " ",
    ". ",
    "https://example.org/_a_/*b*",
    "<https://example.org>",
    "<a@example.org>",
    "[a]: https://example.org\n",
    "[a]",
];

/// Characters that are more than one unit, byte or place, and some that should not be there at all.
const CHARACTERS: &[&str] = &[
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪",
    "👍🏽",
    "𝕏",
    "語",
    "ｆ",
    "한",
    "שלום",
    "مرحبا",
    "e\u{301}",
    "a\u{30a}",
    "\u{301}",
    "\u{200d}",
    "\u{200b}",
    "\u{feff}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{202e}",
    "\u{2066}",
    "\0",
    "\u{7}",
    "\u{1b}[31m",
    "\r",
    "\r\n",
    "\u{85}",
    "\u{e0041}",
    "…",
    "。",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,9}",
        2 => select(CHARACTERS).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => "\\PC{0,12}",
    ]
}

fn soup() -> impl Strategy<Value = String> {
    vec(prop_oneof![3 => select(SYNTAX).prop_map(str::to_owned), 2 => word()], 0..120).prop_map(|words| words.concat())
}

fn inline() -> impl Strategy<Value = String> {
    let piece = (word(), 0..9).prop_map(|(word, style)| match style {
        0 => format!("**{word}**"),
        1 => format!("*{word} **x***"),
        2 => format!("~~{word}~~"),
        3 => format!("`{word}`"),
        4 => format!("[{word}](https://example.org/a_b_{style})"),
        5 => format!("**a [{word} `code`](https://example.org) *b***"),
        6 => format!("![{word}](pictures/x.png)"),
        _ => word,
    });
    vec(piece, 1..30).prop_map(|pieces| pieces.join(" "))
}

fn block() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => inline(),
        1 => inline().prop_map(|text| format!("## {text}")),
        1 => vec(inline(), 1..25).prop_map(|lines| format!("```python\n    {}\n```", lines.join("\n\n  "))),
        1 => vec(vec(word(), 1..5), 1..9).prop_map(table),
        1 => vec(vec(inline(), 1..4), 1..4).prop_map(table),
        1 => Just("---".to_owned()),
        1 => (word(), 1..1500usize).prop_map(|(word, times)| word.repeat(times.min(9_000 / word.len().max(1)))),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let blocks = || vec(inner.clone(), 1..6).prop_map(|blocks| blocks.join("\n\n"));
        prop_oneof![
            blocks().prop_map(|text| prefixed(&text, "> ", "> ")),
            blocks().prop_map(|text| prefixed(&text, "- ", "  ")),
            blocks().prop_map(|text| prefixed(&text, "12. ", "    ")),
            vec(inner.clone(), 1..6).prop_map(|items| items
                .iter()
                .map(|item| prefixed(item, "- [x] ", "  "))
                .collect::<Vec<_>>()
                .join("\n")),
        ]
    })
}

fn prefixed(text: &str, first: &str, rest: &str) -> String {
    let lines = text.lines().enumerate().map(|(index, line)| format!("{}{line}", if index == 0 { first } else { rest }));
    lines.collect::<Vec<_>>().join("\n")
}

fn table(rows: Vec<Vec<String>>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let row =
        |cells: &[String]| format!("| {} |", cells.iter().map(|cell| cell.replace(['|', '\n', '\r'], " ")).collect::<Vec<_>>().join(" | "));
    let mut lines: Vec<String> = rows.iter().map(|cells| row(cells)).collect();
    lines.insert(1, row(&vec![":-:".to_owned(); columns]));
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_syntax_becomes_valid_messages(markdown in soup()) {
        check(&markdown);
    }

    #[test]
    fn any_answer_becomes_valid_messages(blocks in vec(block(), 0..12)) {
        check(&blocks.join("\n\n"));
    }

    #[test]
    fn any_text_becomes_valid_messages(text in "(?s).{0,400}", times in 1..16usize) {
        check(&text.repeat(times));
    }

    #[test]
    fn any_nesting_becomes_valid_messages(marks in vec(select(&["> ", "- ", "1. ", "* [ ] ", "    "][..]), 1..300), text in inline()) {
        check(&format!("{}{text}", marks.concat()));
    }
}

/// A text of this size is more than any model says at once. Quadratic time would be minutes here.
#[test]
fn a_long_text_of_syntax_takes_no_long_time() {
    for pattern in [
        "[",
        "]",
        "*",
        "_",
        "~",
        "`",
        ">",
        "|",
        "<",
        "!",
        "(",
        "&",
        "\\",
        "#",
        "- ",
        "> ",
        "1. ",
        "* ",
        "[[]",
        "![",
        "[a](",
        "](",
        "**a ",
        "*a_ ",
        "a**b",
        "`a``",
        "|a\n",
        "> > \n",
        "- - \n",
        "- a\n",
        "1. a\n",
        "<a ",
        "<!--",
        "<attachment>",
        "[a](b) ",
        "![a](b.png)",
        "a | b\n-|-\n",
        "https://",
        "https://a_b_*c* ",
        "&#8238;",
        "\u{301}",
        "\u{200d}",
        "🇩",
        "👩\u{200d}",
        "\n",
        " \n",
        " ",
        "\t\n",
        "```\n",
        "~~~a\n",
        "    a\n",
        "**a** ",
        "[a](https://b.org) ",
        "a.\n\n",
    ] {
        let text = pattern.repeat(200_000 / pattern.len());
        let started = std::time::Instant::now();
        let parts = stellaclaw::channels::telegram::render::render(&text);
        stellaclaw::channels::telegram::render::preview(&text, 4096);
        stellaclaw::channels::telegram::render::attachments::find(&text);
        let took = started.elapsed();
        println!("{pattern:?}: {} parts, {took:?}", parts.len());
        assert!(took < std::time::Duration::from_secs(10), "{pattern:?}: {took:?}");
    }
}
