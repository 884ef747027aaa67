//! Finds the lines that a hunk names, although a model rarely copies white space and punctuation exactly.

/// The ways of comparing two lines, from the strictest on: a later one is tried only when no place fits the one before.
const PASSES: [fn(&str, &str) -> bool; 4] = [
    |line, wanted| line == wanted,
    |line, wanted| line.trim_end() == wanted.trim_end(),
    |line, wanted| line.trim() == wanted.trim(),
    |line, wanted| line.trim().chars().map(plain).eq(wanted.trim().chars().map(plain)),
];

/// The first place from `start` on where `lines` has the lines `wanted`; with `at_end` only the end of the file counts.
pub(crate) fn find(lines: &[&str], wanted: &[&str], start: usize, at_end: bool) -> Option<usize> {
    let last = lines.len().checked_sub(wanted.len())?;
    let first = if at_end { last.max(start) } else { start };
    if first > last {
        return None;
    }
    PASSES.iter().find_map(|same| (first..=last).find(|place| lines[*place..].iter().zip(wanted).all(|(line, wanted)| same(line, wanted))))
}

/// Every place from `start` on, but at most `most`, where `lines` has the lines `wanted`; all are found by the strictest
/// way that finds any.
pub(crate) fn places(lines: &[&str], wanted: &[&str], start: usize, at_end: bool, most: usize) -> Vec<usize> {
    let Some(last) = lines.len().checked_sub(wanted.len()) else { return Vec::new() };
    let first = if at_end { last.max(start) } else { start };
    let fits = |same: &fn(&str, &str) -> bool, place: usize| lines[place..].iter().zip(wanted).all(|(line, wanted)| same(line, wanted));
    let found = PASSES.iter().map(|same| (first..=last).filter(|place| fits(same, *place)).take(most).collect::<Vec<_>>());
    found.into_iter().find(|places| !places.is_empty()).unwrap_or_default()
}

/// Are the lines the same to anybody who does not look at white space?
pub(crate) fn alike(line: &str, wanted: &str) -> bool {
    PASSES[2](line, wanted)
}

/// A character as it would be typed on a plain keyboard.
fn plain(character: char) -> char {
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_forgives_more() {
        let lines = ["  a  ", "b\t", "it\u{2019}s \u{2014} x\u{a0}y"];
        assert_eq!(find(&lines, &["  a  "], 0, false), Some(0));
        assert_eq!(find(&lines, &["  a", "b"], 0, false), Some(0));
        assert_eq!(find(&lines, &["a"], 0, false), Some(0));
        assert_eq!(find(&lines, &["it's - x y"], 0, false), Some(2));
        assert_eq!(find(&lines, &["c"], 0, false), None);
    }

    #[test]
    fn an_exact_place_wins_over_an_earlier_loose_one() {
        assert_eq!(find(&[" a", "a"], &["a"], 0, false), Some(1));
    }

    #[test]
    fn all_places_are_found_by_one_way() {
        assert_eq!(places(&["a", " a", "a", "b"], &["a"], 0, false, 9), [0, 2]);
        assert_eq!(places(&["a", "a", "a"], &["a"], 1, false, 1), [1]);
        assert_eq!(places(&[" a", "a "], &["a"], 0, false, 9), [1]);
        assert_eq!(places(&["a", "b"], &["a"], 0, true, 9), [0; 0]);
        assert_eq!(places(&["a"], &["a", "b"], 0, false, 9), [0; 0]);
    }

    #[test]
    fn start_and_end_are_respected() {
        assert_eq!(find(&["a", "b", "a"], &["a"], 1, false), Some(2));
        assert_eq!(find(&["a", "b", "a"], &["a"], 0, true), Some(2));
        assert_eq!(find(&["a", "b"], &["a"], 0, true), None);
        assert_eq!(find(&["a"], &["a", "b"], 0, false), None);
        assert_eq!(find(&["a"], &["a"], 5, false), None);
    }
}
