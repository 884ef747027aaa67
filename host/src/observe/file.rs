//! The log's file, and those that were full: `stellaclaw.log`, `stellaclaw.log.1` and so on, newest first.
//!
//! A file that is full is moved aside between two lines, so every line is whole in one of them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::limits::{LOG_FILE_BYTES, LOG_FILES};

/// The name of the file that is written.
pub const NAME: &str = "stellaclaw.log";

/// The `age`-th file of a folder; 0 is the one that is written.
fn path(folder: &Path, age: usize) -> PathBuf {
    folder.join(if age == 0 { NAME.to_owned() } else { format!("{NAME}.{age}") })
}

/// The files that may be in a folder, newest first.
pub fn paths(folder: &Path) -> impl Iterator<Item = PathBuf> {
    (0..LOG_FILES).map(move |age| path(folder, age))
}

/// The file that is written.
#[derive(Debug)]
pub(super) struct LogFile {
    folder: PathBuf,
    file: File,
    length: u64,
    full: u64,
}

impl LogFile {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Self::with(folder, LOG_FILE_BYTES)
    }

    fn with(folder: &Path, full: u64) -> io::Result<Self> {
        let file = open(folder)?;
        let length = file.metadata()?.len();
        Ok(Self { folder: folder.to_owned(), file, length, full })
    }

    /// Appends a whole line.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length >= self.full {
            // What cannot be moved goes on where it is, and is tried again after as many bytes.
            self.length = 0;
            drop(self.move_aside());
        }
        self.length += line.len() as u64;
        self.file.write_all(line)
    }

    fn move_aside(&mut self) -> io::Result<()> {
        for age in (1..LOG_FILES).rev() {
            match fs::rename(path(&self.folder, age - 1), path(&self.folder, age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = open(&self.folder)?;
        Ok(())
    }
}

fn open(folder: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path(folder, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_kept_up_to_a_number_and_no_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::with(folder.path(), 10).unwrap();
        for line in 0..3 * LOG_FILES {
            log.append(format!("line {line:02}\n").as_bytes()).unwrap();
        }
        let read: Vec<_> = paths(folder.path()).map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), LOG_FILES);
        let last = 3 * LOG_FILES - 1;
        let newest: Vec<_> = read.iter().take(2).map(String::as_str).collect();
        assert!(newest[0].ends_with(&format!("line {last:02}\n")), "{newest:?}");
        assert!(read.iter().all(|text| text.lines().all(|line| line.len() == 7) && text.len() <= 16), "{read:?}");
        // A file that is full already, left by the run before.
        let mut log = LogFile::with(folder.path(), 8).unwrap();
        log.append(b"first of the next run\n").unwrap();
        assert_eq!(fs::read_to_string(path(folder.path(), 1)).unwrap(), read[0]);
    }

    #[test]
    fn what_cannot_be_moved_aside_goes_on_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::with(folder.path(), 4).unwrap();
        fs::create_dir_all(path(folder.path(), LOG_FILES - 1).join("in the way")).unwrap();
        fs::write(path(folder.path(), LOG_FILES - 2), "old").unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(path(folder.path(), 0)).unwrap(), "one\ntwo\nthree\n");
    }
}
