//! Reads Markdown (CommonMark with tables, strikethrough and task lists) into blocks.
//!
//! Raw HTML is text, except that `<br>` ends a line. A line end within a paragraph stays one, as in every chat. What nests deeper than
//! [`limits::MARKDOWN_DEPTH`] is taken out of its quotes and lists. Nothing here recurses, however deep the text is nested.

use std::ops::Range;

use pulldown_cmark::{Alignment, CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::limits;

use super::blocks::{Block, Cell, Document, Item, List, Run, Side, Style, Table};
use super::characters;
use super::links::{self, Address};

/// What is understood beside CommonMark.
pub const OPTIONS: Options = Options::ENABLE_TABLES.union(Options::ENABLE_STRIKETHROUGH).union(Options::ENABLE_TASKLISTS);

pub fn parse(markdown: &str) -> Document {
    let source = characters::cleaned(markdown);
    let mut reader = Reader { source: &source, addresses: links::bare(&source), ..Reader::default() };
    for (event, range) in Parser::new_ext(&source, OPTIONS).into_offset_iter() {
        reader.event(event, range);
    }
    reader.close_leaf();
    reader.document
}

/// An open quote, list or item.
#[derive(Debug)]
enum Container {
    Quote(Vec<Block>),
    List(List),
    Item(Item),
}

/// What the text that comes belongs to.
#[derive(Debug, Default)]
enum Leaf {
    #[default]
    None,
    Paragraph,
    Heading,
    Cell,
    Code {
        language: String,
        text: String,
    },
}

/// An open link or picture.
#[derive(Debug)]
struct OpenLink {
    /// What is shown after the label; what is the label where there is none.
    shown: Option<String>,
    /// Whether the text is linked because of this one: links do not nest.
    is_active: bool,
    /// Where its label begins.
    from: usize,
}

#[derive(Debug, Default)]
struct Reader<'a> {
    source: &'a str,
    /// See [`links::bare`].
    addresses: Vec<Range<usize>>,
    document: Document,
    open: Vec<Container>,
    /// Containers beyond the depth that is kept.
    beyond: usize,
    leaf: Leaf,
    runs: Vec<Run>,
    /// Bytes of text read so far.
    read: usize,
    bold: usize,
    italic: usize,
    strike: usize,
    /// For each open emphasis: what it is written as, when that is a part of an address.
    emphasis: Vec<Option<&'a str>>,
    links: Vec<OpenLink>,
    link: Option<usize>,
    table: Table,
}

