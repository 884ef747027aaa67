//! The checks that need no network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Check;
use crate::cli::components::Components;
use crate::cli::{Context, is_held};
use crate::config::{Config, SecretSource};
use crate::limits;
use crate::plugins::{self, State};
use crate::secrets::codex::Login;
use crate::store::{SCHEMA_VERSION, Store};
use crate::workdir::WorkDir;

/// Is the configuration right, and can only its owner change it?
pub(super) fn config(context: &Context, report: &mut Vec<Check>) -> Option<Config> {
    let config = match context.config() {
        Ok(config) => config,
        Err(error) => {
            let repair = "`stellaclaw config check` shows it again; example_config.toml has every key";
            report.push(Check::fail("configuration", error.to_string(), repair));
            return None;
        }
    };
    match &context.config_file {
        None => report.push(Check::ok("configuration", format!("none, the embedded default with model {}", config.default_model))),
        Some(path) => report.push(changeable(path).unwrap_or_else(|| Check::ok("configuration", path.display().to_string()))),
    }
    Some(config)
}

/// Can others change the configuration?
pub(in crate::cli) fn changeable(path: &Path) -> Option<Check> {
    let mode = mode(path).filter(|mode| mode & 0o022 != 0)?;
    let why = format!("{} can be changed by other users (mode {mode:03o})", path.display());
    Some(Check::warn("configuration", why, format!("chmod go-w {}", path.display())))
}

/// Is the work directory ours alone, of our version, held by at most one host, and its store whole?
pub(super) async fn workdir(context: &Context, report: &mut Vec<Check>) {
    let root = &context.workdir;
    if !root.exists() {
        report.push(Check::ok("work directory", format!("{} is made at the first start", root.display())));
        return;
    }
    let workdir = match WorkDir::existing(root) {
        Ok(workdir) => workdir,
        Err(error) => {
            report.push(Check::fail(
                "work directory",
                error.to_string(),
                "install the release that wrote it, or name another with --workdir",
            ));
            return;
        }
    };
    report.push(match mode(root) {
        Some(mode) if mode & 0o077 != 0 => {
            let why = format!("{} is open to other users (mode {mode:03o})", root.display());
            Check::warn("work directory", why, format!("chmod 700 {}", root.display()))
        }
        _ => Check::ok("work directory", format!("{}, version {SCHEMA_VERSION}", root.display())),
    });
    report.push(match is_held(&workdir) {
        Ok(true) => Check::ok("lock", "held by a running host"),
        Ok(false) => Check::ok("lock", "free, no host is running"),
        Err(error) => Check::fail("lock", error.to_string(), "make the work directory writable for this user"),
    });
    report.push(store(&workdir).await);
    report.push(code_cache(&workdir.cache()));
}

async fn store(workdir: &WorkDir) -> Check {
    const REPAIR: &str = "stop the host and restore a backup of the work directory";
    if !workdir.database().exists() {
        return Check::ok("store", "made at the first start");
    }
    let checked = match Store::open_read_only(workdir) {
        Ok(store) => store.check().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(checked) if checked.problems.is_empty() => {
            Check::ok("store", format!("whole: {} journal rows, {} blobs", checked.journal_rows, checked.blobs))
        }
        Ok(checked) => Check::fail("store", checked.problems.join("\n"), REPAIR),
        Err(error) => Check::fail("store", error.to_string(), REPAIR),
    }
}

/// Cached code is run as it is, so nobody else may write it.
fn code_cache(cache: &Path) -> Check {
    match mode(cache) {
        None => Check::ok("code cache", "made at the first start"),
        Some(mode) if mode & 0o022 != 0 => {
            let why = format!("{} can be changed by other users (mode {mode:03o})", cache.display());
            Check::fail("code cache", why, format!("rm -r {}; it is made again", cache.display()))
        }
        Some(_) => Check::ok("code cache", cache.display().to_string()),
    }
}

/// Is there room where the work directory is, or will be?
pub(super) fn disk(context: &Context, report: &mut Vec<Check>) {
    let existing = context.workdir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let free = match rustix::fs::statvfs(existing) {
        Ok(found) => found.f_bavail * found.f_frsize,
        Err(error) => {
            report.push(Check::fail("disk", format!("cannot see {}: {error}", existing.display()), "make it readable for this user"));
            return;
        }
    };
    let why = format!("{} MiB free at {}", free >> 20, existing.display());
    let repair = "free some space: with a full disk nothing is accepted any more";
    report.push(if free < limits::DISK_FULL_BYTES {
        Check::fail("disk", why, repair)
    } else if free < limits::DISK_LOW_BYTES {
        Check::warn("disk", why, repair)
    } else {
        Check::ok("disk", why)
    });
}

