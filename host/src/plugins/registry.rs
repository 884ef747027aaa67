//! Where components come from, and what their files say.
//!
//! Bundled ones are part of the program; configured ones are `[plugins.NAME] path = …`; dropped-in ones are `NAME.wasm` in
//! one of `plugin_dirs`, with an optional `NAME.toml` of settings. A file is read once for as long as it looks the same, and
//! only while it looks as it did when it was listed: what changes while it is read is read again later. Nothing here decides
//! what a component may do, only which bytes are meant.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::accepted::Accepted;
use super::link::guarded;
use super::manifest::{self, Surface};
use super::schema::cut;
use super::settle::{Listing, Stamp};
use super::status::Source;
use crate::config::{Config, is_name};
use crate::files::{self, FileError};
use crate::limits;

/// A component that was found.
pub(super) struct Found {
    pub name: String,
    pub source: Source,
    pub path: Option<PathBuf>,
    /// The settings beside a dropped-in file, or what is wrong with them.
    pub beside: Result<Option<Value>, String>,
    pub component: Result<Component, String>,
}

/// What bytes are, without them.
#[derive(Debug, Clone)]
pub(super) struct Component {
    pub digest: String,
    /// Or why they are no plugin.
    pub surface: Result<Arc<Surface>, String>,
}

/// The bytes of a component, and what they are called.
#[derive(Debug)]
pub(super) struct Bytes {
    pub wasm: Cow<'static, [u8]>,
    pub digest: String,
}

/// Why a file is not served. Each names the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error("{action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path}: the name of the file is the plugin's name; rename it to a-z, 0-9, `-` and `_`, at most 64 of them, and `.wasm`", path = .0.display())]
    Name(PathBuf),
    #[error("{path}: not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    #[error("{path}: it is being written", path = .0.display())]
    BeingWritten(PathBuf),
    #[error("{path}: a component has at most {most} MiB", path = .0.display(), most = limits::COMPONENT_BYTES >> 20)]
    TooLarge(PathBuf),
    #[error("{path}: {reason}; only a [settings] table belongs there, grants belong in the configuration", path = path.display())]
    Settings { path: PathBuf, reason: String },
}

impl RegistryError {
    /// Is it so until the file changes? A link that leads nowhere, or a file that nobody may read.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied),
            _ => true,
        }
    }
}

/// The places where components are.
#[derive(Debug, Clone)]
pub(super) struct Shelves {
    /// Plugin directories, in their order.
    pub dirs: Vec<PathBuf>,
    /// Configured components by name.
    pub configured: Vec<(String, PathBuf)>,
    /// Beside them, and looked at apart: who takes something back does not wait for a file of somebody else.
    pub grants: PathBuf,
}

impl Shelves {
    pub fn new(config: &Config, workdir: &Path) -> Self {
        Self {
            dirs: config.plugin_dirs.iter().map(|dir| workdir.join(dir)).collect(),
            configured: configured(config),
            grants: workdir.join("grants.toml"),
        }
    }

    /// The components of another configuration; the directories stay.
    pub fn reconfigure(&mut self, config: &Config) {
        self.configured = configured(config);
    }

    /// The files that there are, and what is wrong with their places. A directory that cannot be read has the files of
    /// `before`.
    pub fn list(&self, before: &Listing) -> (Listing, Vec<String>) {
        let mut problems = Vec::new();
        let mut listing = Listing::new();
        let mut paths: Vec<_> = self.configured.iter().map(|(_, path)| path.clone()).collect();
        for dir in &self.dirs {
            match components_in(dir) {
                Ok(components) => {
                    if let Some(left_out @ 1..) = components.len().checked_sub(limits::PLUGIN_FILES) {
                        let most = limits::PLUGIN_FILES;
                        problems.push(format!("{} has more than {most} components; {left_out} are left out", dir.display()));
                    }
                    let components = components.into_iter().take(limits::PLUGIN_FILES);
                    paths.extend(components.flat_map(|path| [path.with_extension("toml"), path]));
                }
                Err(error) => {
                    problems.push(format!("{error}; the plugins in there stay as they were"));
                    let same = before.iter().filter(|(path, _)| path.parent() == Some(dir));
                    listing.extend(same.map(|(path, stamp)| (path.clone(), *stamp)));
                }
            }
        }
        listing.extend(paths.into_iter().filter_map(|path| stamp(&path).map(|stamp| (path, stamp))));
        (listing, problems)
    }
}

