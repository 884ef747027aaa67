//! Credentials that end and are renewed: one renewal at a time, in this process and among all that use the same file.
//!
//! - A token that renews works once. So nobody asks the server without the lock beside the file, and without having read the
//!   file again under it; what the server gave is on the disk before anybody uses it.
//! - Who asks while a renewal is under way gets what comes of it. A renewal that has begun is not given up with the call that
//!   asked for it: what the server has given would be lost.
//! - What will never do again is not asked again until the file is another one.
//!
//! What it does not do: keep other programs from renewing the same login without the lock.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::codex::oauth::{AuthError, AuthServer, Refusal};
use super::codex::{Login, OtherAccount, place};
use super::{Redactor, Secret, SecretError};
use crate::clock::{self, Moment};
use crate::config::SecretSource;
use crate::{crash, limits};

/// The value of a secret, and what a component may know of it.
#[derive(Clone)]
pub struct Credential {
    pub value: Secret,
    pub attributes: Vec<(String, String)>,
}

/// Why a credential is not renewed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RenewError {
    #[error("it is a fixed value and cannot be renewed")]
    Fixed,
    #[error("the login in {path} is worth nothing any more: {why}; log in again with `stellaclaw login codex --file {path}`", path = .path.display())]
    Refused { path: PathBuf, why: Refusal },
    #[error("the login in {path} holds no token that renews it; log in again with `stellaclaw login codex --file {path}`", path = .0.display())]
    Final(PathBuf),
    #[error("the login in {path} is another account's now; begin again", path = .0.display())]
    OtherAccount(PathBuf),
    #[error("{reason}, instead of renewing the login in {path}; log in again with `stellaclaw login codex --file {path}`", path = .path.display())]
    Foreign { path: PathBuf, reason: OtherAccount },
    #[error("the login in {path} was renewed just now, and is not renewed again so soon", path = .0.display())]
    JustNow(PathBuf),
    #[error("renew the login in {path}: {reason}; it is tried again", path = .path.display())]
    Failed { path: PathBuf, reason: String },
    #[error("{0}")]
    Unreadable(String),
}

impl RenewError {
    /// May it pass by itself?
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::JustNow(_) | Self::Failed { .. } | Self::OtherAccount(_))
    }
}

/// Renews credentials. Cheap to clone, one per process.
#[derive(Clone)]
pub struct Renewals(Arc<Shared>);

struct Shared {
    server: Result<AuthServer, String>,
    /// By where they really are.
    files: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<History>>>>,
    /// Learns each token before anybody can tell it.
    redactor: OnceLock<Redactor>,
}

/// What is known of one file.
#[derive(Default)]
struct History {
    /// The token that was refused for good.
    refused: Option<(String, RenewError)>,
    failed: Option<(Instant, RenewError)>,
    renewed: Option<Instant>,
    /// What the server gave for this token, and could not be written.
    unwritten: Option<(String, Login)>,
}

/// Who asks for a renewal.
#[derive(Clone)]
enum Because {
    /// Its time is nearly over.
    Due,
    /// The server has rejected this token.
    Rejected { token: String, account: Option<String> },
}

impl Renewals {
    /// By OpenAI's server.
    #[must_use]
    pub fn new() -> Self {
        Self::by(AuthServer::new().map_err(|error| error.to_string()))
    }

    pub(crate) fn by(server: Result<AuthServer, String>) -> Self {
        Self(Arc::new(Shared { server, files: Mutex::default(), redactor: OnceLock::new() }))
    }

    /// `redactor` learns every token from now on.
    pub fn tell(&self, redactor: &Redactor) {
        self.0.redactor.get_or_init(|| redactor.clone());
    }

    /// The secret as it is used now, renewed before if its time is nearly over.
    ///
    /// # Errors
    ///
    /// It cannot be read; its time is over and it cannot be renewed.
    pub async fn credential(&self, source: &SecretSource) -> Result<Credential, SecretError> {
        let SecretSource::CodexAuth(path) = source else {
            return Ok(Credential { value: source.read()?, attributes: Vec::new() });
        };
        let login = self.read(path)?;
        if !login.is_due(clock::now()) {
            return login.credential(path);
        }
        match self.renewed(path, Because::Due).await {
            Ok(renewed) => renewed.credential(path),
            Err(reason) if login.is_over(clock::now()) => Err(SecretError::NotRenewed(reason)),
            Err(reason) => {
                tracing::warn!(%reason, "a login is nearly over and could not be renewed");
                login.credential(path)
            }
        }
    }

    /// The server has rejected `used`: another value in its place.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn renew(&self, source: &SecretSource, used: &Credential) -> Result<Credential, RenewError> {
        let SecretSource::CodexAuth(path) = source else { return Err(RenewError::Fixed) };
        let account = used.attributes.iter().find(|(name, _)| name == "account-id").map(|(_, account)| account.clone());
        let renewed = self.renewed(path, Because::Rejected { token: used.value.expose().to_owned(), account }).await?;
        renewed.credential(path).map_err(|error| RenewError::Unreadable(error.to_string()))
    }

    fn read(&self, path: &Path) -> Result<Login, SecretError> {
        let login = Login::read(path)?;
        self.0.learn(&login);
        Ok(login)
    }

    async fn renewed(&self, path: &Path, because: Because) -> Result<Login, RenewError> {
        let (shared, path) = (self.0.clone(), path.to_owned());
        let failed = |path: &Path, reason: String| RenewError::Failed { path: path.to_owned(), reason };
        let known = shared.known(&path);
        let (task_path, task) = (path.clone(), shared);
        // It goes on when who asked is gone.
        let renewal = tokio::spawn(async move { task.renew(&task_path, &known, because).await });
        renewal.await.unwrap_or_else(|lost| Err(failed(&path, lost.to_string())))
    }
}