/// Can every secret be read, and by us alone?
pub(super) fn secrets(config: &Config, report: &mut Vec<Check>) {
    for (key, source) in config.secret_sources() {
        report.push(secret(key, source));
    }
}

fn secret(key: String, source: &SecretSource) -> Check {
    if let Err(error) = source.read() {
        let repair = match source {
            SecretSource::Env(name) => format!("set {name} where stellaclaw is started"),
            SecretSource::File(path) => format!("write it to {}, mode 600", path.display()),
            SecretSource::CodexAuth(path) => format!("`stellaclaw login codex --file {}`", path.display()),
        };
        return Check::fail(key, error.to_string(), repair);
    }
    match source {
        SecretSource::File(path) | SecretSource::CodexAuth(path) if mode(path).is_some_and(|mode| mode & 0o077 != 0) => {
            Check::warn(key, format!("{} can be read by other users", path.display()), format!("chmod 600 {}", path.display()))
        }
        SecretSource::CodexAuth(path) => login(key, path),
        _ => Check::ok(key, "can be read"),
    }
}

/// Until when is the login good, and is it renewed then?
fn login(key: String, path: &Path) -> Check {
    let Ok(login) = Login::read(path) else { return Check::ok(key, "can be read") };
    let until = login.expires().map_or_else(|| "has no end".to_owned(), |end| format!("its token ends {}", end.utc()));
    let who = login.email().or_else(|| login.account()).map(|who| format!(" of {who}")).unwrap_or_default();
    match login.refresh() {
        Some(_) => Check::ok(key, format!("a login{who}; {until}, and is renewed before")),
        None => {
            let repair = format!("`stellaclaw login codex --file {}`", path.display());
            Check::warn(key, format!("a login{who} that nothing can renew; {until}"), repair)
        }
    }
}

/// Does every component load, and is there one for every model?
pub(super) async fn components(context: &Context, config: &Config, report: &mut Vec<Check>) -> Option<Components> {
    let runtime = match Components::as_served(context, config) {
        Ok(runtime) => runtime,
        Err(error) => {
            report.push(Check::fail(
                "components",
                format!("{error:#}"),
                "make the work directory writable; else no component can run here",
            ));
            return None;
        }
    };
    runtime.plugins.wait_ready().await;
    for plugin in runtime.plugins.list() {
        let name = format!("component {}", plugin.name);
        let path = plugin.path.as_ref().map(|path| path.display().to_string());
        let place = path.as_deref().unwrap_or("bundled");
        report.push(match plugin.state {
            State::Ready => Check::ok(name, format!("{}, {place}", plugin.version.as_deref().unwrap_or("no version"))),
            State::Compiling => Check::warn(name, "still being compiled", "try again in a minute"),
            State::Refused { reason } if reason.starts_with("switched off") => Check::ok(name, reason.clone()),
            State::Refused { reason } if plugin.serving.is_some() => {
                let repair = path.map_or_else(String::new, |path| format!("replace {path}"));
                Check::warn(name, format!("{reason}\nthe bytes before go on serving"), repair)
            }
            State::Refused { reason } => {
                let repair = path.map_or_else(|| "install stellaclaw anew".to_owned(), |path| format!("replace or remove {path}"));
                Check::fail(name, reason, repair)
            }
            State::Waiting { reason, line, command: None } => Check::warn(name, reason, format!("add to the configuration: {line}")),
            State::Waiting { reason, command: Some(command), .. } => Check::warn(name, reason, command),
        });
    }
    for model in config.models.values() {
        if !runtime.plugins.list().iter().any(|plugin| plugin.name == model.provider) {
            let why = format!("there is no component {:?}", model.provider);
            report.push(Check::fail(format!("models.{}", model.alias), why, "`stellaclaw plugin list` shows those that there are"));
        }
        if let Err(problems) = runtime.plugins.check_options(model) {
            report.push(Check::fail(format!("models.{}", model.alias), problems, "correct or remove the options"));
        }
    }
    let found = runtime.plugins.list();
    for name in plugins::unknown_names(config, |name| found.iter().any(|plugin| plugin.name == name)) {
        let why = "no plugin has this name, so nothing of it has any effect";
        report.push(Check::warn(format!("plugins.{name}"), why, "`stellaclaw plugin list` shows those that there are"));
    }
    Some(runtime)
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_cache_that_others_can_write_fails_and_one_of_ours_does_not() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, level) in [(0o700, Level::Ok), (0o770, Level::Fail), (0o707, Level::Fail)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(code_cache(folder.path()).level, level, "{mode:o}");
        }
    }
}
