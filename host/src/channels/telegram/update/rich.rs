//! The text of a rich message: what its blocks say, without how they look.

use serde_json::Value;

/// Where text is, and what holds more of it.
const TEXT: &[&str] = &["summary", "title", "label", "text", "expression", "caption", "credit"];
const BLOCKS: &[&str] = &["blocks", "items", "cells"];

/// The text, a line for each block.
pub(super) fn text(message: &Value) -> String {
    let mut text = String::new();
    block(message, &mut text);
    text.truncate(text.trim_end().len());
    text
}

fn block(value: &Value, text: &mut String) {
    match value {
        Value::Array(rows) => rows.iter().for_each(|row| block(row, text)),
        Value::Object(fields) => {
            for name in TEXT {
                if let Some(found) = fields.get(*name) {
                    inline(found, text);
                    if !text.ends_with('\n') {
                        text.push('\n');
                    }
                }
            }
            BLOCKS.iter().filter_map(|name| fields.get(*name)).for_each(|blocks| block(blocks, text));
        }
        other => inline(other, text),
    }
}

fn inline(value: &Value, text: &mut String) {
    match value {
        Value::String(part) => text.push_str(part),
        Value::Array(parts) => parts.iter().for_each(|part| inline(part, text)),
        Value::Object(fields) => TEXT.iter().filter_map(|name| fields.get(*name)).for_each(|part| inline(part, text)),
        _ => {}
    }
}
