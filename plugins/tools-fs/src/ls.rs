//! `ls`: a directory as an indented tree.

use std::ops::ControlFlow;

use stellaclaw_sdk::serde::Deserialize;
use stellaclaw_sdk::{Batching, Call, Output, Replay, Result, Tool, schemars};

use crate::answer;
use crate::files::{Files, Kind, Local};
use crate::paths::Place;
use crate::walk::{self, Options, Step};

#[cfg(test)]
mod tests;

const MAX_ENTRIES: usize = 1000;
/// Directories with what tools made, which would bury the rest.
const WITHOUT: &[&str] = &["__pycache__", "node_modules", "target", "dist", "build", "coverage", "venv"];

/// Lists a directory and everything below it as an indented tree (`/` marks directories, `@` links). Leaves out hidden
/// entries, what `.gitignore` names, and build directories such as `target` and `node_modules`. At most 1000 entries.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
pub(crate) struct Ls {
    /// The directory. Default: the workspace.
    path: Option<String>,
}

impl Tool for Ls {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        self.run(&Local::sandbox())
    }
}

impl Ls {
    fn run(self, files: &dyn Files) -> Result<Output> {
        let base = Place::parse(self.path.as_deref().unwrap_or_default())?;
        walk::require_directory(files, &base)?;
        let mut entries: Vec<(Place, Kind)> = Vec::new();
        let mut more = false;
        let options = Options { hidden: false, without: WITHOUT };
        walk::walk(files, &base, &options, &mut |place, kind| {
            if entries.len() == MAX_ENTRIES {
                more = true;
                return ControlFlow::Break(());
            }
            entries.push((place.clone(), kind));
            ControlFlow::Continue(Step::Into)
        })?;
        let summary = format!("{base}: {}{} entries", entries.len(), if more { "+" } else { "" });
        Ok(answer::text(tree(&base, &mut entries, more), &summary))
    }
}

fn tree(base: &Place, entries: &mut [(Place, Kind)], more: bool) -> String {
    // Part by part: `a/b` belongs below `a`, before `a.txt`.
    entries.sort_by(|(one, _), (other, _)| one.as_str().split('/').cmp(other.as_str().split('/')));
    let mut text = format!("num_entries: {}", entries.len());
    if more {
        text.push_str(" (there are more; the upper levels come first. Name a directory in `path` to see the rest of it)");
    }
    text.push_str(&format!("\n{base}/"));
    for (place, kind) in entries.iter() {
        let depth = place.below(base).matches('/').count() + 1;
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
        text.push_str(place.name());
        text.push_str(match kind {
            Kind::Directory => "/",
            Kind::Link => "@",
            Kind::File | Kind::Other => "",
        });
    }
    text
}
