//! Markdown, as messages of Telegram.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use stellaclaw::channels::telegram::render::attachments;
use stellaclaw::channels::telegram::render::{self, Entity, Kind, Text};

/// What layout adds to a text: bullets, numbers, rules, table lines, prefixes; and the signs of emphasis that belongs to an address.
const ADDED: &str = "•☑☐—│─┼:.>0123456789_*~";

pub fn run(data: &[u8]) {
    if let Ok(markdown) = std::str::from_utf8(data) {
        check(markdown);
    }
}

/// Every message is one that Telegram takes as it is, and together they say what the Markdown says.
pub fn check(markdown: &str) {
    for units in [4096, 1024, 61] {
        let parts = render::render_within(markdown, units);
        parts.iter().for_each(|part| valid(part, units));
        complete(markdown, &parts);
    }
    assert_eq!(render::render(markdown), render::render_within(markdown, 4096));
    let rendered = render::render_or_file(markdown);
    assert!(rendered.parts.len() <= 6, "{} parts", rendered.parts.len());
    rendered.parts.iter().for_each(|part| valid(part, 4096));
    assert!(rendered.file.is_none_or(|file| file == markdown));
    for units in [4096, 40] {
        let preview = render::preview(markdown, units);
        if preview != Text::default() {
            valid(&preview, units);
        }
        assert_eq!(preview == Text::default(), render::render(markdown).is_empty());
    }
    attached(markdown);
}

fn attached(markdown: &str) {
    let found = attachments::find(markdown);
    let paths: BTreeSet<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths.len(), found.files.len(), "twice the same");
    assert!(paths.len() <= 20);
    for path in paths {
        assert!(!path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
    }
    assert_eq!(found.markdown(|_| false), markdown);
    let sent = found.markdown(|_| true);
    assert!(sent.len() <= markdown.len());
    assert!(sent == markdown || !found.files.is_empty());
}

/// Telegram's rules for a message, and that it is as short as it can be: nothing blank at the ends of what is marked.
pub fn valid(part: &Text, most: usize) {
    let units: Vec<u16> = part.text.encode_utf16().collect();
    assert!((1..=most).contains(&units.len()), "{} units", units.len());
    assert!(!shown(&part.text).is_empty(), "nothing to see in {:?}", part.text);
    assert!(!part.text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "control characters in {:?}", part.text);
    assert!(part.entities.len() <= 100, "{} entities", part.entities.len());
    let is_inside_pair = |at: usize| units.get(at).is_some_and(|unit| (0xdc00..0xe000).contains(unit));
    let is_blank = |at: usize| units.get(at).and_then(|unit| char::from_u32(u32::from(*unit))).is_some_and(char::is_whitespace);
    let mut around: Vec<&Entity> = Vec::new();
    let mut before = (0, 0);
    for entity in &part.entities {
        let (start, end) = (entity.offset, entity.offset + entity.length);
        assert!(start < end && end <= units.len(), "{entity:?} in {} units", units.len());
        assert!(!is_inside_pair(start) && !is_inside_pair(end), "{entity:?} cuts a character");
        let indented = part.entities.iter().any(|code| code.kind == Kind::Pre && code.offset == start) && units[start] != u16::from(b'\n');
        assert!(!is_blank(start) || indented, "{entity:?} begins with white space in {:?}", part.text);
        assert!(!is_blank(end - 1), "{entity:?} ends with white space in {:?}", part.text);
        assert_eq!(entity.url.is_some(), entity.kind == Kind::TextLink);
        assert!(entity.language.is_none() || entity.kind == Kind::Pre);
        let place = (start, usize::MAX - end);
        assert!(before <= place, "{entity:?} is not in order: {:?}", part.entities);
        before = place;
        around.retain(|outer| outer.offset + outer.length > start);
        for outer in &around {
            assert!(outer.offset + outer.length >= end, "{entity:?} overlaps {outer:?}");
            assert!(may_contain(outer.kind, entity.kind), "{entity:?} in {outer:?}");
        }
        around.push(entity);
    }
}

fn may_contain(outer: Kind, inner: Kind) -> bool {
    let is_quote = |kind| matches!(kind, Kind::Blockquote | Kind::ExpandableBlockquote);
    let is_emphasis = |kind| matches!(kind, Kind::Bold | Kind::Italic | Kind::Strikethrough);
    match outer {
        Kind::Pre | Kind::Code => false,
        _ if is_quote(inner) || outer == inner => false,
        _ if is_quote(outer) => true,
        _ => is_emphasis(inner) || (is_emphasis(outer) && inner == Kind::TextLink),
    }
}

/// A piece of the text in every form that it may be shown in.
type Forms = Vec<String>;

enum Said {
    Text(Forms),
    /// The header, then the rows; of each its cells.
    Table(Vec<Vec<Vec<Forms>>>),
}

