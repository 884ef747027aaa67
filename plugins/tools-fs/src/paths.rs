//! The one path view of the file tools.
//!
//! The workspace is the current directory and `/workspace`; `shared` and `mounts/NAME` are directories in it; `/skill` and
//! `/data` are mounts beside it. Results name files relative to the workspace, so a path from one answer can be an
//! argument of the next call. The sandbox would refuse to leave its mounts anyway; here the model is told why.

use std::fmt;

use stellaclaw_sdk::{Error, Result};

use crate::text::cut_bytes;

/// How much of a path an error repeats.
const MAX_SHOWN_PATH_BYTES: usize = 1024;
/// Mounts beside the workspace that are named by their absolute path.
const MOUNTS: [&str; 2] = ["skill", "data"];

/// A normalised path: relative to the workspace (`.` is the workspace itself), or absolute beneath `/skill` or `/data`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(String);

impl Place {
    /// The workspace.
    pub(crate) fn workspace() -> Self {
        Self(".".to_owned())
    }

    /// What the model wrote; empty is the workspace.
    ///
    /// # Errors
    ///
    /// `invalid` for paths outside the mounts.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.contains('\0') {
            return Err(Error::invalid("a path cannot contain a NUL character"));
        }
        let absolute = text.starts_with('/');
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(outside(text));
                    }
                }
                name => parts.push(name),
            }
        }
        if !absolute {
            return Ok(Self::of(&parts));
        }
        match parts.split_first() {
            Some((&"workspace", below)) => Ok(Self::of(below)),
            Some((mount, _)) if MOUNTS.contains(mount) => Ok(Self(format!("/{}", parts.join("/")))),
            _ => Err(outside(text)),
        }
    }

    fn of(parts: &[&str]) -> Self {
        if parts.is_empty() { Self::workspace() } else { Self(parts.join("/")) }
    }

    /// The path as results show it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Is this the workspace itself?
    pub(crate) fn is_workspace(&self) -> bool {
        self.0 == "."
    }

    /// The entry `name` of this directory.
    pub(crate) fn join(&self, name: &str) -> Self {
        if self.is_workspace() {
            return Self(name.to_owned());
        }
        let mut path = String::with_capacity(self.0.len() + 1 + name.len());
        path.push_str(&self.0);
        path.push('/');
        path.push_str(name);
        Self(path)
    }

    /// The directory it is in; none for the workspace and the mounts beside it.
    pub(crate) fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some(("", _)) => None,
            Some((parent, _)) => Some(Self(parent.to_owned())),
            None if self.is_workspace() => None,
            None => Some(Self::workspace()),
        }
    }

    /// The last part.
    pub(crate) fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, name)| name)
    }

    /// The directories above it, outermost first.
    pub(crate) fn ancestors(&self) -> Vec<Self> {
        let mut above: Vec<Self> = std::iter::successors(self.parent(), Self::parent).collect();
        above.reverse();
        above
    }

    /// The path relative to the directory `base` above it.
    pub(crate) fn below<'a>(&'a self, base: &Self) -> &'a str {
        if base.is_workspace() {
            return &self.0;
        }
        self.0.strip_prefix(base.as_str()).map_or(self.as_str(), |rest| rest.trim_start_matches('/'))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The argument of a tool that knows it by two names.
///
/// # Errors
///
/// `invalid` when neither is there, when they differ, or when the path is outside.
pub(crate) fn argument(name: &str, value: Option<&str>, alias: &str, other: Option<&str>) -> Result<Place> {
    match (value, other) {
        (Some(one), Some(two)) if one != two => Err(Error::invalid(format!(
            "`{name}` and `{alias}` are two names of one argument and say different things; give only `{name}`"
        ))),
        (Some(path), _) | (None, Some(path)) if !path.is_empty() => Place::parse(path),
        _ => Err(Error::invalid(format!("`{name}` is missing: give the path of the file, relative to the workspace"))),
    }
}

fn outside(text: &str) -> Error {
    let text = cut_bytes(text, MAX_SHOWN_PATH_BYTES);
    Error::invalid(format!(
        "`{text}` is outside the workspace; give a path relative to the workspace (absolute paths only beneath /workspace, /skill or /data)"
    ))
}

#[cfg(test)]
mod tests {
    use stellaclaw_sdk::ErrorKind;

    use super::*;

    fn shown(text: &str) -> String {
        Place::parse(text).unwrap().to_string()
    }

    #[test]
    fn paths_become_relative_to_the_workspace() {
        assert_eq!(shown(""), ".");
        assert_eq!(shown("./"), ".");
        assert_eq!(shown("/workspace"), ".");
        assert_eq!(shown("/workspace/src//a.rs"), "src/a.rs");
        assert_eq!(shown("./src/../b/"), "b");
        assert_eq!(shown("shared/x"), "shared/x");
        assert_eq!(shown("/skill/a/../b"), "/skill/b");
        assert_eq!(shown("/data"), "/data");
    }

    #[test]
    fn paths_outside_are_refused_with_the_way_out() {
        for text in ["/etc/passwd", "/", "..", "a/../../b", "/workspace/../etc", "/workspacex/a", "/skills/a", "a\0b"] {
            let error = Place::parse(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{text}");
        }
        assert!(Place::parse("/etc/passwd").unwrap_err().message.contains("relative to the workspace"));
    }

    #[test]
    fn parents_names_and_rests() {
        let place = Place::parse("a/b/c").unwrap();
        assert_eq!(place.ancestors().iter().map(Place::as_str).collect::<Vec<_>>(), [".", "a", "a/b"]);
        assert_eq!(place.name(), "c");
        assert_eq!(place.below(&Place::parse("a").unwrap()), "b/c");
        assert_eq!(place.below(&Place::workspace()), "a/b/c");
        assert_eq!(Place::parse("/skill/x").unwrap().parent().unwrap().as_str(), "/skill");
        assert_eq!(Place::parse("/skill").unwrap().parent(), None);
        assert_eq!(Place::workspace().join("x").as_str(), "x");
    }

    #[test]
    fn an_argument_has_two_names_and_one_value() {
        assert_eq!(argument("file_path", None, "path", Some("a")).unwrap().as_str(), "a");
        assert_eq!(argument("file_path", Some("a"), "path", Some("a")).unwrap().as_str(), "a");
        assert!(argument("file_path", Some("a"), "path", Some("b")).is_err());
        assert!(argument("file_path", None, "path", None).unwrap_err().message.contains("`file_path` is missing"));
    }
}
