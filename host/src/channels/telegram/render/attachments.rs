//! The files that an answer attaches: links and pictures with a local target, and `<attachment>path</attachment>`. Those in code are text.
//!
//! Paths come out relative to the workspace, without `..`; nothing else of them is known here, neither whether such a file exists nor
//! where links of the file system lead.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Parser, Tag, TagEnd};

use crate::limits;

use super::characters;
use super::links;
use super::markdown;

const OPENING: &str = "<attachment>";
const CLOSING: &str = "</attachment>";
/// Where tools see the workspace.
const WORKSPACE: &str = "/workspace/";

/// What an answer attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachments {
    markdown: String,
    mentions: Vec<Mention>,
    /// In the order in which they are mentioned first, each once.
    pub files: Vec<Attachment>,
    /// What is written there, and why it is not attached.
    pub refused: Vec<(String, Refusal)>,
}

/// A file that the answer attaches, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Relative to the workspace.
    pub path: String,
    /// The text of the link, the description of the picture, or the file's name.
    pub label: String,
}

/// Why something that looks like a file is not attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("`file:` addresses are not attached; write the path from the workspace")]
    FileAddress,
    #[error("it is not in the workspace")]
    Outside,
    #[error("a path with `..` is not attached")]
    Parent,
    #[error("it is not a path")]
    NoPath,
    #[error("an answer attaches at most {} files", limits::ATTACHMENTS)]
    TooMany,
}

/// A place in the Markdown that attaches a file: what is taken out there when the file is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mention {
    path: String,
    syntax: [Range<usize>; 2],
}

/// Something that may attach a file, before its path is looked at.
struct Found {
    at: usize,
    written: String,
    path: Result<String, Refusal>,
    label: String,
    /// Before and after the label.
    syntax: [Range<usize>; 2],
}

/// Finds what `markdown` attaches.
pub fn find(markdown: &str) -> Attachments {
    let (mut found, code) = links_and_code(markdown);
    found.extend(tags(markdown, &code));
    found.sort_by_key(|found| found.at);
    let mut attachments = Attachments { markdown: markdown.to_owned(), mentions: Vec::new(), files: Vec::new(), refused: Vec::new() };
    let mut known = BTreeSet::new();
    for Found { written, path, label, syntax, .. } in found {
        let path = path.and_then(|path| match known.contains(&path) || known.len() < limits::ATTACHMENTS {
            true => Ok(path),
            false => Err(Refusal::TooMany),
        });
        match path {
            Ok(path) => {
                if known.insert(path.clone()) {
                    let name = path.rsplit('/').next().unwrap_or(&path);
                    let label = if label.trim().is_empty() { name.to_owned() } else { label };
                    attachments.files.push(Attachment { path: path.clone(), label });
                }
                attachments.mentions.push(Mention { path, syntax });
            }
            Err(refusal) => attachments.refused.push((written, refusal)),
        }
    }
    attachments
}

impl Attachments {
    /// The Markdown in which the mentions of the files that are sent are taken out: a link is then its label. Everything else stays as
    /// it was written, so that a link to a file that there is not is shown with its target.
    pub fn markdown(&self, is_sent: impl Fn(&str) -> bool) -> String {
        let sent: BTreeMap<&str, bool> = self.files.iter().map(|file| (file.path.as_str(), is_sent(&file.path))).collect();
        let is_out = |mention: &&Mention| sent.get(mention.path.as_str()).copied().unwrap_or_default();
        let mut out: Vec<&Range<usize>> = self.mentions.iter().filter(is_out).flat_map(|mention| &mention.syntax).collect();
        out.sort_by_key(|range| range.start);
        let mut markdown = String::with_capacity(self.markdown.len());
        let mut at = 0;
        for range in out {
            markdown.push_str(self.markdown.get(at..range.start).unwrap_or_default());
            at = at.max(range.end);
        }
        markdown.push_str(&self.markdown[at..]);
        markdown
    }
}

/// A link or picture whose end has not come yet.
struct Open {
    range: Range<usize>,
    target: Option<String>,
    label: String,
    inside: Option<Range<usize>>,
}

