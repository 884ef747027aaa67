//! What a call has used of its quotas, what it was refused, and what a bounded directory holds.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Dir, MetadataExt as _};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::convert::{self, Identity};
use super::{Denial, FileLimits};
use crate::limits;

/// What one call has used and was refused. Streams outlive the borrow of the table, hence the sharing.
pub(super) struct Charges {
    limits: FileLimits,
    written: AtomicU64,
    created: AtomicU64,
    open: AtomicU64,
    denials: Mutex<Vec<Denial>>,
}

impl Charges {
    pub fn new(limits: FileLimits) -> Self {
        Self { limits, written: AtomicU64::new(0), created: AtomicU64::new(0), open: AtomicU64::new(0), denials: Mutex::default() }
    }

    /// Charges bytes before they are written.
    pub fn write(&self, bytes: u64) -> io::Result<()> {
        take(&self.written, bytes, self.limits.written_bytes).ok_or_else(over_quota)
    }

    /// Charges an entry before it is created.
    pub fn create(&self) -> io::Result<()> {
        take(&self.created, 1, self.limits.created_entries).ok_or_else(over_quota)
    }

    /// Gives back the charge of an entry that was not created after all.
    pub fn not_created(&self) {
        self.created.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn deny(&self, operation: &'static str, path: String, key: Option<&str>) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        if denials.len() < limits::FILE_DENIALS {
            let path = match path.floor_char_boundary(limits::DENIED_PATH_BYTES) {
                end if end < path.len() => format!("{}…", &path[..end]),
                _ => path,
            };
            denials.push(Denial { operation, path, key: key.map(str::to_owned) });
        }
    }

    pub fn denials(&self) -> Vec<Denial> {
        self.denials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub fn created_entries(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }
}

/// An open file or directory of a call, counted until the last use of it is dropped.
pub(super) struct Opened(Arc<Charges>);

impl Opened {
    /// Counts one more.
    pub fn count(charges: &Arc<Charges>) -> io::Result<Self> {
        take(&charges.open, 1, limits::OPEN_FILES as u64).ok_or_else(over_quota)?;
        Ok(Self(charges.clone()))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a directory may hold in total, shared by every call that sees it: the sizes of its files, and
/// [`limits::DATA_ENTRY_BYTES`] for each entry, so that their number is bounded too. Counted once; afterwards every change
/// through this delegate is added and subtracted. A file that is open when its last name goes counts until it is closed.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    used: AtomicU64,
    /// How often each file is open. Held from looking at a size or a name to changing it: two calls that cut one file
    /// would both count it as their gain.
    open: Mutex<HashMap<Identity, usize>>,
}

impl Budget {
    /// Counts what `dir` holds now.
    pub fn measure(dir: &Dir, limit_bytes: u64) -> io::Result<Self> {
        Ok(Self { limit_bytes, used: AtomicU64::new(held(dir)?), open: Mutex::default() })
    }

    /// Counts anew what `dir` holds: it is another directory than the one that was measured.
    pub fn measure_again(&self, dir: &Dir) -> io::Result<()> {
        self.used.store(held(dir)?, Ordering::Relaxed);
        Ok(())
    }

    /// What the directory holds.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn changing(&self) -> Changing<'_> {
        Changing { budget: self, open: self.open.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn grow(&self, bytes: u64) -> io::Result<()> {
        take(&self.used, bytes, self.limit_bytes).ok_or_else(over_quota)
    }

    pub(super) fn shrink(&self, bytes: u64) {
        // Files that were written around this delegate are not counted, so the sum can fall short.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(bytes)));
    }
}

/// The right to change sizes and names below a bounded directory, until it is dropped.
pub(super) struct Changing<'a> {
    budget: &'a Budget,
    open: MutexGuard<'a, HashMap<Identity, usize>>,
}

impl Changing<'_> {
    /// A file was opened.
    pub fn opened(&mut self, identity: Identity) {
        *self.open.entry(identity).or_default() += 1;
    }

    /// A file was closed, of which the kernel said this just before.
    pub fn closed(&mut self, identity: Identity, last: Option<&Stat>) {
        if let Entry::Occupied(mut entry) = self.open.entry(identity) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
                if let Some(nameless) = last.filter(|last| last.st_nlink == 0) {
                    self.budget.shrink(convert::size(nameless));
                }
            }
        }
    }

    /// An entry is gone, and with the last name of a file that nobody has open its contents.
    pub fn removed(&mut self, entry: &Stat) {
        self.budget.shrink(limits::DATA_ENTRY_BYTES);
        let last = entry.st_nlink <= 1 && !self.open.contains_key(&convert::identity(entry));
        if last && convert::file_type(entry) == FileType::RegularFile {
            self.budget.shrink(convert::size(entry));
        }
    }
}

/// Adds `amount` if the sum stays within `limit`.
fn take(counter: &AtomicU64, amount: u64, limit: u64) -> Option<()> {
    let sum = |used: u64| used.checked_add(amount).filter(|sum| *sum <= limit);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).ok().map(drop)
}

pub(super) fn over_quota() -> io::Error {
    Errno::DQUOT.into()
}

/// The entries below `dir`, and the sizes of its files; a file with several names once.
fn held(dir: &Dir) -> io::Result<u64> {
    let mut sum = 0_u64;
    let mut linked = HashSet::new();
    // Opened one at a time: there may be more directories than a process may have open.
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        for entry in dir.read_dir(&path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            sum = sum.saturating_add(limits::DATA_ENTRY_BYTES);
            if kind.is_dir() {
                waiting.push(path.join(entry.file_name()));
            } else if kind.is_file() {
                let file = entry.metadata()?;
                if file.nlink() <= 1 || linked.insert((file.dev(), file.ino())) {
                    sum = sum.saturating_add(file.len());
                }
            }
        }
    }
    Ok(sum)
}
