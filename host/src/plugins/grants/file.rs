//! `grants.toml`: what `stellaclaw plugin grant` was told, per source and name, each for the bytes of one SHA-256.
//!
//! Only that verb and `plugin revoke` write it, whole and durably. Everything in it is checked when it is read; a file with
//! anything wrong in it grants nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{self, FsGrant, SecretGrant, SecretSource, is_host_of, is_name, parse_origin};
use crate::files::durable;
use crate::plugins::registry::is_digest;
use crate::plugins::status::Source;
use crate::{files, limits};

const HEADER: &str = "# Written by `stellaclaw plugin grant` and `stellaclaw plugin revoke`. What you want to write yourself belongs\n\
                      # into the configuration, [plugins.NAME].\n\n";

/// Why `grants.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}; remove it, and grant again with `stellaclaw plugin grant`", path = path.display())]
pub struct GrantsError {
    path: PathBuf,
    reason: String,
    /// The file itself may be right.
    may_pass: bool,
}

impl GrantsError {
    /// Was the file not even read, so that another look may find it in order?
    pub(in crate::plugins) fn may_pass(&self) -> bool {
        self.may_pass
    }
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::plugins) struct GrantsFile {
    #[serde(default)]
    grants: Vec<Granted>,
}

/// What was granted to one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::plugins) struct Granted {
    pub source: Source,
    pub name: String,
    pub sha256: String,
    #[serde(default)]
    pub fs: Vec<String>,
    #[serde(default)]
    pub http: Vec<String>,
    /// Hosts in `http` that may lie in a private network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sign: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Place>,
}

/// Where a secret is kept. It may go where the manifest of these bytes says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::plugins) enum Place {
    Env(String),
    File(PathBuf),
}

impl GrantsFile {
    /// Reads the file; one that is not there grants nothing.
    pub fn load(path: &Path) -> Result<Self, GrantsError> {
        let wrong = |reason: String| GrantsError { path: path.to_owned(), reason, may_pass: false };
        let text = match files::text(path, limits::GRANTS_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| GrantsError {
                may_pass: error.kind() != io::ErrorKind::InvalidData,
                ..wrong(format!("it cannot be read: {error}"))
            })?,
        };
        let file: Self = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        file.grants.iter().try_for_each(|granted| granted.check().map_err(|reason| wrong(format!("{}: {reason}", granted.name))))?;
        Ok(file)
    }

    /// Puts `new` in the place of `old`, if that still stands in the file at `path`. Whoever else does the same waits.
    pub fn replace(path: &Path, (source, name): (Source, &str), old: Option<&Granted>, new: Option<Granted>) -> Result<(), GrantsError> {
        let wrong = |reason: String| GrantsError { path: path.to_owned(), reason, may_pass: false };
        let failed = |error: io::Error| wrong(format!("it cannot be written: {error}"));
        let folder = File::open(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        folder.lock().map_err(failed)?;
        let mut file = Self::load(path)?;
        if file.get(source, name) != old {
            return Err(wrong(format!("the grants of {name} have changed in the meantime and were left alone")));
        }
        file.grants.retain(|granted| (granted.source, granted.name.as_str()) != (source, name));
        file.grants.extend(new);
        file.grants.sort_by(|one, two| (one.source, &one.name).cmp(&(two.source, &two.name)));
        let text = toml::to_string(&file).map_err(|error| wrong(error.to_string()))?;
        durable::replace(path, format!("{HEADER}{text}").as_bytes()).map_err(failed)
    }

    /// What was granted to the plugin `name` from `source`, and from nowhere else.
    pub fn get(&self, source: Source, name: &str) -> Option<&Granted> {
        self.grants.iter().find(|granted| granted.source == source && granted.name == name)
    }

    /// The bytes that something is granted to.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().map(|granted| granted.sha256.as_str())
    }

    /// Every secret that is granted.
    pub fn secret_sources(&self) -> impl Iterator<Item = SecretSource> {
        self.grants.iter().flat_map(|granted| granted.secrets.values()).map(Place::source)
    }

    /// Everything that is granted, with the place that it is from.
    pub fn iter(&self) -> impl Iterator<Item = &Granted> {
        self.grants.iter()
    }
}

