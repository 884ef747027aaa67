//! When a file is whole, decided without touching one.
//!
//! A file that changed a moment ago may be half of what it is going to be. It has settled when it looked the same for
//! [`SETTLE`]; until then what had settled before stands. That goes for a file that is gone, too: who replaces one may
//! remove it first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits::SETTLE;

/// Of two looks at a path with equal stamps, nothing was written in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// The files that there are.
pub(super) type Listing = BTreeMap<PathBuf, Stamp>;

/// What has settled, and what has not yet.
#[derive(Debug, Default)]
pub(super) struct Settle {
    settled: Listing,
    /// How a path looks now, and since when.
    moving: BTreeMap<PathBuf, (Option<Stamp>, Duration)>,
}

impl Settle {
    /// Takes what is there as settled.
    pub fn new(settled: Listing) -> Self {
        Self { settled, moving: BTreeMap::new() }
    }

    /// What the files look like `now`. True: something else has settled.
    pub fn observe(&mut self, now: Duration, seen: &Listing) -> bool {
        let mut changed = false;
        let paths: BTreeSet<_> = self.settled.keys().chain(self.moving.keys()).chain(seen.keys()).cloned().collect();
        for path in paths {
            let stamp = seen.get(&path).copied();
            if self.settled.get(&path).copied() == stamp {
                self.moving.remove(&path);
                continue;
            }
            match self.moving.get(&path) {
                Some((known, since)) if *known == stamp => {
                    if now.saturating_sub(*since) >= SETTLE {
                        self.moving.remove(&path);
                        match stamp {
                            Some(stamp) => self.settled.insert(path, stamp),
                            None => self.settled.remove(&path),
                        };
                        changed = true;
                    }
                }
                _ => drop(self.moving.insert(path, (stamp, now))),
            }
        }
        changed
    }

    /// When something may settle that has not.
    pub fn due(&self) -> Option<Duration> {
        self.moving.values().map(|(_, since)| *since + SETTLE).min()
    }

    pub fn settled(&self) -> &Listing {
        &self.settled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(version: u64) -> Stamp {
        Stamp { size: version, ..Stamp::default() }
    }

    fn listing(files: &[(&str, u64)]) -> Listing {
        files.iter().map(|(name, version)| (PathBuf::from(name), stamp(*version))).collect()
    }

    #[test]
    fn a_copy_in_pieces_settles_once_and_replaces_nothing_before() {
        let mut settle = Settle::new(listing(&[("a", 1)]));
        let half = SETTLE / 2;
        for piece in 2..10 {
            assert!(!settle.observe(half * u32::try_from(piece).unwrap(), &listing(&[("a", piece)])));
            assert_eq!(settle.settled(), &listing(&[("a", 1)]));
        }
        assert_eq!(settle.due(), Some(half * 9 + SETTLE));
        assert!(settle.observe(half * 11, &listing(&[("a", 9)])));
        assert_eq!((settle.settled(), settle.due()), (&listing(&[("a", 9)]), None));
        assert!(!settle.observe(half * 50, &listing(&[("a", 9)])));
    }

    #[test]
    fn removed_and_made_again_is_one_change() {
        let mut settle = Settle::new(listing(&[("a", 1)]));
        assert!(!settle.observe(SETTLE, &listing(&[])));
        assert!(!settle.observe(SETTLE + SETTLE / 2, &listing(&[("a", 2)])));
        assert_eq!(settle.settled(), &listing(&[("a", 1)]));
        assert!(settle.observe(3 * SETTLE, &listing(&[("a", 2)])));
        assert!(!settle.observe(4 * SETTLE, &listing(&[])));
        assert!(settle.observe(5 * SETTLE, &listing(&[])));
        assert!(settle.settled().is_empty());
    }

    proptest! {
        /// Whatever happens to files: what has settled was there unchanged for long enough, and what stays settles.
        #[test]
        fn only_what_stays_the_same_settles_and_it_does(
            looks in prop::collection::vec((1..400u64, prop::collection::btree_map(0..3u8, 1..4u64, 0..3)), 1..40)
        ) {
            let named = |files: &BTreeMap<u8, u64>| -> Listing {
                files.iter().map(|(name, version)| (PathBuf::from(name.to_string()), stamp(*version))).collect()
            };
            let (mut settle, mut now) = (Settle::default(), Duration::ZERO);
            let mut history: Vec<(Duration, Listing)> = Vec::new();
            for (pause, files) in &looks {
                now += Duration::from_millis(*pause);
                let seen = named(files);
                history.push((now, seen.clone()));
                let before = settle.settled().clone();
                let changed = settle.observe(now, &seen);
                prop_assert_eq!(changed, *settle.settled() != before);
                for path in before.keys().chain(settle.settled().keys()) {
                    if before.get(path) == settle.settled().get(path) {
                        continue;
                    }
                    // At every look of the last SETTLE, and for at least so long, it was what it is now.
                    let same = history.iter().rev().take_while(|(_, files)| files.get(path) == settle.settled().get(path));
                    let since = same.last().map(|(at, _)| *at);
                    prop_assert!(since.is_some_and(|since| now - since >= SETTLE));
                }
                prop_assert!(settle.due().is_none_or(|due| due > now));
            }
            let last = named(&looks.last().unwrap().1);
            settle.observe(now + SETTLE, &last);
            prop_assert_eq!(settle.settled(), &last);
            prop_assert_eq!(settle.due(), None);
        }
    }
}
