//! `glob`: finds files by name.

use std::ops::ControlFlow;

use stellaclaw_sdk::serde::{Deserialize, Serialize};
use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, Result, Tool, schemars};

use crate::answer;
use crate::files::{Files, Kind, Local};
use crate::globs::{Pattern, literal_directories};
use crate::newest::newest_first;
use crate::paths::Place;
use crate::read::reading;
use crate::walk::{self, Options, Step};

#[cfg(test)]
mod tests;

/// Finds files by a glob pattern; the newest 100 come first. `*` stays within a directory, `**` does not; a pattern
/// without `/` is tried on names at any depth. Respects `.gitignore`; hidden files only when the pattern names them.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct Glob {
    /// For example `*.rs`, `src/**/*.ts`, `{a,b}.json`.
    pattern: String,
    /// The directory to search. Default: the workspace.
    path: Option<String>,
}

impl Tool for Glob {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Names {
    pattern: String,
    path: String,
    num_files: usize,
    filenames: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Glob {
    fn run(self, files: &dyn Files) -> Result<Output> {
        // A pattern can be an absolute path beneath the workspace; then it says itself where to search.
        let absolute = self.pattern.starts_with("/workspace/");
        let base = if absolute { Place::workspace() } else { Place::parse(self.path.as_deref().unwrap_or_default())? };
        let pattern = Pattern::new("pattern", &self.pattern)?;
        let found = search(files, &base, &self.pattern, &pattern)?;
        let (filenames, truncated) = newest_first(files, &found);
        let summary = format!("{} files match {}", found.len(), self.pattern);
        answer::json(&Names { pattern: self.pattern, path: base.to_string(), num_files: found.len(), filenames, truncated }, &summary)
    }
}

fn search(files: &dyn Files, base: &Place, text: &str, pattern: &Pattern) -> Result<Vec<Place>> {
    walk::require_directory(files, base)?;
    let text = text.strip_prefix("/workspace/").unwrap_or(text);
    let mut start = base.clone();
    for name in literal_directories(text).split('/').filter(|name| !name.is_empty() && *name != ".") {
        start = start.join(name);
    }
    match files.stat(&start) {
        Ok(stat) if stat.kind == Kind::Directory => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(reading(&start, error)),
    }
    let mut found: Vec<Place> = Vec::new();
    let options = Options { hidden: pattern.names_hidden(), without: &[] };
    walk::walk(files, &start, &options, &mut |place, kind| {
        if kind == Kind::File && pattern.matches(place.below(base)) {
            found.push(place.clone());
        }
        ControlFlow::Continue(Step::Into)
    })
    .map_err(|error: Error| error.context("glob"))?;
    Ok(found)
}
