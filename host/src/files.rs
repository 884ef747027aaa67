//! Reading files that stand where somebody else may put anything: only regular ones, without waiting, and only so much.
//!
//! Opening a pipe would wait for its writer, and a device has no end. What a network file system makes wait cannot be helped
//! here: hold no lock meanwhile.

pub(crate) mod durable;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a regular file")]
    NotAFile,
    #[error("it has over {0} bytes")]
    TooLarge(u64),
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Opens a regular file.
///
/// # Errors
/// Those of opening it; it is something else.
pub fn open(path: &Path) -> Result<File, FileError> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(FileError::NotAFile) }
}

/// The rest of a file of at most `most` bytes.
///
/// # Errors
/// Those of reading it; it has more.
pub fn rest(file: &mut File, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(FileError::TooLarge(most)) } else { Ok(bytes) }
}

/// A regular file of at most `most` bytes of text.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where the file is no such file; other kinds where it could not be read.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = rest(&mut open(path)?, most)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nobody_waits_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("text"), "12345").unwrap();
        assert_eq!(text(&path("text"), 5).unwrap(), "12345");
        assert_eq!(text(&path("text"), 4).unwrap_err().to_string(), "it has over 4 bytes");
        std::fs::write(path("bytes"), b"\xff").unwrap();
        assert_eq!(text(&path("bytes"), 9).unwrap_err().to_string(), "it is not UTF-8");
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for other in [path("pipe"), dir.path().to_owned(), "/dev/zero".into()] {
            let refused = text(&other, 9).unwrap_err();
            assert_eq!((refused.kind(), refused.to_string().as_str()), (io::ErrorKind::InvalidData, "not a regular file"));
        }
        assert_eq!(text(&path("missing"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
