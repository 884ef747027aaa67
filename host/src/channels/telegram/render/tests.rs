//! What people see of an answer. That nothing is lost and everything is valid is shown in `tests/all/rendering.rs`, for any Markdown.

use std::fmt::Write;

use super::page::{Mark, Page};
use super::*;

/// Everything at once.
const SAMPLE: &str = r#"# Disk report

The volume **/data** is *almost* full: ~~90~~ **97 %**. See [the graph](https://grafana.example.org/d/a_b_c?from=now-1h) or `df -h`.
Next line.

## What to do

1. Delete old backups
   - keep the *newest* one
     - [x] listed
     - [ ] deleted
   - run:

     ```sh
     rm -r /data/backups/2024-*
     ```
2. Ask <ops@example.org> or [call](tel:+491234)
3. Look at http://localhost:3000 and [here](http://localhost:3000/_x_/)

> Never delete the last backup.
>
> > Really.

| Volume | Size | Used |
|--------|-----:|:----:|
| /data  | 2 TB | 97 % |
| 家 🏠  | 50 G | 3 %  |

---

![A chart](https://example.org/chart.png) <b>inert</b> [x](javascript:alert(1))
"#;

/// The messages as a person would note them down: the text, and each entity with what it covers.
fn shown(parts: &[Text]) -> String {
    let mut lines = String::new();
    for (index, part) in parts.iter().enumerate() {
        writeln!(lines, "── message {}: {} units ──\n{}", index + 1, part.units(), shortened(&part.text)).unwrap();
        let units: Vec<u16> = part.text.encode_utf16().collect();
        for entity in &part.entities {
            let covered = String::from_utf16(&units[entity.offset..entity.offset + entity.length]).unwrap();
            let covered = cut(&covered.replace('\n', "⏎"), 60);
            let note = entity.url.iter().chain(&entity.language).map(|note| format!(" ({note})")).collect::<String>();
            writeln!(lines, "  {:?}{note} {}+{}: {covered}", entity.kind, entity.offset, entity.length).unwrap();
        }
    }
    lines
}

/// The beginning and the end of a long text.
fn shortened(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| cut(line, 140)).collect();
    match lines.len().checked_sub(50) {
        None => lines.join("\n"),
        Some(_) => format!("{}\n⋯ {} lines ⋯\n{}", lines[..8].join("\n"), lines.len() - 16, lines[lines.len() - 8..].join("\n")),
    }
}

fn cut(line: &str, most: usize) -> String {
    let end = line.char_indices().nth(most).map(|(at, _)| at);
    end.map_or(line.to_owned(), |end| format!("{}⋯", &line[..end]))
}

fn only(markdown: &str) -> Text {
    let parts = render(markdown);
    assert_eq!(parts.len(), 1, "{parts:?}");
    parts.into_iter().next().unwrap()
}

fn text(markdown: &str) -> String {
    only(markdown).text
}

/// The kinds of entities with the text that they cover.
fn entities(markdown: &str) -> Vec<(Kind, String)> {
    let part = only(markdown);
    let units: Vec<u16> = part.text.encode_utf16().collect();
    let covered = |entity: &Entity| String::from_utf16(&units[entity.offset..entity.offset + entity.length]).unwrap();
    part.entities.iter().map(|entity| (entity.kind, covered(entity))).collect()
}

fn of(kind: Kind, text: &str) -> (Kind, String) {
    (kind, text.to_owned())
}

#[test]
fn what_others_are_called_is_no_markup() {
    let name =
        r#"# **Eve** [here](https://evil.example) `x` <b> ~~y~~ 1. a_b_c | https://evil.example/a_b <https://evil.example> \\ &amp; !"#;
    let shown = render(&literal(name));
    assert_eq!((shown.len(), shown[0].text.as_str(), shown[0].entities.as_slice()), (1, name, &[][..]));
}

/// Telegram makes what begins with a slash a command that is sent when it is tapped, but not in code.
#[test]
fn the_commands_of_help_can_be_tapped() {
    insta::assert_snapshot!(shown(&render(&crate::commands::help())));
}

proptest::proptest! {
    /// What others are called may be anything in one line.
    #[test]
    fn whatever_is_shown_as_code_is_nothing_else(name in "[a`<>\\\\*_@/#.&;|~!:$^\\[\\]() 🦀é-]{1,40}") {
        let name = name.trim();
        proptest::prop_assume!(!name.is_empty());
        let parts = render(&format!("Number {}\n{} may talk.", code("7"), code(name)));
        let text = format!("Number 7\n{name} may talk.");
        let of = |offset: usize, text: &str| Entity { kind: Kind::Code, offset, length: entity::units(text), url: None, language: None };
        proptest::prop_assert_eq!(parts, vec![Text { text, entities: vec![of(7, "7"), of(9, name)] }]);
    }
}

#[test]
fn an_answer_with_everything_in_it() {
    insta::assert_snapshot!(shown(&render(SAMPLE)));
}

/// 12,000 characters with fences, emoji and a table.
fn long_answer() -> String {
    let mut answer = String::from("# The plan 🚀\n\n");
    for chapter in 1..=3 {
        writeln!(answer, "## Chapter {chapter}\n").unwrap();
        writeln!(answer, "{}\n", "This sentence is here to be read 👩‍💻 and cut after its end. ".repeat(23)).unwrap();
        let body: Vec<String> = (1..=if chapter == 2 { 150 } else { 30 })
            .map(|line| format!("    step_{line}(chapter={chapter})  # 🧪 stage {line}"))
            .collect();
        writeln!(answer, "```python\ndef chapter_{chapter}():\n{}\n```\n", body.join("\n")).unwrap();
        writeln!(answer, "| Step | Result |\n|---|---|\n| one | ✅ done |\n| two | ⏳ {chapter} min |\n").unwrap();
    }
    answer
}

#[test]
fn a_long_answer_is_cut_where_it_may_be() {
    let answer = long_answer();
    assert!((11_500..13_000).contains(&answer.chars().count()), "{}", answer.chars().count());
    insta::assert_snapshot!(shown(&render(&answer)));
}

#[test]
fn a_preview_of_an_answer_that_is_being_written() {
    let unfinished =
        "Here is **the plan** and `the code` of **the sec\n\n1. first\n2. second\n\n```rust\nfn main() {\n    let x = \"[half](";
    insta::assert_snapshot!(shown(&[preview(unfinished, 4096), preview(unfinished, 60)]));
    for end in 0..=SAMPLE.len() {
        if SAMPLE.is_char_boundary(end) {
            assert!(preview(&SAMPLE[..end], 100).units() <= 100);
        }
    }
}

#[test]
fn entities_are_in_the_form_of_the_bot_api() {
    let message = only("**bold** [l](https://a.org) x\n\n```rust\nx\n```");
    let json = serde_json::to_string(&message).unwrap();
    assert_eq!(
        json,
        r#"{"text":"bold l x\n\nx","entities":[{"type":"bold","offset":0,"length":4},"#.to_owned()
            + r#"{"type":"text_link","offset":5,"length":1,"url":"https://a.org"},"#
            + r#"{"type":"pre","offset":10,"length":1,"language":"rust"}]}"#
    );
    assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), message);
    assert_eq!(serde_json::to_string(&Kind::ExpandableBlockquote).unwrap(), r#""expandable_blockquote""#);
}

