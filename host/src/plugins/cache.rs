//! Compiled components on disk, so that only the first start compiles.
//!
//! An entry is machine code, and loading it is as good as running it. Its name says which component and which engine it is
//! for; a keyed MAC in a file beside it says that this work directory wrote it. An entry is opened once: the MAC is checked
//! through that handle, and the code is mapped from it. Whatever does not check is compiled again.
//!
//! What was compiled is kept as unproven until its catalogue was asked: the next start serves what is proven without asking,
//! so a host that dies meanwhile must not have accepted it.
//!
//! The MAC detects damage and entries written without the key. It does not defend against other processes of this user:
//! they can read the key, and they could as well change this program.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::files::durable;

/// The directory of compiled components, and the key of their MACs.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

impl Cache {
    /// Opens the cache, making its directory and key when they are missing.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let key = key(&dir.join("key"))?;
        Ok(Self { dir, key })
    }

    /// The component `wasm` for `engine`: from the cache, proven or not, or compiled and then kept as unproven.
    pub fn component(&self, engine: &Engine, digest: &str, wasm: &[u8]) -> wasmtime::Result<Component> {
        let name = entry_name(engine, digest);
        if let Some(component) = self.load(engine, digest).or_else(|| self.checked(engine, &name, &self.unproven_path(&name))) {
            return component;
        }
        let code = engine.precompile_component(wasm)?;
        if let Err(error) = self.store(&name, &code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code cannot be kept; it will be compiled again at the next start");
        }
        deserialize(engine, &code)
    }

    /// The component may serve: the next start takes it as it is.
    pub fn prove(&self, engine: &Engine, digest: &str) {
        let name = entry_name(engine, digest);
        // One that is proven, or could not be kept, has nothing to rename.
        if let Err(error) = fs::rename(self.unproven_path(&name), self.mac_path(&name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code cannot be kept; it will be compiled again at the next start");
        }
    }

    /// The proven component from the cache; none when there is no entry that this work directory wrote for this engine.
    pub fn load(&self, engine: &Engine, digest: &str) -> Option<wasmtime::Result<Component>> {
        let name = entry_name(engine, digest);
        self.checked(engine, &name, &self.mac_path(&name))
    }

    /// The component of an entry whose MAC is at `mac`.
    fn checked(&self, engine: &Engine, name: &str, mac: &Path) -> Option<wasmtime::Result<Component>> {
        let mut file = File::open(self.dir.join(name)).ok()?;
        let mac = fs::read(mac).ok()?;
        let mut code = Vec::new();
        file.read_to_end(&mut code).ok()?;
        if self.mac(name, &code).verify_slice(&mac).is_err() {
            tracing::warn!(entry = name, "a cache entry is damaged or not ours; compiling again");
            return None;
        }
        Some(map(engine, &file))
    }

    /// Removes the entry of a component.
    pub fn forget(&self, engine: &Engine, digest: &str) {
        let name = entry_name(engine, digest);
        for path in [self.mac_path(&name), self.unproven_path(&name), self.dir.join(&name)] {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "no cache entry is removed");
            }
        }
    }

    fn store(&self, name: &str, code: &[u8]) -> io::Result<()> {
        durable::replace(&self.dir.join(name), code)?;
        durable::replace(&self.unproven_path(name), &self.mac(name, code).finalize().into_bytes())
    }

    fn unproven_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.unproven"))
    }

    fn mac_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.mac"))
    }

    /// Over name and content: an entry renamed to another component's is as bad as a changed one.
    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }

    /// Removes what none of `engines` can load: entries of older versions and settings.
    pub fn prune(&self, engines: &[&Engine]) -> io::Result<()> {
        let current: Vec<_> = engines.iter().map(|engine| engine_key(engine)).collect();
        self.retain(|name| current.iter().any(|key| name.contains(key)))
    }

    /// Removes the code of all components but those with these digests.
    pub fn keep_only(&self, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        self.retain(|name| name.split_once('-').is_some_and(|(digest, _)| wanted(digest)))
    }

    /// Removes all entries but those with these names.
    fn retain(&self, is_kept: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_old = if name.ends_with(".tmp") { durable::is_left(&entry) } else { name.contains(".cwasm") && !is_kept(&name) };
            if is_old {
                // Another process may have removed it.
                fs::remove_file(entry.path()).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
            }
        }
        Ok(())
    }
}

/// Which component, for which engine.
fn entry_name(engine: &Engine, digest: &str) -> String {
    format!("{digest}-{}.cwasm", engine_key(engine))
}

