//! Walks directories as ripgrep does: `.gitignore` rules count, hidden entries are skipped, links are not followed.
//!
//! A walk costs one listing per directory: kinds come with the entries, and rules are read only where the listing shows
//! a `.gitignore`. It goes breadth first, so that a walk that is cut short has seen the upper levels.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::ControlFlow;
use std::rc::Rc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use stellaclaw_sdk::{Error, Result};

use crate::files::{Entry, Files, Kind};
use crate::paths::Place;
use crate::read::reading;
use crate::text::BOM;

#[cfg(test)]
mod tests;

const RULES: &str = ".gitignore";
const REPOSITORY: &str = ".git";
/// A longer file of rules is cut: it has to fit into memory with everything made of it.
const MAX_RULES_BYTES: u64 = 512 * 1024;

/// What a walk leaves out.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Visit hidden entries, except `.git`.
    pub(crate) hidden: bool,
    /// Directories left out by their name.
    pub(crate) without: &'static [&'static str],
}

/// What to do with a directory that was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Into,
    Over,
}

/// Is told of every entry.
pub(crate) type Visit<'a> = dyn FnMut(&Place, Kind) -> ControlFlow<(), Step> + 'a;

/// Rules of one directory, for everything below it.
struct Rules {
    directory: Place,
    matcher: Gitignore,
    above: Option<Rc<Rules>>,
}

/// A directory that waits for its turn.
struct Pending {
    place: Place,
    rules: Option<Rc<Rules>>,
}

/// Visits everything below `base` that is not left out, breadth first and by name within a directory.
///
/// Directories that cannot be read are passed over, except `base` itself.
///
/// # Errors
///
/// When `base` cannot be read.
pub(crate) fn walk(files: &dyn Files, base: &Place, options: &Options, visit: &mut Visit<'_>) -> Result<()> {
    let mut pending = VecDeque::from([Pending { place: base.clone(), rules: rules_above(files, base) }]);
    while let Some(directory) = pending.pop_front() {
        let mut entries = match files.list(&directory.place) {
            Ok(entries) => entries,
            Err(error) if directory.place == *base => return Err(reading(base, error)),
            Err(_) => continue,
        };
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let rules = rules_here(files, &directory, &entries);
        for Entry { name, kind } in entries {
            let is_directory = kind == Kind::Directory;
            if (name.starts_with('.') && (!options.hidden || name == REPOSITORY))
                || (is_directory && options.without.contains(&name.as_str()))
            {
                continue;
            }
            let place = directory.place.join(&name);
            let mount = is_directory && is_mount(&place);
            if !mount && ignored(rules.as_ref(), &place, is_directory) {
                continue;
            }
            match visit(&place, kind) {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(Step::Into) if is_directory => {
                    // What is mounted is no part of the workspace's repository.
                    pending.push_back(Pending { place, rules: if mount { None } else { rules.clone() } });
                }
                ControlFlow::Continue(_) => {}
            }
        }
    }
    Ok(())
}

/// Refuses a base that is no directory, with a better message than a listing gives.
///
/// # Errors
///
/// `not-found`, `invalid`.
pub(crate) fn require_directory(files: &dyn Files, base: &Place) -> Result<()> {
    let stat = files.stat(base).map_err(|error| reading(base, error))?;
    if stat.kind == Kind::Directory { Ok(()) } else { Err(Error::invalid(format!("{base} is a file; `path` must be a directory"))) }
}

/// Directories of the workspace that the host replaces by others.
fn is_mount(place: &Place) -> bool {
    let path = place.as_str();
    path == "shared" || path == "mounts" || path.strip_prefix("mounts/").is_some_and(|name| !name.contains('/'))
}

/// The rules of the directories above `base`.
fn rules_above(files: &dyn Files, base: &Place) -> Option<Rc<Rules>> {
    if is_mount(base) {
        return None;
    }
    let mut rules = None;
    for place in base.ancestors() {
        if is_mount(&place) || files.stat(&place.join(REPOSITORY)).is_ok() {
            rules = None;
        }
        let is_file = files.stat(&place.join(RULES)).is_ok_and(|stat| stat.kind == Kind::File);
        if is_file && let Some(matcher) = read_rules(files, &place.join(RULES)) {
            rules = Some(Rc::new(Rules { directory: place, matcher, above: rules }));
        }
    }
    rules
}

/// The rules for the entries of a directory: its own before those above. A repository in it has nothing to do with the
/// rules of the one around it.
fn rules_here(files: &dyn Files, directory: &Pending, entries: &[Entry]) -> Option<Rc<Rules>> {
    let find = |name: &str| entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok().map(|at| entries[at].kind);
    let above = if find(REPOSITORY).is_some() { None } else { directory.rules.clone() };
    if find(RULES) == Some(Kind::File)
        && let Some(matcher) = read_rules(files, &directory.place.join(RULES))
    {
        return Some(Rc::new(Rules { directory: directory.place.clone(), matcher, above }));
    }
    above
}

/// Lines that are no rules are passed over, as git does; so is a file that cannot be read.
fn read_rules(files: &dyn Files, place: &Place) -> Option<Gitignore> {
    let mut bytes = Vec::new();
    files.open(place).ok()?.take(MAX_RULES_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut builder = GitignoreBuilder::new("");
    for line in text.trim_start_matches(BOM).lines() {
        // An error is a line that is no rule.
        let _ = builder.add_line(None, line);
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}

/// The innermost rule that says anything decides.
fn ignored(rules: Option<&Rc<Rules>>, place: &Place, is_directory: bool) -> bool {
    let mut level = rules;
    while let Some(rules) = level {
        match rules.matcher.matched(place.below(&rules.directory), is_directory) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => level = rules.above.as_ref(),
        }
    }
    false
}
