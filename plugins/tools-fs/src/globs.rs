//! Glob patterns on relative paths.
//!
//! As in `.gitignore`: `*` and `?` stay within one name, `**` crosses directories, and a pattern without `/` is tried on
//! the name alone, at any depth.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use stellaclaw_sdk::{Error, Result};

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    set: GlobSet,
    hidden: bool,
}

impl Pattern {
    /// Matches exactly what the pattern says.
    ///
    /// # Errors
    ///
    /// `invalid` for a pattern that is none.
    pub(crate) fn new(argument: &str, text: &str) -> Result<Self> {
        Self::build(argument, text, false)
    }

    /// Matches that, and everything below a directory it matches.
    ///
    /// # Errors
    ///
    /// `invalid` for a pattern that is none.
    pub(crate) fn with_below(argument: &str, text: &str) -> Result<Self> {
        Self::build(argument, text, true)
    }

    fn build(argument: &str, text: &str, below: bool) -> Result<Self> {
        let bad = |problem: &dyn std::fmt::Display| Error::invalid(format!("`{argument}` `{text}` is no glob pattern: {problem}"));
        let rest = text.strip_prefix("/workspace/").unwrap_or(text);
        let rest = rest.trim_end_matches('/');
        let anchored = rest.contains('/');
        let rest = rest.trim_start_matches("./").trim_start_matches('/');
        if rest.is_empty() {
            return Err(bad(&"it is empty"));
        }
        if rest.split('/').any(|part| part == "..") {
            return Err(bad(&"`..` is not possible; use `path` to search elsewhere"));
        }
        let exact = if anchored { rest.to_owned() } else { format!("**/{rest}") };
        let mut set = GlobSetBuilder::new();
        let glob = |text: &str| GlobBuilder::new(text).literal_separator(true).build();
        set.add(glob(&exact).map_err(|error| bad(error.kind()))?);
        if below {
            set.add(glob(&format!("{exact}/**")).map_err(|error| bad(error.kind()))?);
        }
        let hidden = rest.split(['/', '{', ',']).any(|part| part.starts_with('.'));
        Ok(Self { set: set.build().map_err(|error| bad(error.kind()))?, hidden })
    }

    /// Does the pattern name something hidden?
    pub(crate) fn names_hidden(&self) -> bool {
        self.hidden
    }

    /// Does it match this relative path?
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }
}

/// The directories at the beginning of a pattern that are no pattern: nothing elsewhere can match.
pub(crate) fn literal_directories(pattern: &str) -> &str {
    let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern[..special].rsplit_once('/').map_or("", |(directories, _)| directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new("pattern", pattern).unwrap().matches(path)
    }

    #[test]
    fn a_pattern_without_a_slash_is_for_names() {
        assert!(matches("*.rs", "a.rs"));
        assert!(matches("*.rs", "src/deep/a.rs"));
        assert!(!matches("*.rs", "src/a.rs/b"));
        assert!(matches("{a,b}.rs", "src/b.rs"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_for_paths() {
        assert!(matches("src/*.rs", "src/a.rs"));
        assert!(!matches("src/*.rs", "src/deep/a.rs"));
        assert!(matches("src/**/*.rs", "src/a.rs"));
        assert!(matches("src/**/*.rs", "src/x/y/a.rs"));
        assert!(matches("./*.rs", "a.rs"));
        assert!(!matches("/*.rs", "src/a.rs"));
        assert!(matches("/workspace/src/*.rs", "src/a.rs"));
    }

    #[test]
    fn directories_stand_for_what_is_below() {
        let pattern = Pattern::with_below("exclude", "gen/").unwrap();
        assert!(pattern.matches("src/gen"));
        assert!(pattern.matches("src/gen/a/b.rs"));
        assert!(!pattern.matches("src/general.rs"));
    }

    #[test]
    fn bad_patterns_are_refused_by_name() {
        for pattern in ["", "/", "a[", "../*.rs"] {
            assert!(Pattern::new("include", pattern).unwrap_err().message.contains("`include`"), "{pattern}");
        }
    }

    #[test]
    fn hidden_names_and_literal_beginnings_are_seen() {
        assert!(Pattern::new("pattern", ".github/**").unwrap().names_hidden());
        assert!(Pattern::new("pattern", "**/.env*").unwrap().names_hidden());
        assert!(!Pattern::new("pattern", "./a.*").unwrap().names_hidden());
        assert_eq!(literal_directories("src/deep/*.rs"), "src/deep");
        assert_eq!(literal_directories("*.rs"), "");
        assert_eq!(literal_directories("src/a.rs"), "src");
    }
}
