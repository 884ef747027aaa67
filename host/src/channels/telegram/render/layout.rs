//! Writes blocks as one text with marks and borders: bullets and numbers, tables, quotes as Telegram has them.
//!
//! Code and quotes begin at the left, also inside lists, and quotes do not nest: an inner one is shown by `> ` before its lines.
//! Recursion is as deep as the blocks are: [`limits::MARKDOWN_DEPTH`].

use std::rc::Rc;

use crate::limits;

use super::blocks::{Block, Document, Item, List, Run, Style};
use super::entity::{self, Kind};
use super::page::{Border, Mark, Page, Rank};
use super::table;

/// What lines of an item have before them, beside those of the list it is in.
const INDENT: &str = "    ";
const RULE: &str = "———";
/// Telegram makes a single space of a tab, which would take the shape from code.
const TAB: &str = "    ";

pub fn page(document: &Document) -> Page {
    let links: Vec<Rc<str>> = document.links.iter().map(|link| link.as_str().into()).collect();
    let mut writer = Writer { page: Page::default(), links, prefix: String::new(), at_line_start: true, gap: None, is_quoted: false };
    writer.blocks(&document.blocks, Gap { feeds: 2, rank: Some(Rank::Block) });
    writer.page.marks.sort_by_key(Mark::order);
    writer.page
}

/// Line feeds before the next text, and the border that they are.
#[derive(Debug, Clone, Copy)]
struct Gap {
    feeds: usize,
    rank: Option<Rank>,
}