impl Granted {
    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err("it is no name of a plugin".to_owned());
        }
        if self.source == Source::Bundled {
            return Err("a bundled plugin has what it asks for".to_owned());
        }
        if !is_digest(&self.sha256) {
            return Err("its `sha256` is not 64 digits, 0-9 and a-f".to_owned());
        }
        self.fs.iter().try_for_each(|grant| grant.parse::<FsGrant>().map(drop)).map_err(|error| error.to_string())?;
        if let Some(origin) = self.http.iter().find(|origin| parse_origin(origin).is_none()) {
            return Err(format!("{origin:?} is no origin"));
        }
        match self.private.iter().find(|host| !self.http.iter().any(|origin| is_host_of(host, origin))) {
            Some(host) => Err(format!("{host:?} in `private` is the host of no origin in `http`")),
            None => Ok(()),
        }
    }

    /// Does it allow all that `other` does?
    pub fn covers(&self, other: &Self) -> bool {
        let has = |of: fn(&Self) -> &Vec<String>| of(other).iter().all(|one| of(self).contains(one));
        let secrets = other.secrets.iter().all(|(slot, place)| self.secrets.get(slot) == Some(place));
        secrets && has(|one| &one.fs) && has(|one| &one.http) && has(|one| &one.private) && has(|one| &one.sign)
    }

    /// As an entry of the configuration.
    pub fn to_plugin(&self) -> config::Plugin {
        let secret = |place: &Place| SecretGrant { source: place.source(), origins: Vec::new() };
        config::Plugin {
            sha256: Some(self.sha256.clone()),
            fs: Some(self.fs.iter().filter_map(|grant| grant.parse().ok()).collect()),
            http: Some(self.http.clone()),
            private: self.private.clone(),
            secrets: self.secrets.iter().map(|(slot, place)| (slot.clone(), secret(place))).collect(),
            sign: self.sign.clone(),
            ..config::Plugin::default()
        }
    }
}

impl Place {
    fn source(&self) -> SecretSource {
        match self {
            Self::Env(name) => SecretSource::Env(name.clone()),
            Self::File(path) => SecretSource::File(path.clone()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn granted(source: Source, name: &str, digit: &str) -> Granted {
        Granted {
            source,
            name: name.into(),
            sha256: digit.repeat(64),
            fs: vec!["workspace:ro".into()],
            http: vec!["https://api.example.com".into()],
            private: vec!["api.example.com".into()],
            sign: vec!["key".into()],
            secrets: [("key".to_owned(), Place::Env("KEY".into())), ("other".to_owned(), Place::File("/k".into()))].into(),
        }
    }

    #[test]
    fn what_is_granted_is_read_back_for_its_source_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grants.toml");
        assert_eq!(GrantsFile::load(&path).unwrap(), GrantsFile::default());
        let one = granted(Source::DroppedIn, "weather", "a");
        GrantsFile::replace(&path, (Source::DroppedIn, "weather"), None, Some(one.clone())).unwrap();
        let file = GrantsFile::load(&path).unwrap();
        assert_eq!(file.get(Source::DroppedIn, "weather"), Some(&one));
        assert_eq!(file.get(Source::Configured, "weather"), None);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        insta::assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
        # Written by `stellaclaw plugin grant` and `stellaclaw plugin revoke`. What you want to write yourself belongs
        # into the configuration, [plugins.NAME].

        [[grants]]
        source = "dropped_in"
        name = "weather"
        sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        fs = ["workspace:ro"]
        http = ["https://api.example.com"]
        private = ["api.example.com"]
        sign = ["key"]

        [grants.secrets.key]
        env = "KEY"

        [grants.secrets.other]
        file = "/k"
        "#);
        let entry = one.to_plugin();
        assert_eq!((entry.sha256, entry.fs.unwrap()[0].to_string()), (Some("a".repeat(64)), "workspace:ro".to_owned()));

        let other = granted(Source::DroppedIn, "weather", "b");
        let stale = GrantsFile::replace(&path, (Source::DroppedIn, "weather"), None, Some(other.clone())).unwrap_err();
        assert!(stale.to_string().contains("have changed in the meantime"), "{stale}");
        GrantsFile::replace(&path, (Source::DroppedIn, "weather"), Some(&one), Some(other)).unwrap();
        assert_eq!(GrantsFile::load(&path).unwrap().digests().collect::<Vec<_>>(), ["b".repeat(64)]);
    }

    #[test]
    fn a_file_with_anything_wrong_in_it_grants_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grants.toml");
        let entry = |text: &str| format!("[[grants]]\nsource = \"dropped_in\"\nname = \"a\"\nsha256 = \"{}\"\n{text}", "a".repeat(64));
        for (text, reason) in [
            (entry("fs = [\"/etc:ro\"]"), "is not a file grant"),
            (entry("http = [\"nonsense\"]"), "is no origin"),
            (entry("private = [\"a.example\"]"), "the host of no origin"),
            (entry("everything = true"), "unknown field"),
            (entry("").replace("\"a\"", "\"../a\""), "no name of a plugin"),
            (entry("").replace("aaaa", "xxxx"), "64 digits"),
            (entry("").replace("dropped_in", "bundled"), "has what it asks for"),
        ] {
            fs::write(&path, text).unwrap();
            let refused = GrantsFile::load(&path).unwrap_err().to_string();
            assert!(refused.contains(reason) && refused.contains("stellaclaw plugin grant"), "{refused}");
        }
    }
}