impl Default for Renewals {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn known(&self, path: &Path) -> Arc<tokio::sync::Mutex<History>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).entry(place(path)).or_default().clone()
    }

    fn learn(&self, login: &Login) {
        if let Some(redactor) = self.redactor.get() {
            redactor.learn(&login.secrets());
        }
    }

    /// One renewal; others of the same file wait here.
    async fn renew(&self, path: &Path, known: &tokio::sync::Mutex<History>, because: Because) -> Result<Login, RenewError> {
        let mut known = known.lock().await;
        let failed = |reason: String| RenewError::Failed { path: path.to_owned(), reason };
        let _lock = lock(path).await.map_err(&failed)?;
        let login = Login::read(path).map_err(|error| RenewError::Unreadable(error.to_string()))?;
        self.learn(&login);
        // Unless somebody has logged in anew.
        if let Some((old, given)) = known.unwritten.take()
            && login.refresh() == Some(old.as_str())
        {
            return self.keep(path, &mut known, old, given);
        }
        if let Some(good) = good(&login, &because, path, clock::now())? {
            return Ok(good);
        }
        let Some(refresh) = login.refresh().map(str::to_owned) else { return Err(RenewError::Final(path.to_owned())) };
        known.may_ask(path, &refresh, &because)?;
        let server = self.server.as_ref().map_err(|reason| failed(reason.clone()))?;
        let given = match server.renew(&refresh).await {
            Ok(tokens) => tokens,
            Err(AuthError::Refused(why)) => {
                let refused = RenewError::Refused { path: path.to_owned(), why };
                known.refused = Some((refresh, refused.clone()));
                return Err(refused);
            }
            Err(AuthError::Failed(reason)) => {
                let failed = failed(reason);
                known.failed = Some((Instant::now(), failed.clone()));
                return Err(failed);
            }
        };
        crash::point(|| "login.given".to_owned());
        match login.renewed(&given, clock::now()) {
            Ok(renewed) => self.keep(path, &mut known, refresh, renewed),
            Err(reason) => {
                let foreign = RenewError::Foreign { path: path.to_owned(), reason };
                known.refused = Some((refresh, foreign.clone()));
                Err(foreign)
            }
        }
    }

    /// Writes down what was given, and only then hands it out.
    fn keep(&self, path: &Path, known: &mut History, old: String, given: Login) -> Result<Login, RenewError> {
        self.learn(&given);
        if let Err(error) = given.write(path) {
            known.unwritten = Some((old, given));
            return Err(RenewError::Failed { path: path.to_owned(), reason: format!("write it down: {error}") });
        }
        crash::point(|| "login.kept".to_owned());
        *known = History { renewed: Some(Instant::now()), ..History::default() };
        Ok(given)
    }
}

/// The login of the file, where it will do as it is.
fn good(login: &Login, because: &Because, path: &Path, now: Moment) -> Result<Option<Login>, RenewError> {
    let is_good = match because {
        Because::Due => !login.is_due(now),
        Because::Rejected { token, account } => {
            if account.is_some() && login.account() != *account {
                return Err(RenewError::OtherAccount(path.to_owned()));
            }
            login.access() != token
        }
    };
    Ok(is_good.then(|| login.clone()))
}

impl History {
    /// Is it of any use to ask the server?
    fn may_ask(&self, path: &Path, refresh: &str, because: &Because) -> Result<(), RenewError> {
        if let Some((token, why)) = &self.refused
            && token == refresh
        {
            return Err(why.clone());
        }
        if let Some((at, why)) = &self.failed
            && at.elapsed() < limits::LOGIN_PAUSE
        {
            return Err(why.clone());
        }
        let is_fresh = self.renewed.is_some_and(|at| at.elapsed() < limits::LOGIN_REST);
        if is_fresh && matches!(because, Because::Rejected { .. }) { Err(RenewError::JustNow(path.to_owned())) } else { Ok(()) }
    }
}

/// Puts a login in its file, with nobody renewing the one before meanwhile.
///
/// # Errors
///
/// What went wrong; the file is as it was.
pub async fn keep_login(path: &Path, login: &Login) -> Result<(), String> {
    let _lock = lock(path).await?;
    login.write(path).map_err(|error| format!("write {}: {error}", path.display()))
}

/// The lock beside the file, which other processes take, too. Gone when it is dropped.
async fn lock(path: &Path) -> Result<File, String> {
    let mut name = place(path).into_os_string();
    name.push(".lock");
    let failed = |error: std::io::Error| format!("lock {}: {error}", PathBuf::from(&name).display());
    let file = open_lock(Path::new(&name)).map_err(failed)?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if begin.elapsed() > limits::LOGIN_LOCKED => {
                return Err(format!("another process has held {} for too long", PathBuf::from(&name).display()));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
