//! What no mount may show, as of now: the host's own places, and the files of secrets, also of those that were granted later.

use std::path::{Path, PathBuf};

use super::Inner;
use super::policy::paths::Guarded;
use crate::config::SecretSource;

impl Inner {
    /// See the module. With the places where links lead now.
    pub fn guarded(&self) -> Guarded {
        let granted = self.granting.now();
        let files = granted.secret_sources().filter_map(|source| match source {
            SecretSource::File(path) | SecretSource::CodexAuth(path) => Some(path),
            SecretSource::Env(_) => None,
        });
        Guarded::of(&self.granting.config(), &self.workdir).with_secrets(files).with_real(real)
    }
}

/// Where a path leads, as far as there is something.
fn real(path: &Path) -> PathBuf {
    let led = path.ancestors().find_map(|there| Some((there.canonicalize().ok()?, path.strip_prefix(there).ok()?)));
    led.map_or_else(|| path.to_owned(), |(there, rest)| there.join(rest))
}