#[test]
fn offsets_count_utf16_units() {
    let message = only("🚀 **a**");
    assert_eq!((message.entities[0].offset, message.entities[0].length), (3, 1));
}

#[test]
fn emphasis_goes_around_code_and_into_links() {
    assert_eq!(entities("**a `b` c**"), [of(Kind::Bold, "a"), of(Kind::Code, "b"), of(Kind::Bold, "c")]);
    let linked = entities("*a [b `c`](https://a.org) d*");
    let expected = [of(Kind::Italic, "a"), of(Kind::TextLink, "b c"), of(Kind::Italic, "b c"), of(Kind::Italic, "d")];
    assert_eq!(linked, expected);
    assert_eq!(entities("*a **b** c*"), [of(Kind::Italic, "a b c"), of(Kind::Bold, "b")]);
    assert_eq!(entities("[![a](https://b.org/c.png) d](https://e.org)"), [of(Kind::TextLink, "a d")]);
}

#[test]
fn only_links_that_telegram_takes_are_links() {
    for address in
        ["https://a.org/x_y_z", "http://127.0.0.1:8080/", "HTTPS://a.org?q#f", "https://[::1]/", "https://u@a.org", "tg://resolve?domain=a"]
    {
        let message = only(&format!("[label]({address})"));
        assert_eq!(message.text, "label");
        assert_eq!(message.entities[0].url.as_deref(), Some(address));
    }
    for address in [
        "http://localhost:3000",
        "https://",
        "https://a.org:0",
        "https://a.org:x",
        "https://..",
        "https:a.org",
        "tg://a.b",
        "tg:resolve",
        "javascript:alert",
        "file:///etc/passwd",
        "ftp://a.org",
        "a/b.md",
    ] {
        let message = only(&format!("[label]({address})"));
        assert_eq!(message.text, format!("label ({address})"));
        assert_eq!(message.entities, []);
    }
    assert_eq!(text("[write](mailto:a@b.org), [call](tel:+49)"), "write (a@b.org), call (+49)");
    assert_eq!(text("<a@b.org> [https://x](https://x)"), "a@b.org https://x");
    assert_eq!(text("![a picture](data:image/png;base64,AAAA) ![](x.png)"), "a picture x.png");
    assert_eq!(text(&format!("[a](https://a.org/{})", "x".repeat(limits::LINK_BYTES))).len(), limits::LINK_BYTES + 18);
}