impl<'a> Reader<'a> {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(end) => self.end(end),
            Event::Code(text) => self.text(&text, true),
            Event::InlineHtml(html) if is_line_break(&html) => self.text("\n", false),
            Event::SoftBreak | Event::HardBreak => self.text("\n", false),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text, false),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.text(&text, false),
            Event::Rule => {
                self.close_leaf();
                self.block(Block::Rule);
            }
            Event::TaskListMarker(done) => {
                if self.beyond == 0
                    && let Some(Container::Item(item)) = self.open.last_mut()
                {
                    item.task = Some(done);
                }
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Emphasis => self.start_emphasis(range, 1),
            Tag::Strong => self.start_emphasis(range, 2),
            Tag::Strikethrough => {
                let width = if self.source[range.start..].starts_with("~~") { 2 } else { 1 };
                self.start_emphasis(range, width);
            }
            Tag::Link { dest_url, .. } => self.start_link(&dest_url),
            Tag::Image { dest_url, .. } => self.start_link(&dest_url),
            Tag::Superscript | Tag::Subscript => {}
            block => {
                self.close_leaf();
                self.start_block(block);
            }
        }
    }

    fn start_block(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::BlockQuote(_) => self.open(Container::Quote(Vec::new())),
            Tag::List(first) => self.open(Container::List(List { first, items: Vec::new() })),
            Tag::Item => self.open(Container::Item(Item::default())),
            Tag::Heading { .. } => self.leaf = Leaf::Heading,
            Tag::CodeBlock(kind) => {
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => language(info),
                    CodeBlockKind::Indented => String::new(),
                };
                self.leaf = Leaf::Code { language, text: String::new() };
            }
            Tag::Table(sides) => self.table = Table { sides: sides.iter().map(side).collect(), ..Table::default() },
            Tag::TableRow => self.table.rows.push(Vec::new()),
            Tag::TableCell => self.leaf = Leaf::Cell,
            _ => {}
        }
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::Emphasis => self.end_emphasis(|reader| &mut reader.italic),
            TagEnd::Strong => self.end_emphasis(|reader| &mut reader.bold),
            TagEnd::Strikethrough => self.end_emphasis(|reader| &mut reader.strike),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::Superscript | TagEnd::Subscript => {}
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item => {
                self.close_leaf();
                self.close();
            }
            TagEnd::Table => {
                let table = std::mem::take(&mut self.table);
                self.block(Block::Table(table));
            }
            _ => self.close_leaf(),
        }
    }

    /// Emphasis whose both ends are inside one address is a part of that address.
    fn start_emphasis(&mut self, range: Range<usize>, width: usize) {
        let after = self.addresses.partition_point(|address| address.end <= range.start);
        let is_address = self.addresses.get(after).is_some_and(|address| address.start <= range.start && range.end <= address.end);
        if is_address {
            let written = &self.source[range.start..range.start + width];
            self.text(written, false);
            self.emphasis.push(Some(written));
        } else {
            self.emphasis.push(None);
            match (width, self.source.as_bytes().get(range.start)) {
                (_, Some(b'~')) => self.strike += 1,
                (1, _) => self.italic += 1,
                _ => self.bold += 1,
            }
        }
    }

    fn end_emphasis(&mut self, count: fn(&mut Self) -> &mut usize) {
        match self.emphasis.pop().flatten() {
            Some(written) => self.text(written, false),
            None => *count(self) = count(self).saturating_sub(1),
        }
    }

    fn start_link(&mut self, written: &str) {
        let (shown, link) = match links::address(written) {
            _ if self.link.is_some() => (None, None),
            Address::Hidden => (None, None),
            Address::Shown(address) => (Some(address), None),
            Address::Link(address) => (Some(address.clone()), Some(address)),
        };
        let is_active = link.is_some();
        if let Some(address) = link {
            self.link = Some(self.document.links.len());
            self.document.links.push(address);
        }
        self.links.push(OpenLink { shown, is_active, from: self.read });
    }

    fn end_link(&mut self) {
        let Some(link) = self.links.pop() else { return };
        let label = self.read - link.from;
        if let Some(shown) = link.shown.filter(|shown| !shown.is_empty()) {
            if label == 0 {
                self.text(&shown, false);
            } else if !(link.is_active || label == shown.len() && self.ends_with(&shown)) {
                self.text(&format!(" ({shown})"), false);
            }
        }
        if link.is_active {
            self.link = None;
        }
    }

    /// Whether the text read last is this.
    fn ends_with(&self, mut text: &str) -> bool {
        for run in self.runs.iter().rev() {
            match text.strip_suffix(run.text.as_str()) {
                Some(rest) => text = rest,
                None => return run.text.ends_with(text),
            }
        }
        text.is_empty()
    }

    fn text(&mut self, text: &str, code: bool) {
        let text = characters::cleaned(text);
        if text.is_empty() {
            return;
        }
        self.read += text.len();
        if let Leaf::Code { text: whole, .. } = &mut self.leaf {
            whole.push_str(&text);
            return;
        }
        if matches!(self.leaf, Leaf::None) {
            self.leaf = Leaf::Paragraph;
        }
        let style = self.style(code);
        match self.runs.last_mut() {
            Some(last) if last.style == style => last.text.push_str(&text),
            _ => self.runs.push(Run { text, style }),
        }
    }

    /// Code takes no other style and a link cannot contain it: there the link is worth more.
    fn style(&self, code: bool) -> Style {
        if code && self.link.is_none() {
            return Style { code: true, ..Style::default() };
        }
        Style { bold: self.bold > 0, italic: self.italic > 0, strike: self.strike > 0, code: false, link: self.link }
    }

    fn open(&mut self, container: Container) {
        if self.beyond > 0 || self.open.len() >= limits::MARKDOWN_DEPTH {
            self.beyond += 1;
        } else {
            self.open.push(container);
        }
    }

    fn close(&mut self) {
        if self.beyond > 0 {
            self.beyond -= 1;
            return;
        }
        match self.open.pop() {
            Some(Container::Quote(blocks)) => self.block(Block::Quote(blocks)),
            Some(Container::List(list)) => self.block(Block::List(list)),
            Some(Container::Item(item)) => {
                if let Some(Container::List(list)) = self.open.last_mut() {
                    list.items.push(item);
                }
            }
            None => {}
        }
    }

    fn block(&mut self, block: Block) {
        match self.open.last_mut() {
            Some(Container::Quote(blocks)) => blocks.push(block),
            Some(Container::Item(item)) => item.blocks.push(block),
            // Only when a list that is kept has an item that is beyond the depth.
            Some(Container::List(list)) => list.items.push(Item { task: None, blocks: vec![block] }),
            None => self.document.blocks.push(block),
        }
    }

    fn close_leaf(&mut self) {
        let runs = trimmed(std::mem::take(&mut self.runs));
        match std::mem::take(&mut self.leaf) {
            Leaf::None => {}
            Leaf::Cell => self.cell(runs),
            Leaf::Paragraph if runs.is_empty() => {}
            Leaf::Heading if runs.is_empty() => {}
            Leaf::Paragraph => self.block(Block::Paragraph(runs)),
            Leaf::Heading => self.block(Block::Heading(runs)),
            Leaf::Code { language, text } => self.block(Block::Code { language, text }),
        }
    }

    fn cell(&mut self, cell: Cell) {
        match self.table.rows.last_mut() {
            Some(row) => row.push(cell),
            None => self.table.header.push(cell),
        }
    }
}

/// Without white space at the end.
fn trimmed(mut runs: Vec<Run>) -> Vec<Run> {
    while let Some(last) = runs.last_mut() {
        last.text.truncate(last.text.trim_end().len());
        if !last.text.is_empty() {
            break;
        }
        runs.pop();
    }
    runs
}

fn is_line_break(html: &str) -> bool {
    let name = html.strip_prefix('<').and_then(|html| html.strip_suffix('>')).unwrap_or_default();
    name.trim_end_matches('/').trim_end().eq_ignore_ascii_case("br")
}

/// The first word after the fence, as far as it can be the name of a language.
fn language(info: &str) -> String {
    let word = info.split([' ', '\t', ',', '{']).next().unwrap_or_default();
    let is_name = word.len() <= limits::LANGUAGE_BYTES && word.chars().all(|c| c.is_ascii_alphanumeric() || "+#-_.".contains(c));
    if is_name { word.to_owned() } else { String::new() }
}

fn side(alignment: &Alignment) -> Side {
    match alignment {
        Alignment::None | Alignment::Left => Side::Left,
        Alignment::Center => Side::Middle,
        Alignment::Right => Side::Right,
    }
}
