//! Tables: aligned in a monospace font where that is legible, else a list.

use unicode_width::UnicodeWidthStr;

use crate::limits;

use super::blocks::{self, Block, Cell, Item, List, Run, Side, Style, Table};

const BETWEEN: &str = " │ ";
const BELOW: &str = "─┼─";

/// The table as aligned lines. None when that is not the way to show it: it is too wide, or has links, which monospace text cannot have.
pub fn aligned(table: &Table) -> Option<String> {
    let rows = || std::iter::once(&table.header).chain(&table.rows);
    let has_link = |cell: &Cell| cell.iter().any(|run| run.style.link.is_some());
    let columns = rows().map(|row| filled(row)).max()?;
    if columns == 0 {
        return Some(String::new());
    }
    let most = limits::TABLE_COLUMNS / (BETWEEN.width() + 1) + 1;
    if columns > most || rows().flatten().any(has_link) {
        return None;
    }
    let texts: Vec<Vec<String>> = rows().map(|row| row.iter().take(columns).map(in_one_line).collect()).collect();
    let widths: Vec<usize> = (0..columns)
        .map(|column| texts.iter().filter_map(|row| row.get(column)).map(|text| text.width()).max().unwrap_or_default())
        .collect();
    let whole = widths.iter().fold(0usize, |sum, width| sum.saturating_add(*width)) + BETWEEN.width() * (columns - 1);
    if whole > limits::TABLE_COLUMNS {
        return None;
    }
    let mut lines: Vec<String> = texts.iter().map(|row| line(row, &widths, &table.sides)).collect();
    if filled(&table.header) == 0 {
        lines.remove(0);
    } else if lines.len() > 1 {
        lines.insert(1, widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join(BELOW));
    }
    Some(lines.join("\n"))
}

/// Cells up to the last one with text: rows are filled up with empty ones.
fn filled(row: &[Cell]) -> usize {
    row.iter().rposition(|cell| !blocks::plain(cell).trim().is_empty()).map_or(0, |last| last + 1)
}

fn line(row: &[String], widths: &[usize], sides: &[Side]) -> String {
    let cell = |(column, width): (usize, &usize)| {
        let text = row.get(column).map(String::as_str).unwrap_or_default();
        let free = width.saturating_sub(text.width());
        let before = match sides.get(column) {
            Some(Side::Right) => free,
            Some(Side::Middle) => free / 2,
            _ => 0,
        };
        format!("{}{text}{}", " ".repeat(before), " ".repeat(free - before))
    };
    let cells: Vec<String> = widths.iter().enumerate().map(cell).collect();
    cells.join(BETWEEN).trim_end().to_owned()
}

/// The table as a list of its rows, each value after the header of its column. Headers that are too long to be repeated stand above.
pub fn list(table: &Table) -> List {
    let headers: Vec<String> = table.header.iter().map(in_one_line).collect();
    let is_repeated = !table.rows.is_empty() && headers.iter().all(|header| header.width() <= limits::TABLE_COLUMNS);
    let mut items = Vec::new();
    if !is_repeated {
        items.push(item(&table.header, |_| None));
    }
    let label = |column: usize| headers.get(column).filter(|header| is_repeated && !header.is_empty());
    items.extend(table.rows.iter().filter(|row| filled(row) > 0).map(|row| item(row, label)));
    List { first: None, items }
}

fn item<'a>(row: &[Cell], label: impl Fn(usize) -> Option<&'a String>) -> Item {
    let mut runs: Vec<Run> = Vec::new();
    for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !blocks::plain(cell).trim().is_empty()) {
        if !runs.is_empty() {
            runs.push(Run { text: "\n".to_owned(), style: Style::default() });
        }
        if let Some(label) = label(column) {
            runs.push(Run { text: format!("{label}:"), style: Style { bold: true, ..Style::default() } });
            runs.push(Run { text: " ".to_owned(), style: Style::default() });
        }
        runs.extend(cell.iter().cloned());
    }
    Item { task: None, blocks: vec![Block::Paragraph(runs)] }
}

/// The text of a cell without its styles.
fn in_one_line(cell: &Cell) -> String {
    blocks::plain(cell).split(['\n', '\t']).map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