#[test]
fn addresses_keep_their_underscores() {
    for address in ["https://a.org/_x_/y_z", "https://a.org/*x*/__y__", "https://a.org/~~x~~", "http://a.org/a_b_c"] {
        assert_eq!(text(&format!("see {address} and")), format!("see {address} and"));
        assert_eq!(only(&format!("see {address}")).entities, []);
    }
    assert_eq!(entities("**https://a.org/x_y** *b*"), [of(Kind::Bold, "https://a.org/x_y"), of(Kind::Italic, "b")]);
}

#[test]
fn html_and_control_characters_are_inert() {
    assert_eq!(text("<b>x</b> <script>alert(1)</script> &lt;i&gt;"), "<b>x</b> <script>alert(1)</script> <i>");
    assert_eq!(text("a<br>b<br/>c"), "a\nb\nc");
    assert_eq!(text("a\u{1b}[31mb\u{202e}c&#8238;d&#7;e\u{2066}f\r\ng\rh"), "a[31mbcdef\ng\nh");
    assert_eq!(text("```\n\u{202e}a\0b\n```"), "ab");
}

#[test]
fn long_quotes_and_code_are_collapsed() {
    let lines = |count: usize| (0..count).map(|line| format!("> {line}\n")).collect::<String>();
    assert_eq!(only(&lines(5)).entities[0].kind, Kind::Blockquote);
    assert_eq!(only(&lines(6)).entities[0].kind, Kind::ExpandableBlockquote);
    assert_eq!(only(&format!("> {}", "x".repeat(359))).entities[0].kind, Kind::Blockquote);
    assert_eq!(only(&format!("> {}", "x".repeat(360))).entities[0].kind, Kind::ExpandableBlockquote);
    let code = |text: &str| only(&format!("```\n{text}\n```")).entities.iter().map(|entity| entity.kind).collect::<Vec<_>>();
    assert_eq!(code(&"x\n".repeat(14)), [Kind::Pre]);
    assert_eq!(code(&"x\n".repeat(15)), [Kind::ExpandableBlockquote, Kind::Pre]);
    assert_eq!(code(&"x".repeat(599)), [Kind::Pre]);
    assert_eq!(code(&"x".repeat(600)), [Kind::ExpandableBlockquote, Kind::Pre]);
    // In a quote there is no second one.
    assert_eq!(entities(&format!("> ```\n{}> ```", "> x\n".repeat(15))).len(), 2);
}

#[test]
fn code_keeps_its_indentation() {
    let message = only("```\n\n    a\n\tb\n```");
    assert_eq!(message.text, "    a\n    b");
    assert_eq!((message.entities[0].offset, message.entities[0].length), (0, 11));
    let nested = only("> x\n>\n> ```\n>   a\n> ```");
    assert_eq!(nested.text, "x\n\n  a");
}

#[test]
fn a_table_that_is_too_wide_or_has_links_is_a_list() {
    let wide = format!("| Name | Text |\n|---|---|\n| a | {} |\n| b | |\n", "x ".repeat(30));
    assert_eq!(text(&wide), format!("• Name: a\n    Text: {}\n• Name: b", "x ".repeat(30).trim_end()));
    assert_eq!(entities(&wide)[..2], [of(Kind::Bold, "Name:"), of(Kind::Bold, "Text:")]);
    let linked = entities("| Name |\n|---|\n| [a](https://a.org) |\n");
    assert_eq!(linked, [of(Kind::Bold, "Name:"), of(Kind::TextLink, "a")]);
    assert_eq!(text("| a | b |\n|---|---|\n"), "a │ b");
    assert_eq!(render("| | |\n|---|---|\n| | |\n"), []);
}

#[test]
fn nothing_to_see_is_no_message() {
    for nothing in ["", " \n\t", "\u{200b}\u{2060}", "&nbsp;", "```\n```", "> ", "\u{202e}", "\u{30a}\u{0}"] {
        assert_eq!(render(nothing), [], "{nothing:?}");
    }
    assert_eq!(preview(" ", 4096), Text::default());
    assert_eq!(preview(&"\u{200b}".repeat(200), 100), Text::default());
    assert_eq!(render_or_file(" "), Rendered { parts: vec![], file: None });
}