fn configured(config: &Config) -> Vec<(String, PathBuf)> {
    config.plugins.iter().filter_map(|(name, entry)| Some((name.clone(), entry.path.clone()?))).collect()
}

/// How the file at `path` looks now; none: there is no such file. A link that leads nowhere is there, too.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).ok().map(|found| Stamp::from(&found))
}

fn components_in(dir: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |source| RegistryError::Io { action: "read the plugin directory", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    paths.sort();
    Ok(paths)
}

/// What was read, by file.
#[derive(Default)]
pub(super) struct Library {
    bundled: Vec<(&'static str, Component)>,
    components: HashMap<PathBuf, (Stamp, Result<Component, String>)>,
    besides: HashMap<PathBuf, (Stamp, Result<Option<Value>, String>)>,
    /// Accepted bytes that are not those of a file, by digest.
    kept: HashMap<String, Component>,
    /// Something could not be read, or changed while it was: look again.
    pub again: bool,
}

impl Library {
    pub fn new(bundled: bool) -> Self {
        let bundled = if bundled { super::bundled::BUNDLED } else { &[] };
        Self { bundled: bundled.iter().map(|(name, wasm)| (*name, component(wasm))).collect(), ..Self::default() }
    }

    /// Everything there is, in the order in which names are given away: bundled, configured, dropped in; by name.
    pub fn find(&mut self, shelves: &Shelves, listing: &Listing) -> Vec<Found> {
        self.again = false;
        self.components.retain(|path, _| listing.contains_key(path));
        self.besides.retain(|path, _| listing.contains_key(path));
        let bundled = self.bundled.iter().map(|(name, component)| Found {
            name: (*name).to_owned(),
            source: Source::Bundled,
            path: None,
            beside: Ok(None),
            component: Ok(component.clone()),
        });
        let mut found: Vec<_> = bundled.collect();
        for (name, path) in &shelves.configured {
            let (source, name) = (Source::Configured, name.clone());
            found.push(Found { name, source, beside: Ok(None), component: self.component(path, listing), path: Some(path.clone()) });
        }
        for dir in &shelves.dirs {
            let is_component =
                |path: &&PathBuf| path.parent() == Some(dir) && path.extension().is_some_and(|extension| extension == "wasm");
            // A configured one may stand there, too.
            let is_new = |path: &&PathBuf| !shelves.configured.iter().any(|(_, configured)| configured == *path);
            let paths: Vec<_> = listing.keys().filter(is_component).filter(is_new).cloned().collect();
            found.extend(paths.into_iter().map(|path| self.dropped_in(path, listing)));
        }
        found
    }

    /// The component kept under `digest`.
    pub fn kept(&mut self, accepted: &Accepted, digest: &str) -> Option<Component> {
        if let Some(known) = self.kept.get(digest) {
            return Some(known.clone());
        }
        match accepted.look(digest) {
            Ok(bytes) => {
                let component = component(&bytes?.wasm);
                self.kept.insert(digest.to_owned(), component.clone());
                Some(component)
            }
            Err(error) => {
                tracing::debug!(%error, "an accepted component cannot be read now");
                self.again = true;
                None
            }
        }
    }

    /// Keeps the component at `path`. What fails here may pass.
    pub fn keep(&mut self, accepted: &Accepted, path: &Path, component: &Component) -> Result<(), String> {
        if self.kept.contains_key(&component.digest) {
            return Ok(());
        }
        let kept = read(path).and_then(|bytes| {
            let is_it = bytes.digest == component.digest;
            if is_it { accepted.keep(&bytes) } else { Err(RegistryError::BeingWritten(path.to_owned())) }
        });
        self.again |= kept.is_err();
        kept.map_err(|error| error.to_string())?;
        self.kept.insert(component.digest.clone(), component.clone());
        Ok(())
    }

    /// Forgets what was kept but for these digests.
    pub fn keep_only(&mut self, wanted: impl Fn(&str) -> bool) {
        self.kept.retain(|digest, _| wanted(digest));
    }

    fn dropped_in(&mut self, path: PathBuf, listing: &Listing) -> Found {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (beside, component) = if is_name(&name) {
            (self.beside(&path.with_extension("toml"), listing), self.component(&path, listing))
        } else {
            (Ok(None), Err(RegistryError::Name(path.clone()).to_string()))
        };
        Found { name, source: Source::DroppedIn, path: Some(path), beside, component }
    }

    fn component(&mut self, path: &Path, listing: &Listing) -> Result<Component, String> {
        let look = |mut file: File| {
            let bytes = read_whole(path, &mut file)?;
            Ok(component(&bytes))
        };
        match listing.get(path) {
            Some(stamp) => cached(&mut self.components, &mut self.again, path, *stamp, look),
            None => open(path).map_err(|error| error.to_string()).and_then(|_| {
                self.again = true;
                Err(RegistryError::BeingWritten(path.to_owned()).to_string())
            }),
        }
    }

    fn beside(&mut self, path: &Path, listing: &Listing) -> Result<Option<Value>, String> {
        let look = |file: File| settings(path, file).map(Some);
        listing.get(path).map_or(Ok(None), |stamp| cached(&mut self.besides, &mut self.again, path, *stamp, look))
    }
}

/// What `look` says of the file at `path`, as long as it is as it was listed. In the meantime it is what it was before.
fn cached<T: Clone>(
    known: &mut HashMap<PathBuf, (Stamp, Result<T, String>)>,
    again: &mut bool,
    path: &Path,
    stamp: Stamp,
    look: impl FnOnce(File) -> Result<T, RegistryError>,
) -> Result<T, String> {
    let before = match known.get(path) {
        Some((at, result)) if *at == stamp => return result.clone(),
        other => other.map(|(_, result)| result.clone()),
    };
    let is_same = || self::stamp(path) == Some(stamp);
    let opened = open(path).and_then(|file| if is_same() { look(file) } else { Err(RegistryError::BeingWritten(path.to_owned())) });
    // What is said of a file that is not the one that was listed is not said of that one.
    let looked = if is_same() { opened } else { Err(RegistryError::BeingWritten(path.to_owned())) };
    match looked {
        Err(error @ RegistryError::BeingWritten(_)) => {
            *again = true;
            before.unwrap_or(Err(error.to_string()))
        }
        // It may be readable at the next look.
        Err(error @ RegistryError::Io { .. }) if !error.is_lasting() => {
            *again = true;
            Err(error.to_string())
        }
        looked => {
            let result = looked.map_err(|error| error.to_string());
            known.insert(path.to_owned(), (stamp, result.clone()));
            result
        }
    }
}

pub(super) fn component(wasm: &[u8]) -> Component {
    let surface = guarded("it cannot be read: the parser failed", || manifest::read(wasm).map_err(|error| error.to_string()));
    Component { digest: digest(wasm), surface: surface.map(Arc::new) }
}

/// `NAME.toml`: settings only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    #[serde(default)]
    settings: Value,
}

fn settings(path: &Path, mut file: File) -> Result<Value, RegistryError> {
    let wrong = |reason| RegistryError::Settings { path: path.to_owned(), reason };
    let bytes = files::rest(&mut file, limits::BESIDE_BYTES).map_err(|error| match error {
        FileError::TooLarge(_) => wrong(error.to_string()),
        other => failed(path, other),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    beside(&text).map_err(wrong)
}

/// The settings in the text of a `NAME.toml`.
pub(super) fn beside(text: &str) -> Result<Value, String> {
    toml::from_str::<Beside>(text).map(|beside| beside.settings).map_err(|error| cut(error.message()))
}

fn open(path: &Path) -> Result<File, RegistryError> {
    files::open(path).map_err(|error| failed(path, error))
}

/// Reads a component file whole, if it is a file and small enough.
pub(super) fn read(path: &Path) -> Result<Bytes, RegistryError> {
    let wasm = read_whole(path, &mut open(path)?)?;
    Ok(Bytes { digest: digest(&wasm), wasm: Cow::Owned(wasm) })
}

fn read_whole(path: &Path, file: &mut File) -> Result<Vec<u8>, RegistryError> {
    files::rest(file, limits::COMPONENT_BYTES).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: FileError) -> RegistryError {
    match error {
        FileError::Io(source) => RegistryError::Io { action: "read", path: path.to_owned(), source },
        FileError::NotAFile => RegistryError::NotAFile(path.to_owned()),
        FileError::TooLarge(_) => RegistryError::TooLarge(path.to_owned()),
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Is it what [`digest`] writes?
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in one directory.
    fn found_in(dir: &Path) -> Vec<Found> {
        let shelves = Shelves { dirs: vec![dir.to_owned()], configured: Vec::new(), grants: dir.join("none") };
        Library::new(false).find(&shelves, &shelves.list(&Listing::new()).0)
    }

    #[test]
    fn dropped_in_files_are_found_with_their_settings_and_refused_with_grants() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("b.wasm", "bytes");
        write("b.toml", "[settings]\ndepth = 3");
        write("a.wasm", "bytes");
        write("a.toml", "fs = [\"workspace:rw\"]");
        write("readme.md", "");
        fs::create_dir(dir.path().join("c.wasm")).unwrap();
        let found = found_in(dir.path());
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let refusal = found[0].beside.as_ref().unwrap_err();
        assert!(refusal.contains("a.toml: unknown field `fs`") && refusal.contains("grants belong in the configuration"));
        assert_eq!(found[1].beside, Ok(Some(serde_json::json!({"depth": 3}))));
        assert_eq!(found[1].component.as_ref().unwrap().digest, digest(b"bytes"));
        assert!(found[2].component.as_ref().unwrap_err().ends_with("c.wasm: not a regular file"));
        assert!(found_in(&dir.path().join("missing")).is_empty());
    }

    #[test]
    fn a_file_whose_name_is_no_plugin_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(65);
        for name in ["..", ".", "...", "A", "a b", "a.b", "é", &long] {
            fs::write(dir.path().join(format!("{name}.wasm")), "bytes").unwrap();
        }
        let found = found_in(dir.path());
        assert_eq!(found.len(), 8);
        for found in found {
            let refusal = found.component.unwrap_err();
            assert!(refusal.contains("the name of the file is the plugin's name"), "{}: {refusal}", found.name);
        }
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.wasm"), "bytes").unwrap();
        fs::write(dir.path().join("b.wasm"), "bytes").unwrap();
        fs::write(dir.path().join("b.toml"), " ".repeat(1 << 20)).unwrap();
        for pipe in ["a.toml", "c.wasm"] {
            rustix::fs::mknodat(rustix::fs::CWD, dir.path().join(pipe), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }
        let found = found_in(dir.path());
        assert!(found[0].beside.as_ref().unwrap_err().ends_with("a.toml: not a regular file"));
        assert!(found[1].beside.as_ref().unwrap_err().contains("b.toml: it has over 262144 bytes"));
        assert!(found[2].component.as_ref().unwrap_err().ends_with("c.wasm: not a regular file"));
    }

    #[test]
    fn a_plugin_directory_that_cannot_be_read_keeps_what_it_had() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let config = Config { plugin_dirs: vec!["file".into()], ..Config::embedded(false) };
        let shelves = Shelves::new(&config, dir.path());
        let (listing, problems) = shelves.list(&Listing::new());
        assert!(listing.is_empty() && problems[0].contains("read the plugin directory"), "{problems:?}");
        let before: Listing = [(dir.path().join("file/a.wasm"), Stamp::default()), (dir.path().join("b.wasm"), Stamp::default())].into();
        assert_eq!(shelves.list(&before).0.keys().collect::<Vec<_>>(), [&dir.path().join("file/a.wasm")]);
    }

    #[test]
    fn what_is_said_of_a_link_that_leads_nowhere_stands_until_it_leads_somewhere() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("a.wasm"), dir.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let shelves = Shelves { dirs: vec![dir.path().to_owned()], configured: Vec::new(), grants: dir.path().join("none") };
        let mut library = Library::new(false);
        let (nowhere, _) = shelves.list(&Listing::new());
        for _ in 0..2 {
            let refusal = library.find(&shelves, &nowhere)[0].component.clone().unwrap_err();
            assert!(refusal.contains("a.wasm"), "{refusal}");
            assert!(!library.again, "looking again would say the same");
        }
        assert_eq!(library.components.len(), 1, "it is not even looked at again");
        fs::write(&target, "bytes").unwrap();
        let (somewhere, _) = shelves.list(&nowhere);
        assert_ne!(somewhere, nowhere);
        assert_eq!(library.find(&shelves, &somewhere)[0].component.as_ref().unwrap().digest, digest(b"bytes"));
        // It goes, and this is not known yet: what was known is.
        fs::remove_file(&target).unwrap();
        assert_eq!(
            library.find(&shelves, &Listing::from([(link.clone(), Stamp::default())]))[0].component.as_ref().unwrap().digest,
            digest(b"bytes")
        );
        assert!(library.again);
    }

    #[test]
    fn kept_bytes_that_were_missed_once_are_looked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(dir.path().to_owned());
        let (digest, path) = (digest(b"bytes"), dir.path().join(format!("{}.wasm", digest(b"bytes"))));
        let mut library = Library::new(false);
        assert!(library.kept(&accepted, &digest).is_none() && !library.again, "they are not there");
        // As good as any error of the system.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(accepted.look(&digest).is_err());
        assert!(library.kept(&accepted, &digest).is_none() && library.again, "nobody knows");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "others").unwrap();
        assert!(accepted.look(&digest).unwrap().is_none());
        fs::write(&path, "bytes").unwrap();
        assert_eq!(library.kept(&accepted, &digest).unwrap().digest, digest);
        fs::remove_file(&path).unwrap();
        assert!(library.kept(&accepted, &digest).is_some(), "what is known of bytes does not change");
        library.keep_only(|_| false);
        assert!(library.kept(&accepted, &digest).is_none());
    }

    #[test]
    fn what_could_not_be_kept_is_kept_later() {
        let dir = tempfile::tempdir().unwrap();
        let (path, components) = (dir.path().join("a.wasm"), dir.path().join("components"));
        fs::write(&path, "bytes").unwrap();
        let (mut library, accepted) = (Library::new(false), Accepted::new(components.clone()));
        let found = component(b"bytes");
        library.keep(&accepted, &path, &found).unwrap_err();
        assert!(std::mem::take(&mut library.again), "there may be room for it later");
        fs::create_dir(&components).unwrap();
        library.keep(&accepted, &path, &found).unwrap();
        fs::write(&path, "others").unwrap();
        library.keep(&accepted, &path, &found).unwrap();
        assert!(!library.again && accepted.get(&found.digest).is_some());
        assert!(library.keep(&accepted, &path, &component(b"more")).unwrap_err().ends_with("it is being written"));
        assert!(library.again);
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.wasm");
        File::create(&path).unwrap().set_len(limits::COMPONENT_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(RegistryError::TooLarge(_))));
    }

    #[test]
    fn a_file_that_is_not_as_it_was_listed_is_what_it_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let shelves = Shelves { dirs: vec![dir.path().to_owned()], configured: Vec::new(), grants: dir.path().join("none") };
        let mut library = Library::new(false);
        let (listed, _) = shelves.list(&Listing::new());
        assert_eq!(library.find(&shelves, &listed)[0].component.as_ref().unwrap().digest, digest(b"one"));
        fs::write(&path, "another").unwrap();
        let moving: Listing = [(path, Stamp::default())].into();
        assert_eq!(library.find(&shelves, &moving)[0].component.as_ref().unwrap().digest, digest(b"one"));
        assert!(library.again);
        let (settled, _) = shelves.list(&listed);
        assert_eq!(library.find(&shelves, &settled)[0].component.as_ref().unwrap().digest, digest(b"another"));
        assert!(!library.again);
    }
}
