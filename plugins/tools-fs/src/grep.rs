//! `grep`: finds files, or lines, by a regular expression.

use std::ops::ControlFlow;

use stellaclaw_sdk::serde::{Deserialize, Serialize};
use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, Result, Tool, schemars};

use crate::answer;
use crate::files::{Files, Kind, Local};
use crate::globs::Pattern;
use crate::newest::newest_first;
use crate::paths::Place;
use crate::read::reading;
use crate::walk::{self, Options, Step};

mod lines;
mod search;
#[cfg(test)]
mod tests;

use lines::{Limits, LineMatch, collect};
use search::{Loaded, Searcher};

const DEFAULT_MATCHES: usize = 200;
const MAX_MATCHES: usize = 2000;
const MAX_CONTEXT_LINES: usize = 10;
/// Names of files that were too large to be searched.
const MAX_SKIPPED_NAMES: usize = 10;

/// Searches text files line by line for a regular expression (Rust syntax; `(?i)` ignores case). Answers the names of
/// the files that match, newest first; with `names_only: false` the matching lines. Respects `.gitignore`; skips binary
/// files, files over 16 MiB, links, and hidden files unless `path` or `include` names them.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct Grep {
    /// The regular expression.
    pattern: String,
    /// The directory or file to search. Default: the workspace.
    path: Option<String>,
    /// Only files whose path matches this glob, such as `*.rs` or `src/**`.
    include: Option<String>,
    /// No files whose path matches this glob.
    exclude: Option<String>,
    /// File names only. Default true, or false when `context_lines` is given.
    names_only: Option<bool>,
    /// Lines to show before and after each match, 0 to 10.
    context_lines: Option<usize>,
    /// The most matching lines of one file.
    max_matches_per_file: Option<usize>,
    /// The most matching lines of all files, up to 2000. Default 200.
    total_max_matches: Option<usize>,
}

impl Tool for Grep {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

/// The answer; either `filenames` or `matches`.
#[derive(Debug, Default, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Answer {
    pattern: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<String>,
    num_files: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    filenames: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_matches: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<LineMatch>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// Files that match everything but were too large to be searched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped_too_large: Vec<String>,
}

/// Which files to open.
struct Filter {
    base: Place,
    include: Option<Pattern>,
    exclude: Option<Pattern>,
}

impl Filter {
    /// Patterns are for paths relative to the base; the path from the workspace is accepted as well.
    fn matches(&self, pattern: &Pattern, place: &Place) -> bool {
        pattern.matches(place.below(&self.base)) || (!self.base.is_workspace() && pattern.matches(place.as_str()))
    }

    fn excludes(&self, place: &Place) -> bool {
        self.exclude.as_ref().is_some_and(|pattern| self.matches(pattern, place))
    }

    fn includes(&self, place: &Place) -> bool {
        self.include.as_ref().is_none_or(|pattern| self.matches(pattern, place))
    }
}

/// What a search has found so far.
struct Search<'a> {
    files: &'a dyn Files,
    searcher: Searcher,
    /// None: names only.
    limits: Option<Limits>,
    found: Vec<Place>,
    matches: Vec<LineMatch>,
    truncated: bool,
    too_large: Vec<String>,
}

impl Grep {
    fn run(self, files: &dyn Files) -> Result<Output> {
        let base = Place::parse(self.path.as_deref().unwrap_or_default())?;
        let limits = self.limits()?;
        let pattern =
            |argument, text: Option<&str>| text.filter(|text| !text.is_empty()).map(|text| Pattern::with_below(argument, text)).transpose();
        let filter = Filter {
            include: pattern("include", self.include.as_deref())?,
            exclude: pattern("exclude", self.exclude.as_deref())?,
            base: base.clone(),
        };
        let mut search = Search {
            files,
            searcher: Searcher::new(&self.pattern)?,
            limits,
            found: Vec::new(),
            matches: Vec::new(),
            truncated: false,
            too_large: Vec::new(),
        };
        search.run(&filter)?;
        self.answer(search, &base)
    }