/// Reads the events of the Markdown once more, without blocks and layout, and follows what was rendered along them.
fn complete(markdown: &str, parts: &[Text]) {
    let rendered: Vec<char> = parts.iter().flat_map(|part| shown(&part.text).chars().collect::<Vec<_>>()).collect();
    let mut places = BTreeSet::from([0]);
    for said in said(markdown) {
        let next = match &said {
            Said::Text(forms) => along(&rendered, &places, [forms]),
            Said::Table(rows) => {
                let mut next = along(&rendered, &places, rows.iter().flatten().flatten());
                next.extend(along_list(&rendered, &places, rows));
                next
            }
        };
        let at = places.last().copied().unwrap_or_default();
        let rest = || rendered[at..].iter().take(80).collect::<String>();
        assert!(!next.is_empty(), "what comes next is not what was said: {:?}, in {markdown:?}", rest());
        places = next;
    }
    let is_end = |at: &usize| rendered[*at..].iter().all(|c| ADDED.contains(*c));
    assert!(places.iter().any(is_end), "more than there was: {:?} of {markdown:?}", rendered.iter().collect::<String>());
}

/// The places after all of these, from any of those.
fn along<'a>(rendered: &[char], places: &BTreeSet<usize>, said: impl IntoIterator<Item = &'a Forms>) -> BTreeSet<usize> {
    said.into_iter().fold(places.clone(), |places, forms| {
        places.iter().flat_map(|at| forms.iter().filter_map(|form| follow(rendered, *at, form))).collect()
    })
}

/// A table as a list, where the header of its column is before each value.
fn along_list(rendered: &[char], places: &BTreeSet<usize>, rows: &[Vec<Vec<Forms>>]) -> BTreeSet<usize> {
    let mut places = places.clone();
    let Some((header, rows)) = rows.split_first() else { return places };
    for (header, value) in rows.iter().flat_map(|row| header.iter().zip(row)) {
        let mut next = along(rendered, &places, header.iter().chain(value));
        if value.iter().all(|forms| forms.iter().any(String::is_empty)) {
            next.extend(places);
        }
        places = next;
    }
    places
}

/// The place after `form`, when nothing but what layout adds is before and in it.
fn follow(rendered: &[char], from: usize, form: &str) -> Option<usize> {
    let mut at = from;
    for c in form.chars() {
        while *rendered.get(at)? != c {
            if !ADDED.contains(rendered[at]) {
                return None;
            }
            at += 1;
        }
        at += 1;
    }
    Some(at)
}

fn said(markdown: &str) -> Vec<Said> {
    let lines = markdown.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    let source: String = lines.chars().filter(|c| !is_stripped(*c)).collect();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut said: Vec<Said> = Vec::new();
    let mut targets: Vec<String> = Vec::new();
    let mut table: Option<Vec<Vec<Vec<Forms>>>> = None;
    for event in Parser::new_ext(&source, options) {
        let form = match event {
            Event::Text(text) | Event::Code(text) | Event::Html(text) => vec![shown(&text)],
            Event::InlineHtml(text) if text.to_lowercase().starts_with("<br") => vec![String::new(), shown(&text)],
            Event::InlineHtml(text) => vec![shown(&text)],
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                targets.push(shown(&dest_url));
                continue;
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                let target = targets.pop().unwrap_or_default();
                let bare = target.split_once(':').map_or("", |(_, bare)| bare);
                vec![String::new(), format!("({target})"), format!("({bare})"), target.clone(), bare.to_owned()]
            }
            Event::Start(Tag::Table(_)) => {
                table = Some(Vec::new());
                continue;
            }
            Event::Start(Tag::TableHead | Tag::TableRow) => {
                table.iter_mut().for_each(|table| table.push(Vec::new()));
                continue;
            }
            Event::Start(Tag::TableCell) => {
                table.iter_mut().filter_map(|table| table.last_mut()).for_each(|row| row.push(Vec::new()));
                continue;
            }
            Event::End(TagEnd::Table) => {
                said.extend(table.take().map(Said::Table));
                continue;
            }
            _ => continue,
        };
        match table.as_mut().and_then(|table| table.last_mut()).and_then(|row| row.last_mut()) {
            Some(cell) => cell.push(form),
            None => said.push(Said::Text(form)),
        }
    }
    said
}

/// What must be there: not white space, and not what nobody sees.
fn shown(text: &str) -> String {
    let is_unseen = |c: char| {
        matches!(u32::from(c), 0xad | 0x30a | 0x333 | 0x33f | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
            | 0x200b..=0x200f | 0x2060..=0x206f | 0x2800 | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffc | 0xe0000..=0xe0fff)
    };
    text.chars().filter(|c| !c.is_whitespace() && !is_stripped(*c) && !is_unseen(*c)).collect()
}

fn is_stripped(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
