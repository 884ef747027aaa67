//! Files as search results: the newest first.

use std::time::SystemTime;

use crate::files::Files;
use crate::paths::Place;

/// Names in one answer.
const MAX_NAMES: usize = 100;

/// The names of the newest of `found` (ties by path), and whether there are more. Only what was found is asked for its
/// time: a call per file is what makes a search slow.
pub(crate) fn newest_first(files: &dyn Files, found: &[Place]) -> (Vec<String>, bool) {
    let mut dated: Vec<(SystemTime, &Place)> =
        found.iter().map(|place| (files.stat(place).map_or(SystemTime::UNIX_EPOCH, |stat| stat.modified), place)).collect();
    dated.sort_unstable_by(|(one_time, one), (other_time, other)| other_time.cmp(one_time).then_with(|| one.cmp(other)));
    let names = dated.iter().take(MAX_NAMES).map(|(_, place)| place.to_string()).collect();
    (names, found.len() > MAX_NAMES)
}
