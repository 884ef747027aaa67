//! Where components come from, and which of their bytes are run.
//!
//! Bundled ones are part of the program; configured ones are `[plugins.NAME] path = …`; dropped-in ones are `NAME.wasm` in
//! one of `plugin_dirs`, with an optional `NAME.toml` of settings. Foreign bytes are run only from
//! `components/<sha256>.wasm`, where they were copied whole and checked again: a file that changes under its name changes
//! nothing that runs. Nothing here decides what a component may do, only which bytes are meant.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::schema::cut;
use super::status::Source;
use crate::config::{Config, is_name};
use crate::limits;

/// A component that was found. Not yet looked into.
pub(super) struct Found {
    pub name: String,
    pub source: Source,
    pub path: Option<PathBuf>,
    /// The settings beside a dropped-in file.
    pub settings: Option<Value>,
    pub bytes: Result<Bytes, RegistryError>,
}

/// The bytes of a component, and what they are called.
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
    #[error("{path}: a component has at most {most} MiB", path = .0.display(), most = limits::COMPONENT_BYTES >> 20)]
    TooLarge(PathBuf),
    #[error("{path}: {reason}; only a [settings] table belongs there, grants belong in the configuration", path = path.display())]
    Settings { path: PathBuf, reason: String },
}

/// Everything there is, in the order in which names are given away: bundled, configured, dropped in; by name.
/// A directory that cannot be read has nothing in it, and a warning says so.
pub(super) fn find(config: &Config, workdir: &Path, bundled: bool) -> Vec<Found> {
    let mut found = Vec::new();
    if bundled {
        found.extend(super::bundled::BUNDLED.iter().map(|(name, wasm)| Found {
            name: (*name).to_owned(),
            source: Source::Bundled,
            path: None,
            settings: None,
            bytes: Ok(Bytes { digest: digest(wasm), wasm: Cow::Borrowed(wasm) }),
        }));
    }
    for (name, entry) in &config.plugins {
        found.extend(entry.path.as_ref().map(|path| Found {
            name: name.clone(),
            source: Source::Configured,
            path: Some(path.clone()),
            settings: None,
            bytes: read(path),
        }));
    }
    for dir in &config.plugin_dirs {
        match dropped_in(&workdir.join(dir)) {
            Ok(files) => found.extend(files),
            Err(error) => tracing::warn!(%error, "the plugins in there are left out"),
        }
    }
    found
}

fn dropped_in(dir: &Path) -> Result<Vec<Found>, RegistryError> {
    let failed = |source| RegistryError::Io { action: "read the plugin directory", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    paths.sort();
    Ok(paths.into_iter().map(dropped_in_file).collect())
}

fn dropped_in_file(path: PathBuf) -> Found {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (settings, bytes) = if is_name(&name) {
        match settings_beside(&path) {
            Ok(settings) => (settings, read(&path)),
            Err(error) => (None, Err(error)),
        }
    } else {
        (None, Err(RegistryError::Name(path.clone())))
    };
    Found { name, source: Source::DroppedIn, path: Some(path), settings, bytes }
}

/// `NAME.toml`: settings only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    #[serde(default)]
    settings: Value,
}

fn settings_beside(wasm: &Path) -> Result<Option<Value>, RegistryError> {
    let path = wasm.with_extension("toml");
    let mut text = String::new();
    match open(&path) {
        Err(RegistryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(limits::BESIDE_BYTES + 1).read_to_string(&mut text),
    }
    .map_err(|source| RegistryError::Io { action: "read", path: path.clone(), source })?;
    if text.len() as u64 > limits::BESIDE_BYTES {
        return Err(RegistryError::Settings { path, reason: format!("it has over {} bytes", limits::BESIDE_BYTES) });
    }
    beside(&text).map(Some).map_err(|reason| RegistryError::Settings { path, reason })
}

/// The settings in the text of a `NAME.toml`.
pub(super) fn beside(text: &str) -> Result<Value, String> {
    toml::from_str::<Beside>(text).map(|beside| beside.settings).map_err(|error| cut(error.message()))
}

/// Opens a regular file. Anything else is seen as what it is without waiting: opening a pipe would wait for its writer.
fn open(path: &Path) -> Result<File, RegistryError> {
    let failed = |source| RegistryError::Io { action: "read", path: path.to_owned(), source };
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(RegistryError::NotAFile(path.to_owned()));
    }
    Ok(file)
}