#[test]
fn what_is_nested_too_deep_is_shown_all_the_same() {
    let deep = format!("{}end", "> - ".repeat(5000));
    let message = only(&deep);
    assert!(message.text.ends_with("end"), "{:?}", message.text);
    assert!(message.text.len() < 1000);
}

#[test]
fn a_very_long_answer_is_its_beginning_and_a_file() {
    let paragraphs = |count: usize| format!("{}\n\n", "word ".repeat(200)).repeat(count);
    let fits = render_or_file(&paragraphs(22));
    assert_eq!((fits.parts.len(), fits.file), (limits::MESSAGE_PARTS_MAX, None));
    let answer = paragraphs(26);
    let long = render_or_file(&answer);
    assert_eq!(long.file.as_deref(), Some(answer.as_str()));
    assert_eq!(long.parts.len(), 1);
    assert!(long.parts[0].text.ends_with(&format!("word\n\n{REST_IN_FILE}")));
    // Whole paragraphs, as many as there is room for.
    assert_eq!(long.parts[0].text.matches("word").count(), 4 * 200);
}

#[test]
fn messages_end_at_the_best_place() {
    let paragraph = |name: &str, words: usize| format!("{name} {}", "word ".repeat(words));
    // Between blocks, and the heading goes with what is below it.
    let blocks = format!("{}\n\n# Head\n\n{}", paragraph("one", 10), paragraph("two", 12));
    let parts = render_within(&blocks, 80);
    assert!(parts[0].text.ends_with("word") && parts[1].text.starts_with("Head\n\ntwo"), "{parts:?}");
    // Between items.
    let items = (0..12).map(|item| format!("- item {item} of the list\n")).collect::<String>();
    assert!(render_within(&items, 64).iter().all(|part| part.text.starts_with('•')));
    // After a sentence, and without white space where there is none.
    let sentences = render_within(&"A short sentence. ".repeat(10), 50);
    assert!(sentences.iter().all(|part| part.text.ends_with('.')), "{sentences:?}");
    assert!(render_within(&"这是一个很短的句子。".repeat(10), 50).iter().all(|part| part.text.ends_with('。')));
    // Never inside what is seen as one character.
    for part in render_within(&"👨‍👩‍👧‍👦".repeat(30), 50) {
        assert!(part.text.starts_with('👨') && part.text.ends_with('👦'), "{part:?}");
    }
}

#[test]
fn what_is_cut_goes_on_as_what_it_was() {
    let code = format!("```rust\n{}```", "    let x = 1;\n".repeat(40));
    let parts = render_within(&code, 200);
    assert!(parts.len() > 2);
    for part in &parts {
        assert_eq!(part.entities.iter().map(|entity| entity.kind).collect::<Vec<_>>(), [Kind::ExpandableBlockquote, Kind::Pre]);
        assert_eq!(part.entities[1].language.as_deref(), Some("rust"));
        assert_eq!((part.entities[1].offset, part.entities[1].length), (0, part.units()));
        assert!(part.text.lines().all(|line| line == "    let x = 1;"), "{part:?}");
    }
    let quote = render_within(&format!("> **{}**", "word ".repeat(100).trim_end()), 100);
    let kinds: Vec<Kind> = quote.iter().flat_map(|part| part.entities.iter().map(|entity| entity.kind)).collect();
    assert_eq!(kinds, [Kind::ExpandableBlockquote, Kind::Bold].repeat(quote.len()));
}

#[test]
fn a_message_has_no_more_entities_than_telegram_takes() {
    let parts = render(&"**a** ".repeat(250));
    assert_eq!(parts.iter().map(|part| part.entities.len()).collect::<Vec<_>>(), [100, 100, 50]);
    let last = preview(&"**a** ".repeat(250), 4096);
    assert_eq!(last.entities.len(), 100);
    assert!(last.text.starts_with("…\na"), "{last:?}");
}

#[test]
fn a_message_that_fits_is_not_cut() {
    for part in render_within(&long_answer(), 300) {
        let units: Vec<u16> = part.text.encode_utf16().collect();
        let bytes = |unit: usize| String::from_utf16(&units[..unit]).unwrap().len();
        let mark = |entity: &Entity| Mark {
            kind: entity.kind,
            range: bytes(entity.offset)..bytes(entity.offset + entity.length),
            note: entity.url.as_deref().or(entity.language.as_deref()).map(Into::into),
        };
        let page = Page { text: part.text.clone(), marks: part.entities.iter().map(mark).collect(), borders: Vec::new() };
        assert_eq!(split::split(&page, 300), [part]);
    }
}
