//! A secret on its way into a file of its own, or the name of where it is already.
//!
//! A new one lies in memory until everything is written, readable through a path like any other: an interrupted `init`
//! leaves none behind.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rustix::fs::MemfdFlags;
use secrecy::SecretString;

use super::questions::{Questions, Valid};
use crate::cli::ExitCode;
use crate::config::{SecretSource, environment};
use crate::limits;
use crate::secrets::Secret;

/// See the module.
pub(super) enum Kept {
    /// Where it is, and stays.
    There(SecretSource),
    /// It goes into a file of this name beside the configuration.
    New { name: &'static str, secret: Secret, memory: File },
}

/// The question about one secret.
pub(super) struct Asked<'a> {
    /// What it is called.
    pub what: &'a str,
    /// The name of the file for a new one.
    pub name: &'static str,
    /// The variable that it is likely in.
    pub variable: &'a str,
    pub env: Option<&'a str>,
    pub file: Option<&'a Path>,
    /// The flags that answer, for an error.
    pub flags: &'a str,
    pub valid: Valid,
    /// Another answer, if nothing is one.
    pub none: Option<&'a str>,
}

impl Asked<'_> {
    /// The secret; none: there is none.
    pub fn answer(&self, questions: Questions) -> anyhow::Result<Option<Kept>> {
        if let Some(name) = self.env {
            return self.env(name).map(Some);
        }
        match self.file {
            Some(path) if path == Path::new("-") => return self.stdin().map(Some),
            Some(path) => {
                let path = std::path::absolute(path).with_context(|| format!("failed to find {}", path.display()))?;
                return self.there(SecretSource::File(path)).map(Some);
            }
            None => {}
        }
        let mut ways =
            vec!["paste it now; it is kept in a file of its own".to_owned(), "name the environment variable that holds it".into()];
        ways.extend(self.none.map(str::to_owned));
        let is_set = environment::variable(self.variable).is_some();
        match questions.choose(&format!("Where is {}?", self.what), ways, usize::from(is_set), self.flags)? {
            0 => {
                let value = questions.hidden(&format!("Paste {}:", self.what), self.valid, self.flags)?;
                self.hold(value.into()).map(Some)
            }
            1 => {
                let name = questions.text("Its name:", Some(self.variable), variable_name, self.flags)?;
                self.env(&name).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn env(&self, name: &str) -> anyhow::Result<Kept> {
        // What is no name may be the secret itself, so it is not repeated.
        variable_name(name).map_err(|why| ExitCode::Usage.error(anyhow!("{}: {why}", self.what)))?;
        self.there(SecretSource::Env(name.to_owned()))
    }

    fn there(&self, source: SecretSource) -> anyhow::Result<Kept> {
        let secret = source.read().with_context(|| format!("failed to read {}", self.what)).map_err(|error| ExitCode::Auth.error(error))?;
        self.check(secret.expose())?;
        Ok(Kept::There(source))
    }

    fn stdin(&self) -> anyhow::Result<Kept> {
        let mut text = String::new();
        let read = io::stdin().take(limits::SECRET_FILE_BYTES).read_to_string(&mut text);
        read.with_context(|| format!("failed to read {} from standard input", self.what))?;
        self.hold(text.trim_end_matches(['\r', '\n']).into())
    }

    fn hold(&self, value: SecretString) -> anyhow::Result<Kept> {
        let secret = Secret::new(value, self.what).map_err(|error| ExitCode::Auth.error(error))?;
        self.check(secret.expose())?;
        let memory = rustix::fs::memfd_create(self.name, MemfdFlags::CLOEXEC).context("failed to hold a secret in memory")?;
        let mut memory = File::from(memory);
        memory.write_all(secret.expose().as_bytes()).context("failed to hold a secret in memory")?;
        Ok(Kept::New { name: self.name, secret, memory })
    }

    fn check(&self, value: &str) -> anyhow::Result<()> {
        (self.valid)(value).map_err(|why| ExitCode::Auth.error(anyhow!("{}: {why}", self.what)))
    }
}

impl Kept {
    /// As the configuration names it.
    pub fn named(&self) -> SecretSource {
        match self {
            Self::There(source) => source.clone(),
            Self::New { name, .. } => SecretSource::File(name.into()),
        }
    }

    /// Where it can be read before anything is written.
    pub fn now(&self) -> SecretSource {
        match self {
            Self::There(source) => source.clone(),
            Self::New { memory, .. } => SecretSource::File(format!("/proc/self/fd/{}", memory.as_raw_fd()).into()),
        }
    }

    /// A file to write, and what goes into it.
    pub fn file(&self, folder: &Path) -> Option<(PathBuf, &Secret)> {
        match self {
            Self::There(_) => None,
            Self::New { name, secret, .. } => Some((folder.join(name), secret)),
        }
    }
}

fn variable_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit()) {
        true => Ok(()),
        false => Err("that is no name of an environment variable; it is the name that is asked for, not the secret".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked<'static> {
        Asked {
            what: "the key",
            name: "model.key",
            variable: "KEY",
            env: None,
            file: None,
            flags: "--key-env or --key-file",
            valid: |_| Ok(()),
            none: None,
        }
    }

    #[test]
    fn a_new_secret_can_be_read_before_it_is_anywhere() {
        let kept = asked().hold("sk-0123456789".into()).unwrap();
        assert_eq!(kept.now().read().ok().unwrap().expose(), "sk-0123456789");
        assert_eq!(kept.named(), SecretSource::File("model.key".into()));
        let (path, secret) = kept.file(Path::new("/etc/x")).unwrap();
        assert_eq!((path.as_path(), secret.expose()), (Path::new("/etc/x/model.key"), "sk-0123456789"));
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_refused_without_being_shown() {
        let refused = asked().env("sk-0123456789").err().unwrap().to_string();
        assert!(refused.contains("not the secret") && !refused.contains("0123456789"), "{refused}");
    }
}