/// Reads a component file whole, if it is a file and small enough.
pub(super) fn read(path: &Path) -> Result<Bytes, RegistryError> {
    let failed = |source| RegistryError::Io { action: "read", path: path.to_owned(), source };
    let mut wasm = Vec::new();
    open(path)?.take(limits::COMPONENT_BYTES + 1).read_to_end(&mut wasm).map_err(failed)?;
    if wasm.len() as u64 > limits::COMPONENT_BYTES {
        return Err(RegistryError::TooLarge(path.to_owned()));
    }
    Ok(Bytes { digest: digest(&wasm), wasm: Cow::Owned(wasm) })
}

/// The bytes that are run.
#[derive(Debug)]
pub(super) struct Accepted {
    dir: PathBuf,
}

impl Accepted {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps the bytes under their digest and reads them back: what is run is what was kept.
    pub fn keep(&self, bytes: &Bytes) -> Result<Bytes, RegistryError> {
        if let Some(kept) = self.get(&bytes.digest) {
            return Ok(kept);
        }
        let path = self.path(&bytes.digest);
        let failed = |source| RegistryError::Io { action: "keep the component as", path: path.clone(), source };
        let temporary = self.dir.join(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
        let write = || {
            let mut file = File::create_new(&temporary)?;
            file.write_all(&bytes.wasm)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(failed).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
        self.get(&bytes.digest).ok_or_else(|| failed(io::Error::other("it reads back differently")))
    }

    /// The bytes kept under `digest`, if they are those.
    pub fn get(&self, digest: &str) -> Option<Bytes> {
        read(&self.path(digest)).ok().filter(|kept| kept.digest == digest)
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.wasm"))
    }
}

/// SHA-256 in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let found = dropped_in(dir.path()).unwrap();
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let refusal = |index: usize| found[index].bytes.as_ref().err().unwrap().to_string();
        assert!(refusal(0).contains("a.toml: unknown field `fs`") && refusal(0).contains("grants belong in the configuration"));
        assert_eq!(found[1].settings, Some(serde_json::json!({"depth": 3})));
        assert_eq!(found[1].bytes.as_ref().ok().unwrap().digest, digest(b"bytes"));
        assert!(refusal(2).ends_with("c.wasm: not a regular file"));
        assert!(dropped_in(&dir.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn a_file_whose_name_is_no_plugin_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(65);
        for name in ["..", ".", "...", "A", "a b", "a.b", "é", &long] {
            fs::write(dir.path().join(format!("{name}.wasm")), "bytes").unwrap();
        }
        let found = dropped_in(dir.path()).unwrap();
        assert_eq!(found.len(), 8);
        for found in found {
            let refusal = found.bytes.err().unwrap();
            assert!(matches!(refusal, RegistryError::Name(_)), "{}: {refusal}", found.name);
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
        let found = dropped_in(dir.path()).unwrap();
        let refusal = |index: usize| found[index].bytes.as_ref().err().unwrap().to_string();
        assert!(refusal(0).ends_with("a.toml: not a regular file"), "{}", refusal(0));
        assert!(refusal(1).contains("b.toml: it has over 262144 bytes"), "{}", refusal(1));
        assert!(refusal(2).ends_with("c.wasm: not a regular file"), "{}", refusal(2));
    }

    #[test]
    fn a_plugin_directory_that_cannot_be_read_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let config = Config { plugin_dirs: vec!["file".into()], ..Config::embedded(false) };
        assert!(find(&config, dir.path(), false).is_empty());
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.wasm");
        File::create(&path).unwrap().set_len(limits::COMPONENT_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(RegistryError::TooLarge(_))));
    }

    #[test]
    fn what_is_run_is_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(dir.path().to_owned());
        let bytes = Bytes { wasm: Cow::Borrowed(b"component"), digest: digest(b"component") };
        assert!(accepted.get(&bytes.digest).is_none());
        assert_eq!(accepted.keep(&bytes).unwrap().wasm, b"component".as_slice());
        fs::write(accepted.path(&bytes.digest), "something else").unwrap();
        assert!(accepted.get(&bytes.digest).is_none(), "changed bytes are not the accepted ones");
        assert_eq!(accepted.keep(&bytes).unwrap().wasm, b"component".as_slice());
    }
}
