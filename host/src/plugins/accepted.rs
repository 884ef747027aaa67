//! The bytes of foreign components that are run, and which of them served last.
//!
//! Accepted bytes are kept whole as `components/<sha256>.wasm` and run only from there, so what changes under a file's name
//! changes nothing that runs. `components/served.json` says which digest served last under which name: across a restart
//! those bytes go on serving where the file beside is refused. Only the host of the work directory writes that record and
//! removes what nothing refers to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::registry::{self, Bytes, RegistryError};
use super::status::Source;
use crate::files::durable;

/// The last served digests, by [`key`].
pub(super) type Served = BTreeMap<String, String>;

/// The key of a plugin in [`Served`]: with its file, because the bytes of another one were never meant by whoever trusts this
/// path.
pub(super) fn key(source: Source, name: &str, path: Option<&Path>) -> String {
    match path {
        Some(path) => format!("{source}/{name} {}", path.display()),
        None => format!("{source}/{name}"),
    }
}

/// The directory of accepted components.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    dir: PathBuf,
}

impl Accepted {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps the bytes under their digest and checks that they read back: what is run is what was kept.
    pub fn keep(&self, bytes: &Bytes) -> Result<(), RegistryError> {
        if self.get(&bytes.digest).is_some() {
            return Ok(());
        }
        let path = self.path(&bytes.digest);
        let failed = |source| RegistryError::Io { action: "keep the component as", path: path.clone(), source };
        durable::replace(&path, &bytes.wasm).map_err(failed)?;
        self.get(&bytes.digest).map(drop).ok_or_else(|| failed(io::Error::other("it reads back differently")))
    }

    /// The bytes kept under `digest`, if they are those.
    pub fn get(&self, digest: &str) -> Option<Bytes> {
        self.look(digest).ok().flatten()
    }

    /// [`Self::get`], which says none only where there are none. An error may pass.
    pub fn look(&self, digest: &str) -> Result<Option<Bytes>, RegistryError> {
        match registry::read(&self.path(digest)) {
            Ok(kept) => Ok(Some(kept).filter(|kept| kept.digest == digest)),
            Err(RegistryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error @ RegistryError::Io { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What served last; nothing where that is not known.
    pub fn served(&self) -> Served {
        let read = || -> io::Result<Served> {
            let text = fs::read(self.record())?;
            Ok(serde_json::from_slice(&text)?)
        };
        let mut served = match read() {
            Ok(served) => served,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Served::new(),
            Err(error) => {
                tracing::warn!(path = %self.record().display(), %error, "which components served last is not known");
                Served::new()
            }
        };
        // A digest becomes a file name.
        served.retain(|_, digest| registry::is_digest(digest));
        served
    }

    /// Remembers what serves.
    pub fn remember(&self, served: &Served) -> io::Result<()> {
        durable::replace(&self.record(), &serde_json::to_vec_pretty(served)?)
    }

    /// Removes the bytes of `digest`.
    pub fn forget(&self, digest: &str) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes all bytes but those of these digests, and what a power cut left half written: not what another process may be
    /// writing just now.
    pub fn forget_others(&self, wanted: &BTreeSet<Cow<'_, str>>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let is_old = match path.extension().and_then(|extension| extension.to_str()) {
                Some("wasm") => !wanted.contains(&stem),
                Some("tmp") => durable::is_left(&entry),
                _ => false,
            };
            if is_old {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn record(&self) -> PathBuf {
        self.dir.join("served.json")
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.wasm"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static [u8]) -> Bytes {
        Bytes { wasm: Cow::Borrowed(text), digest: registry::digest(text) }
    }

    #[test]
    fn what_is_run_is_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(dir.path().to_owned());
        let bytes = bytes(b"component");
        assert!(accepted.get(&bytes.digest).is_none());
        accepted.keep(&bytes).unwrap();
        assert_eq!(accepted.get(&bytes.digest).unwrap().wasm, b"component".as_slice());
        fs::write(accepted.path(&bytes.digest), "something else").unwrap();
        assert!(accepted.get(&bytes.digest).is_none(), "changed bytes are not the accepted ones");
        accepted.keep(&bytes).unwrap();
        assert_eq!(accepted.get(&bytes.digest).unwrap().wasm, b"component".as_slice());
    }

    #[test]
    fn the_record_is_read_back_and_a_damaged_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(dir.path().to_owned());
        assert!(accepted.served().is_empty());
        let served: Served = [(key(Source::DroppedIn, "a", None), registry::digest(b"a"))].into();
        accepted.remember(&served).unwrap();
        assert_eq!(accepted.served(), served);
        fs::write(dir.path().join("served.json"), r#"{"dropped-in/a": "../../elsewhere"}"#).unwrap();
        assert!(accepted.served().is_empty());
        fs::write(dir.path().join("served.json"), "{").unwrap();
        assert!(accepted.served().is_empty());
    }

    #[test]
    fn bytes_that_nothing_refers_to_go() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(dir.path().to_owned());
        let (old, new) = (bytes(b"old"), bytes(b"new"));
        accepted.keep(&old).unwrap();
        accepted.keep(&new).unwrap();
        accepted.remember(&Served::new()).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * crate::limits::TEMPORARY_KEPT;
        for (name, at) in [("half.0.tmp", long_ago), ("half.1.tmp", std::time::SystemTime::now())] {
            fs::File::create(dir.path().join(name)).unwrap().set_modified(at).unwrap();
        }
        accepted.forget_others(&[Cow::Borrowed(new.digest.as_str())].into()).unwrap();
        assert!(accepted.get(&old.digest).is_none() && accepted.get(&new.digest).is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "the record stays, and what may be being written");
        accepted.forget(&new.digest).unwrap();
        accepted.forget(&new.digest).unwrap();
        assert!(accepted.get(&new.digest).is_none());
    }
}
