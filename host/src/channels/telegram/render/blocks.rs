//! What a Markdown text consists of, without its syntax.
//!
//! Blocks nest at most [`crate::limits::MARKDOWN_DEPTH`] deep. Inline text is flat: runs with their style.

/// A whole text.
#[derive(Debug, Default)]
pub struct Document {
    pub blocks: Vec<Block>,
    /// The addresses that [`Style::link`] points at.
    pub links: Vec<String>,
}

#[derive(Debug)]
pub enum Block {
    Paragraph(Vec<Run>),
    Heading(Vec<Run>),
    Quote(Vec<Block>),
    List(List),
    Code { language: String, text: String },
    Table(Table),
    Rule,
}

#[derive(Debug, Default)]
pub struct List {
    /// The first number of a numbered list.
    pub first: Option<u64>,
    pub items: Vec<Item>,
}

#[derive(Debug, Default)]
pub struct Item {
    /// Whether a task is done.
    pub task: Option<bool>,
    pub blocks: Vec<Block>,
}

pub type Cell = Vec<Run>;

/// Rows may be shorter than the header; cells left out are empty.
#[derive(Debug, Default)]
pub struct Table {
    pub sides: Vec<Side>,
    pub header: Vec<Cell>,
    pub rows: Vec<Vec<Cell>>,
}

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Middle,
    Right,
}

/// A piece of text in one style; a line feed in it begins a new line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    pub bold: bool,
    pub italic: bool,
    pub strike: bool,
    pub code: bool,
    /// An index into [`Document::links`].
    pub link: Option<usize>,
}

/// The text of runs without their styles.
pub fn plain(runs: &[Run]) -> String {
    runs.iter().map(|run| run.text.as_str()).collect()
}
