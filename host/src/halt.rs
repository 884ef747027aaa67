//! The operator's stop: while the file `stopped` is in the work directory no turn begins.
//!
//! The file is the whole truth: it holds without a host, across restarts, and for a host that does not answer. It is looked
//! at whenever a turn could begin. Turns that run are ended by whoever sets it (see `operator`).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use crate::clock::Moment;
use crate::workdir::WorkDir;

/// Since when everything is stopped; none: it is not. A file that cannot be read stops, too.
#[must_use]
pub fn since(workdir: &WorkDir) -> Option<Moment> {
    match fs::read_to_string(path(workdir)) {
        Ok(text) => Some(Moment(text.trim().parse().unwrap_or(0))),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => Some(Moment(0)),
    }
}

/// Stops everything. Durable when it returns; a stop that holds already keeps its beginning.
///
/// # Errors
///
/// The file cannot be written.
pub fn set(workdir: &WorkDir, at: Moment) -> io::Result<()> {
    if since(workdir).is_some() {
        return Ok(());
    }
    let temporary = workdir.root().join("stopped.new");
    let mut file = File::create(&temporary)?;
    file.write_all(format!("{}\n", at.0).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path(workdir))?;
    File::open(workdir.root())?.sync_all()
}

/// Ends the stop. Durable when it returns. False: nothing was stopped.
///
/// # Errors
///
/// The file cannot be removed.
pub fn lift(workdir: &WorkDir) -> io::Result<bool> {
    match fs::remove_file(path(workdir)) {
        Ok(()) => File::open(workdir.root())?.sync_all().map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn path(workdir: &WorkDir) -> PathBuf {
    workdir.root().join("stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_holds_until_it_is_lifted_and_keeps_its_beginning() {
        let root = tempfile::tempdir().unwrap();
        let workdir = WorkDir::open(root.path()).unwrap();
        assert!(since(&workdir).is_none() && !lift(&workdir).unwrap());
        set(&workdir, Moment(7)).unwrap();
        set(&workdir, Moment(9)).unwrap();
        assert_eq!(since(&workdir), Some(Moment(7)));
        assert!(lift(&workdir).unwrap() && since(&workdir).is_none());
        // A file that somebody made by hand stops, too.
        fs::write(path(&workdir), "").unwrap();
        assert!(since(&workdir).is_some());
    }
}