/// Links and pictures with a local target, and where code stands.
fn links_and_code(markdown: &str) -> (Vec<Found>, Vec<Range<usize>>) {
    let (mut found, mut code) = (Vec::new(), Vec::new());
    let mut open: Vec<Open> = Vec::new();
    for (event, range) in Parser::new_ext(markdown, markdown::OPTIONS).into_offset_iter() {
        // Labels that are deeper do not matter: the outermost has the text, the others are pictures in it.
        if let Some(link) = open.last_mut()
            && !matches!(event, Event::End(TagEnd::Link | TagEnd::Image))
        {
            let start = link.inside.as_ref().map_or(range.start, |inside| inside.start);
            link.inside = Some(start..range.end.max(start));
            if let Event::Text(text) | Event::Code(text) = &event {
                link.label.push_str(text);
            }
        }
        match event {
            Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. }) => {
                let is_address = matches!(link_type, LinkType::Autolink | LinkType::Email);
                open.push(Open { range, target: (!is_address).then(|| dest_url.into_string()), label: String::new(), inside: None });
            }
            Event::End(TagEnd::Link | TagEnd::Image) => found.extend(open.pop().and_then(link)),
            Event::Start(Tag::CodeBlock(_)) | Event::Code(_) => code.push(range),
            _ => {}
        }
    }
    (found, code)
}

fn link(open: Open) -> Option<Found> {
    let target = open.target?;
    let path = local(&target)?;
    let Range { start, end } = open.range;
    let inside = open.inside.unwrap_or(end..end);
    let syntax = [start..inside.start, inside.end..end];
    Some(Found { at: start, written: target, path, label: characters::cleaned(&open.label), syntax })
}

fn tags(markdown: &str, code: &[Range<usize>]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut from = 0;
    while let Some(at) = markdown[from..].find(OPENING).map(|at| from + at) {
        let inside = at + OPENING.len();
        from = inside;
        let after = code.partition_point(|range| range.end <= at);
        if code.get(after).is_some_and(|range| range.start <= at) {
            continue;
        }
        let reach = markdown.floor_char_boundary(inside + limits::ATTACHMENT_PATH_BYTES + CLOSING.len());
        let line = markdown[inside..reach].split('\n').next().unwrap_or_default();
        let Some(length) = line.find(CLOSING) else { continue };
        from = inside + length + CLOSING.len();
        let written = line[..length].trim();
        let path = if written.is_empty() { Err(Refusal::NoPath) } else { relative(written) };
        found.push(Found { at, written: written.to_owned(), path, label: String::new(), syntax: [at..from, from..from] });
    }
    found
}

/// The path of a link's target. None when it is not a file of ours: an address, or a place in a document.
fn local(target: &str) -> Option<Result<String, Refusal>> {
    if let Some(scheme) = links::scheme(target) {
        return scheme.eq_ignore_ascii_case("file").then_some(Err(Refusal::FileAddress));
    }
    if target.trim().is_empty() || target.starts_with("//") || target.contains(['#', '?']) {
        return None;
    }
    Some(decoded(target).ok_or(Refusal::NoPath).and_then(|path| relative(&path)))
}

fn relative(path: &str) -> Result<String, Refusal> {
    if links::scheme(path).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file")) {
        return Err(Refusal::FileAddress);
    }
    if path.len() > limits::ATTACHMENT_PATH_BYTES || path.contains(char::is_control) {
        return Err(Refusal::NoPath);
    }
    let inside = match path.strip_prefix(WORKSPACE) {
        Some(inside) => inside,
        None if path.starts_with('/') => return Err(Refusal::Outside),
        None => path,
    };
    if inside.split('/').any(|part| part == "..") {
        return Err(Refusal::Parent);
    }
    let parts: Vec<&str> = inside.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() { Err(Refusal::NoPath) } else { Ok(parts.join("/")) }
}

/// Without percent signs. None when that is not text.
fn decoded(target: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(target.len());
    let mut rest = target.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) if *byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
