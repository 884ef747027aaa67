//! The directories of a call.

use std::cell::LazyCell;
use std::path::{Component, Path};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};

use super::outcome::error;
use crate::plugins::call::{CallContext, CallError, ErrorKind};
use crate::plugins::grants::{self, Grant, InnerPlan, MountPlan};
use crate::plugins::imports::filesystem::{InnerMount, MountPoint};
use crate::plugins::load::Serving;
use crate::plugins::policy::paths::Guarded;

/// Opens the directories of a call. A plugin that uses no files has none.
pub(super) fn open_mounts(
    serving: &Serving,
    grant: &Grant,
    context: Option<&CallContext>,
    guarded: impl Fn() -> Guarded,
) -> Result<Vec<MountPoint>, CallError> {
    let Some(data) = &serving.data else { return Ok(Vec::new()) };
    let opened = |path: &Path, opened: std::io::Result<Dir>| {
        opened.map(Arc::new).map_err(|source| {
            tracing::error!(path = %path.display(), error = %source, "a directory of a call cannot be opened");
            error(ErrorKind::Unavailable, "one of the directories of this conversation cannot be opened; the log says which".into())
        })
    };
    let mounted = |path: &Path| context.is_some_and(|context| context.places.mounts.iter().any(|mount| mount.path == path));
    let guarded = LazyCell::new(guarded);
    // It may hold by now what it did not when it was mounted.
    let allowed = |path: &Path| {
        guarded.check(path).map_err(|refusal| {
            tracing::error!(%refusal, "a directory of a call is not opened any more");
            let message = "one of the directories of this conversation holds what no plugin may see; the log says which";
            error(ErrorKind::Denied, message.into())
        })
    };
    let open = |path: &Path| match mounted(path) {
        true => allowed(path).and_then(|()| opened(path, open_as_written(path))),
        false => opened(path, Dir::open_ambient_dir(path, ambient_authority())),
    };
    let mut points = Vec::new();
    for MountPlan { path, guests, writable, key, inner } in
        grants::mounts(grant, context.map(|context| &context.places), Some(data.path.clone()))
    {
        let budget = (path == data.path).then(|| data.budget.clone());
        let dir = if budget.is_some() { opened(&path, data.open()) } else { open(&path) }?;
        let inner = inner
            .into_iter()
            .map(|InnerPlan { name, path, writable, key }| Ok(InnerMount { path: name, dir: open(&path)?, writable, key }))
            .collect::<Result<Vec<_>, CallError>>()?;
        points.extend(guests.into_iter().map(|guest| MountPoint {
            guest,
            dir: dir.clone(),
            writable,
            key: key.clone(),
            inner: inner.clone(),
            budget: budget.clone(),
        }));
    }
    Ok(points)
}

/// Opens a directory whose path had no link in it when it was allowed. A guest may write where a part of it lies: a link that
/// stands there now would lead wherever it likes.
fn open_as_written(path: &Path) -> std::io::Result<Dir> {
    let enter = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::open("/", enter, Mode::empty())?;
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => at = rustix::fs::openat(&at, name, enter, Mode::empty())?,
            _ => return Err(std::io::ErrorKind::InvalidInput.into()),
        }
    }
    let read = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Dir::from_std_file(rustix::fs::openat(&at, ".", read, Mode::empty())?.into()))
}