struct Writer {
    page: Page,
    links: Vec<Rc<str>>,
    /// Stands before each line.
    prefix: String,
    at_line_start: bool,
    gap: Option<Gap>,
    is_quoted: bool,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block], between: Gap) {
        let mut after_heading = false;
        for (index, block) in blocks.iter().enumerate() {
            if index > 0 {
                // A heading stays with what it is the heading of.
                self.gap(Gap { rank: between.rank.filter(|_| !after_heading), ..between });
            }
            self.block(block);
            after_heading = matches!(block, Block::Heading(_));
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(runs) => self.runs(runs, false),
            Block::Heading(runs) => self.runs(runs, true),
            Block::Quote(blocks) => self.quote(blocks),
            Block::List(list) => self.list(list),
            Block::Code { language, text } => self.code(language, text),
            Block::Rule => self.write(RULE),
            Block::Table(table) => match table::aligned(table) {
                Some(text) => self.pre("", &text, false),
                None => self.list(&table::list(table)),
            },
        }
    }

    fn list(&mut self, list: &List) {
        for (index, item) in list.items.iter().enumerate() {
            if index > 0 {
                self.gap(Gap { feeds: 1, rank: Some(Rank::Item) });
            }
            let number = list.first.map(|first| first.saturating_add(index as u64));
            self.item(number, item);
        }
    }

    fn item(&mut self, number: Option<u64>, item: &Item) {
        let task = item.task.map(|done| if done { "☑ " } else { "☐ " });
        let marker = match number {
            Some(number) => format!("{number}. {}", task.unwrap_or_default()),
            None => task.unwrap_or("• ").to_owned(),
        };
        self.write(&marker);
        let outer = self.prefix.len();
        self.prefix.push_str(INDENT);
        self.blocks(&item.blocks, Gap { feeds: 1, rank: Some(Rank::Item) });
        self.prefix.truncate(outer);
    }

    fn quote(&mut self, blocks: &[Block]) {
        let between = Gap { feeds: 2, rank: Some(Rank::Item) };
        if self.is_quoted {
            let outer = self.prefix.len();
            self.prefix.push_str("> ");
            self.blocks(blocks, between);
            self.prefix.truncate(outer);
            return;
        }
        self.is_quoted = true;
        let from = self.at_left(|writer| writer.blocks(blocks, between));
        self.is_quoted = false;
        let quoted = self.page.text[from..].trim();
        let is_long = quoted.lines().count() >= limits::QUOTE_LONG_LINES || entity::units(quoted) >= limits::QUOTE_LONG_UNITS;
        self.mark(if is_long { Kind::ExpandableBlockquote } else { Kind::Blockquote }, from, None);
    }

    fn code(&mut self, language: &str, text: &str) {
        let text = text.trim_end().replace('\t', TAB);
        // Empty lines before the first one: what counts is where its own indentation begins.
        let indented = text.len() - text.trim_start().len();
        let text = &text[text[..indented].rfind('\n').map_or(0, |feed| feed + 1)..];
        let is_long = text.lines().count() >= limits::CODE_LONG_LINES || entity::units(text) >= limits::CODE_LONG_UNITS;
        self.pre(language, text, is_long);
    }

    /// Telegram has code in quotes, though in nothing else: a long one is collapsed by a quote around it.
    fn pre(&mut self, language: &str, text: &str, is_long: bool) {
        if text.is_empty() {
            return;
        }
        let from = self.at_left(|writer| writer.write(text));
        if is_long && !self.is_quoted {
            self.mark(Kind::ExpandableBlockquote, from, None);
        }
        self.mark(Kind::Pre, from, Some(language).filter(|language| !language.is_empty()).map(Rc::from));
    }

    /// Writes lines without a prefix. Returns where they begin.
    fn at_left(&mut self, write: impl FnOnce(&mut Self)) -> usize {
        if !self.at_line_start && self.gap.is_none() {
            self.gap = Some(Gap { feeds: 1, rank: None });
        }
        let prefix = std::mem::take(&mut self.prefix);
        let before = self.page.text.len();
        write(self);
        self.prefix = prefix;
        let written = &self.page.text[before..];
        before + (written.len() - written.trim_start_matches('\n').len())
    }

    /// Marks are closed and opened again where that is needed to nest: a link is around emphasis.
    fn runs(&mut self, runs: &[Run], bold: bool) {
        let mut open: Vec<(Kind, Option<usize>, usize)> = Vec::new();
        for run in runs {
            let wanted = kinds(Style { bold: (run.style.bold || bold) && !run.style.code, ..run.style });
            let is_new_outer = wanted.first().is_some_and(|(kind, link)| {
                matches!(kind, Kind::Code | Kind::TextLink) && !open.iter().any(|(other, of, _)| (other, of) == (kind, link))
            });
            let kept = open.iter().take_while(|(kind, link, _)| wanted.contains(&(*kind, *link))).count();
            self.close(&mut open, if is_new_outer { 0 } else { kept });
            self.begin_line();
            for (kind, link) in wanted {
                if !open.iter().any(|(other, ..)| *other == kind) {
                    open.push((kind, link, self.page.text.len()));
                }
            }
            self.write(&run.text);
        }
        self.close(&mut open, 0);
    }

    fn close(&mut self, open: &mut Vec<(Kind, Option<usize>, usize)>, kept: usize) {
        for (kind, link, from) in open.drain(kept..) {
            let address = link.and_then(|link| self.links.get(link)).cloned();
            let range = from..self.page.text.len();
            if !range.is_empty() {
                self.page.marks.push(Mark { kind, range, note: address });
            }
        }
    }

    fn mark(&mut self, kind: Kind, from: usize, note: Option<Rc<str>>) {
        let range = from..self.page.text.len();
        if !range.is_empty() {
            self.page.marks.push(Mark { kind, range, note });
        }
    }

    /// What is asked for after nothing is nothing.
    fn gap(&mut self, gap: Gap) {
        if self.page.text.is_empty() {
            return;
        }
        let before = self.gap.unwrap_or(Gap { feeds: 0, rank: None });
        self.gap = Some(Gap { feeds: gap.feeds.max(before.feeds), rank: gap.rank.max(before.rank) });
    }

    fn begin_line(&mut self) {
        if let Some(gap) = self.gap.take() {
            self.page.text.extend(std::iter::repeat_n('\n', gap.feeds));
            self.at_line_start = true;
            if let Some(rank) = gap.rank {
                self.page.borders.push(Border { at: self.page.text.len(), rank });
            }
        }
        if std::mem::take(&mut self.at_line_start) {
            self.page.text.push_str(&self.prefix);
        }
    }

    fn write(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.page.text.push('\n');
                self.at_line_start = true;
            }
            if !line.is_empty() {
                self.begin_line();
                self.page.text.push_str(line);
            }
        }
    }
}

/// The marks of a style, in the order in which they nest when they begin together.
fn kinds(style: Style) -> Vec<(Kind, Option<usize>)> {
    let mut kinds = Vec::new();
    if style.code {
        kinds.push((Kind::Code, None));
    }
    if style.link.is_some() {
        kinds.push((Kind::TextLink, style.link));
    }
    let simple = [(style.bold, Kind::Bold), (style.italic, Kind::Italic), (style.strike, Kind::Strikethrough)];
    kinds.extend(simple.into_iter().filter(|(is_on, _)| *is_on).map(|(_, kind)| (kind, None)));
    kinds
}