/// Stands for the engine's version, target and settings.
fn engine_key(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The key at `path`, made when it is missing or damaged. Of two that make one at the same time, both get the first's.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    let present = || fs::read(path).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if let Some(key) = present() {
        return Ok(key);
    }
    let mut key = [0; 32];
    key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    let temporary = durable::temporary(path, &key)?;
    // A link, unlike a rename, does not replace what is there.
    let linked = fs::hard_link(&temporary, path);
    match present() {
        Some(first) => fs::remove_file(&temporary).map(|()| first),
        None => linked.or_else(|_| fs::rename(&temporary, path)).map(|()| key),
    }
}

/// Maps checked code from the handle it was checked through: opened by its descriptor, it is the same file whatever its
/// name stands for by now.
#[expect(unsafe_code, reason = "mapping compiled code is the one thing that cannot be done safely; its MAC has been checked")]
fn map(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    // SAFETY: the bytes came from `Engine::precompile_component` of this work directory, as their MAC says, and nobody
    // writes to an entry after its rename: a new one replaces the name.
    unsafe { Component::deserialize_file(engine, format!("/dev/fd/{}", file.as_raw_fd())) }
}

/// Loads code that was compiled a moment ago.
#[expect(unsafe_code, reason = "the bytes come from the compiler, not from disk")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` is what `Engine::precompile_component` returned.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component: its header.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn entry(dir: &Path, suffix: &str) -> PathBuf {
        let mut entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| path.to_string_lossy().ends_with(suffix)).unwrap()
    }

    #[test]
    fn only_an_untouched_entry_of_this_directory_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(dir.path().to_owned()).unwrap();
        assert!(cache.load(&engine, "d").is_none());
        cache.component(&engine, "d", EMPTY).unwrap();
        assert!(cache.load(&engine, "d").is_none(), "nobody has asked it yet");
        cache.component(&engine, "d", b"what is kept is not compiled again").unwrap();
        cache.prove(&engine, "d");
        assert!(cache.load(&engine, "d").unwrap().is_ok());
        assert!(Cache::open(dir.path().to_owned()).unwrap().load(&engine, "d").unwrap().is_ok(), "the key is kept");

        let (code, mac) = (entry(dir.path(), ".cwasm"), entry(dir.path(), ".mac"));
        fs::rename(&code, dir.path().join(entry_name(&engine, "e"))).unwrap();
        fs::copy(&mac, dir.path().join(entry_name(&engine, "e") + ".mac")).unwrap();
        assert!(cache.load(&engine, "e").is_none(), "an entry stands for its own component only");

        cache.component(&engine, "d", EMPTY).unwrap();
        cache.prove(&engine, "d");
        let mut bytes = fs::read(&code).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&code, &bytes).unwrap();
        assert!(cache.load(&engine, "d").is_none(), "a flipped bit is found");
        cache.component(&engine, "d", EMPTY).unwrap();
        cache.prove(&engine, "d");
        assert!(cache.load(&engine, "d").unwrap().is_ok(), "and repaired");

        fs::write(dir.path().join("key"), [7; 32]).unwrap();
        assert!(Cache::open(dir.path().to_owned()).unwrap().load(&engine, "d").is_none(), "another key's entry is not ours");
    }

    #[test]
    fn caches_opened_at_the_same_time_share_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Cache::open(dir.path().to_owned()).unwrap().key;
        let keys = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        fs::write(dir.path().join("key"), "short").unwrap();
        assert_eq!(open(), open(), "a damaged key is replaced");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn entries_of_other_engines_go() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned()).unwrap();
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        let engine = Engine::default();
        cache.component(&other, "d", EMPTY).unwrap();
        cache.prove(&other, "d");
        cache.component(&engine, "d", EMPTY).unwrap();
        cache.prove(&engine, "d");
        cache.prune(&[&engine]).unwrap();
        assert!(cache.load(&other, "d").is_none());
        assert!(cache.load(&engine, "d").is_some());
    }

    #[test]
    fn entries_of_other_components_go() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned()).unwrap();
        let engine = Engine::default();
        for digest in ["d", "e"] {
            cache.component(&engine, digest, EMPTY).unwrap();
            cache.prove(&engine, digest);
        }
        cache.keep_only(|digest| digest == "e").unwrap();
        assert!(cache.load(&engine, "d").is_none() && cache.load(&engine, "e").is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "the key, and an entry with its code");
    }
}
