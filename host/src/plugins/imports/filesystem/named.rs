//! Files that a guest names in its answer: opened by the host beneath the mounts of the call, which the guest could read itself.

use std::fs::File;
use std::io;
use std::sync::Arc;

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use rustix::fs::{FileType, OFlags};

use super::Files;
use super::convert::file_type;
use super::place::{self, Root, flags};

impl Files {
    /// Opens a regular file by a path as the guest writes it: from its working directory, or from one of its mounts.
    ///
    /// # Errors
    /// There is none, it is something else, or the path leads out of the mount.
    pub fn named(&self, path: &str) -> io::Result<File> {
        let (root, rest) = self.place(path).ok_or(io::ErrorKind::NotFound)?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags(OFlags::empty()));
        let (_, file, stat) = root.directory()?.open(rest, &options)?;
        match file_type(&stat) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// The mount of a path, and the path in it.
    fn place<'a>(&self, path: &'a str) -> Option<(&Arc<Root>, &'a str)> {
        let mounts = self.preopens.iter();
        let mut found = mounts.filter_map(|(guest, root)| match path.starts_with('/') {
            true => Some((root, place::beneath(path, guest)?)),
            false => (guest == ".").then_some((root, path)),
        });
        found.next().map(|(root, rest)| (root, if rest.is_empty() { "." } else { rest }))
    }
}
