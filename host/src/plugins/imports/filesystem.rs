//! `wasi:filesystem` over directories beneath granted roots: a thin delegate on cap-std.
//!
//! - A path never leads out of its root: every lookup is `openat2(RESOLVE_BENEATH)` (cap-std's fallback on old kernels),
//!   and everything that changes a directory names one entry of a directory that was opened that way.
//! - Only regular files and directories can be opened. The opened handle is checked, and `O_NONBLOCK` keeps the opening
//!   of a FIFO or a device from waiting.
//! - Bytes written and entries created are charged to the call; a directory with a [`Budget`] also bounds what it holds.
//! - A refusal that the operator could lift is recorded with the config line that lifts it.
//! - Calls block the thread they run on. That thread belongs to the call, and a hop per call would cost ten times more.
//!
//! An inner mount (`shared`, `mounts/NAME`) stands in the workspace as a real empty directory. It is replaced by its
//! target when it is opened, and cannot be removed or renamed. Between two roots nothing can be renamed or linked
//! (`cross-device`), and `..` does not lead from an inner mount's own descriptor into the workspace.
//!
//! What it does not do: see hard links. One that exists inside a root is readable like any file; a guest cannot make one
//! to the outside. Nor does it change permissions, which WASI has no notion of; a file that is renamed over another takes
//! its permission bits over.

#![deny(clippy::disallowed_methods, reason = "guests write below these roots")]

mod convert;
mod descriptor;
mod entries;
mod named;
mod open;
mod place;
mod quota;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cap_std::fs::Dir;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::sync::filesystem::types;

use entries::Listed;
use place::Root;
pub use quota::Budget;
use quota::Charges;

/// The state of a store that has files.
pub trait HasFiles: Send {
    fn files(&mut self) -> FileView<'_>;
}

/// What the imports of one call work on.
pub struct FileView<'a> {
    pub files: &'a mut Files,
    pub table: &'a mut ResourceTable,
}

/// A preopened directory.
#[derive(Clone)]
pub struct MountPoint {
    /// `.`, `/workspace`, `/data`, `/skill`. Two mount points with the same `dir` (by `Arc`) are one place.
    pub guest: String,
    pub dir: Arc<Dir>,
    pub writable: bool,
    /// The config line that would make it writable.
    pub key: String,
    /// Directories that appear inside it.
    pub inner: Vec<InnerMount>,
    /// A bound on what it holds in total, shared by all calls.
    pub budget: Option<Arc<Budget>>,
}

/// A directory that appears inside a mount point, in place of a real empty directory.
#[derive(Clone)]
pub struct InnerMount {
    /// `shared` or `mounts/NAME`.
    pub path: String,
    pub dir: Arc<Dir>,
    pub writable: bool,
    /// The config line that would make it writable.
    pub key: String,
}

/// What one call may use.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    pub written_bytes: u64,
    pub created_entries: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { written_bytes: crate::limits::WRITTEN_BYTES, created_entries: crate::limits::CREATED_ENTRIES }
    }
}

/// A refusal: what was tried, on what, and what would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub operation: &'static str,
    /// As the guest sees it.
    pub path: String,
    /// The config line that would allow it; none: nothing would.
    pub key: Option<String>,
}

/// The files of one call.
pub struct Files {
    /// The guest's names for the roots, in the order they were given.
    preopens: Vec<(String, Arc<Root>)>,
    charges: Arc<Charges>,
    /// What was looked at last: guests ask for an entry's identity right after they saw it.
    listed: Option<Listed>,
    /// The guest has asked which directories it has.
    looked: bool,
}

impl Files {
    /// The files below `mounts`, within `limits`.
    #[must_use]
    pub fn new(mounts: Vec<MountPoint>, limits: FileLimits) -> Self {
        let mut preopens: Vec<(String, Arc<Root>)> = Vec::with_capacity(mounts.len());
        let mut places: Vec<(Arc<Dir>, Arc<Root>)> = Vec::with_capacity(mounts.len());
        for mount in mounts {
            let known = places.iter().find(|(dir, _)| Arc::ptr_eq(dir, &mount.dir)).map(|(_, root)| root.clone());
            let guest = mount.guest.clone();
            let root = known.unwrap_or_else(|| {
                let dir = mount.dir.clone();
                let root = Arc::new(Root::new(mount));
                places.push((dir, root.clone()));
                root
            });
            preopens.push((guest, root));
        }
        Self { preopens, charges: Arc::new(Charges::new(limits)), listed: None, looked: false }
    }

    /// Did the guest look for its directories?
    #[must_use]
    pub fn looked(&self) -> bool {
        self.looked
    }

    /// What was refused, oldest first; the first few of a call.
    #[must_use]
    pub fn denials(&self) -> Vec<Denial> {
        self.charges.denials()
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.charges.written_bytes()
    }

    /// Entries created so far.
    #[must_use]
    pub fn created_entries(&self) -> u64 {
        self.charges.created_entries()
    }
}

struct HasFileView;

impl HasData for HasFileView {
    type Data<'a> = FileView<'a>;
}

/// Links `wasi:filesystem/types` and `/preopens`.
pub fn add_to_linker<T: HasFiles + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, HasFileView>(linker, T::files)?;
    preopens::add_to_linker::<T, HasFileView>(linker, T::files)
}