    /// How many lines to collect; none for names only.
    fn limits(&self) -> Result<Option<Limits>> {
        let context = self.context_lines.unwrap_or(0);
        if context > MAX_CONTEXT_LINES {
            return Err(Error::invalid(format!("`context_lines` is {context}; it must be from 0 to {MAX_CONTEXT_LINES}")));
        }
        for (name, value) in [("max_matches_per_file", self.max_matches_per_file), ("total_max_matches", self.total_max_matches)] {
            if value == Some(0) {
                return Err(Error::invalid(format!("`{name}` is 0; it must be at least 1")));
            }
        }
        let total = self.total_max_matches.unwrap_or(DEFAULT_MATCHES).min(MAX_MATCHES);
        let limits = Limits { context, per_file: self.max_matches_per_file.unwrap_or(total).min(total), total };
        Ok((!self.names_only.unwrap_or(context == 0)).then_some(limits))
    }

    fn answer(self, search: Search<'_>, base: &Place) -> Result<Output> {
        let num_files = search.found.len();
        let mut answer = Answer {
            pattern: self.pattern,
            path: base.to_string(),
            include: self.include,
            exclude: self.exclude,
            num_files,
            truncated: search.truncated,
            skipped_too_large: search.too_large,
            ..Answer::default()
        };
        let mut summary = format!("{num_files} files match {}", answer.pattern);
        if search.limits.is_some() {
            summary = format!("{} lines in {summary}", search.matches.len());
            answer.num_matches = Some(search.matches.len());
            answer.matches = Some(search.matches);
        } else {
            let (filenames, truncated) = newest_first(search.files, &search.found);
            answer.filenames = Some(filenames);
            answer.truncated = truncated;
        }
        answer::json(&answer, &summary)
    }
}

impl Search<'_> {
    fn run(&mut self, filter: &Filter) -> Result<()> {
        let stat = self.files.stat(&filter.base).map_err(|error| reading(&filter.base, error))?;
        match stat.kind {
            Kind::Directory => {}
            Kind::File => {
                // One file: there is nothing to break off.
                let _ = self.file(&filter.base);
                return Ok(());
            }
            Kind::Link | Kind::Other => return Err(Error::invalid(format!("{} is neither a directory nor a regular file", filter.base))),
        }
        let options = Options { hidden: filter.include.as_ref().is_some_and(Pattern::names_hidden), without: &[] };
        walk::walk(self.files, &filter.base, &options, &mut |place, kind| match kind {
            _ if filter.excludes(place) => ControlFlow::Continue(Step::Over),
            Kind::File if filter.includes(place) => self.file(place),
            _ => ControlFlow::Continue(Step::Into),
        })
    }

    /// Searches one file. Breaks off when nothing more fits into the answer.
    fn file(&mut self, place: &Place) -> ControlFlow<(), Step> {
        match self.searcher.load(self.files, place) {
            Loaded::Text => {}
            Loaded::NoText => return ControlFlow::Continue(Step::Over),
            Loaded::TooLarge => {
                if self.too_large.len() < MAX_SKIPPED_NAMES {
                    self.too_large.push(place.to_string());
                }
                return ControlFlow::Continue(Step::Over);
            }
        }
        let Some(first) = self.searcher.next_line(0) else { return ControlFlow::Continue(Step::Over) };
        if !self.searcher.is_utf8() {
            return ControlFlow::Continue(Step::Over);
        }
        let Some(limits) = &mut self.limits else {
            self.found.push(place.clone());
            return ControlFlow::Continue(Step::Over);
        };
        if limits.total == 0 {
            self.truncated = true;
            return ControlFlow::Break(());
        }
        self.found.push(place.clone());
        self.truncated |= collect(&mut self.searcher, place, first, limits, &mut self.matches);
        ControlFlow::Continue(Step::Over)
    }
}
