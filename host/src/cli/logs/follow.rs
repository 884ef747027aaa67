//! Following the host's log through the files that it is kept in.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::observe;

/// A place in the log. What cannot be read is not shown.
#[derive(Debug)]
pub(in crate::cli) struct Followed {
    folder: PathBuf,
    /// None: there was no log yet.
    file: Option<File>,
    /// The beginning of a line that is still being written.
    rest: Vec<u8>,
}

impl Followed {
    /// After everything that is there.
    pub(in crate::cli) fn at_the_end(folder: &Path) -> Self {
        let file = File::open(folder.join(observe::NAME)).ok().filter(|mut file| file.seek(SeekFrom::End(0)).is_ok());
        Self { folder: folder.to_owned(), file, rest: Vec::new() }
    }

    /// After the last `count` lines that are `wanted`, and those lines. Reads as few files as it can.
    pub(super) fn after(folder: &Path, count: usize, wanted: &dyn Fn(&str) -> bool) -> (Vec<String>, Self) {
        let mut place = Self { folder: folder.to_owned(), file: None, rest: Vec::new() };
        let mut found = Vec::new();
        let mut seen = Vec::new();
        for path in observe::paths(folder) {
            // While this reads, a file may move on to the next name.
            let Ok(file) = File::open(path) else { continue };
            let Some(inode) = inode(&file).filter(|inode| !seen.contains(inode)) else { continue };
            seen.push(inode);
            let mut older = Self { folder: PathBuf::new(), file: Some(file), rest: Vec::new() };
            let mut lines = older.rest_of_file();
            lines.retain(|line| wanted(line));
            lines.append(&mut found);
            found = lines.split_off(lines.len().saturating_sub(count));
            if place.file.is_none() {
                (place.file, place.rest) = (older.file, older.rest);
            }
            if found.len() == count {
                break;
            }
        }
        (found, place)
    }

    /// The whole lines since the last time.
    pub(in crate::cli) fn new_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            // In this order: who was moved aside is not written any more.
            let next = self.next();
            lines.extend(self.rest_of_file());
            match next {
                Some(next) => self.file = Some(next),
                None => return lines,
            }
        }
    }

    fn rest_of_file(&mut self) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.rest);
        if let Some(file) = &mut self.file {
            let _ = file.read_to_end(&mut bytes);
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// The file that was begun after this one; the oldest, when this one is gone.
    fn next(&self) -> Option<File> {
        let own = self.file.as_ref().and_then(inode);
        let mut newer = None;
        for path in observe::paths(&self.folder) {
            let Ok(found) = fs::metadata(&path) else { continue };
            if Some(found.ino()) == own {
                break;
            }
            newer = Some(path);
        }
        newer.and_then(|path| File::open(path).ok())
    }
}

fn inode(file: &File) -> Option<u64> {
    file.metadata().ok().map(|found| found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn append(&self, text: &str) {
            let file = File::options().create(true).append(true).open(self.0.path().join(observe::NAME));
            std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
        }

        fn rotate(&self) {
            let paths: Vec<_> = observe::paths(self.0.path()).collect();
            for pair in paths.windows(2).rev().filter(|pair| pair[0].exists()) {
                fs::rename(&pair[0], &pair[1]).unwrap();
            }
        }
    }

    #[test]
    fn whole_lines_are_shown_once_also_of_the_files_after() {
        let log = Log::new();
        log.append("old\n");
        let mut followed = Followed::at_the_end(log.0.path());
        log.append("one\ntw");
        assert_eq!(followed.new_lines(), ["one"]);
        log.append("o\n");
        assert_eq!(followed.new_lines(), ["two"]);
        log.append("three\n");
        log.rotate();
        log.append("four\n");
        log.rotate();
        log.append("five\n");
        assert_eq!(followed.new_lines(), ["three", "four", "five"]);
        assert!(followed.new_lines().is_empty());
        log.rotate();
        assert!(followed.new_lines().is_empty(), "there is no next file yet");
        log.append("six\n");
        assert_eq!(followed.new_lines(), ["six"]);
    }

    #[test]
    fn a_log_that_was_not_there_yet_is_shown_whole() {
        let log = Log::new();
        let mut followed = Followed::at_the_end(log.0.path());
        assert!(followed.new_lines().is_empty());
        log.append("one\n");
        log.rotate();
        log.append("two\n");
        assert_eq!(followed.new_lines(), ["one", "two"]);
    }

    #[test]
    fn the_last_lines_come_from_as_many_files_as_it_takes() {
        let log = Log::new();
        for line in ["a1\nb1\na2\n", "b2\na3\n", "a4\nb"] {
            log.rotate();
            log.append(line);
        }
        let last = |count, wanted: &str| Followed::after(log.0.path(), count, &|line| line.starts_with(wanted)).0;
        assert_eq!(last(2, "a"), ["a3", "a4"]);
        assert_eq!(last(3, "a"), ["a2", "a3", "a4"]);
        assert_eq!(last(9, "b"), ["b1", "b2"]);
        assert!(last(0, "a").is_empty());
        let (_, mut followed) = Followed::after(log.0.path(), 1, &|_| true);
        log.append("3\n");
        assert_eq!(followed.new_lines(), ["b3"]);
    }
}
