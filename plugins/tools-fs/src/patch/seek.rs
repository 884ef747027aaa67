//! Finds the lines that a hunk names, although a model rarely copies white space and punctuation exactly.

use std::borrow::Cow;

/// What is compared of a line, from the strictest way on: a later one is tried only when no place fits the one before.
const PASSES: [fn(&str) -> Cow<'_, str>; 4] =
    [|line| line.into(), |line| line.trim_end().into(), |line| line.trim().into(), |line| typed(line.trim())];

/// The first place from `start` on where `lines` has the lines `wanted`; with `at_end` only the end of the file counts.
pub(crate) fn find(lines: &[&str], wanted: &[&str], start: usize, at_end: bool) -> Option<usize> {
    places(lines, wanted, start, at_end, 1).first().copied()
}

/// Every place from `start` on, but at most `most`, where `lines` has the lines `wanted`; all are found by the strictest
/// way that finds any. No lines stand nowhere.
pub(crate) fn places(lines: &[&str], wanted: &[&str], start: usize, at_end: bool, most: usize) -> Vec<usize> {
    let Some(last) = lines.len().checked_sub(wanted.len()) else { return Vec::new() };
    let first = if at_end { last.max(start) } else { start };
    if first > last || wanted.is_empty() {
        return Vec::new();
    }
    let found = PASSES.iter().map(|compared| {
        let wanted: Vec<_> = wanted.iter().map(|line| compared(line)).collect();
        let text = lines[first..].iter().map(|line| compared(line));
        occurrences(text, &wanted).map(|place| first + place).take(most).collect::<Vec<_>>()
    });
    found.into_iter().find(|places| !places.is_empty()).unwrap_or_default()
}

/// Where `wanted`, which is not empty, stands in `text`, places that overlap too. By Knuth, Morris and Pratt: a long run of
/// equal lines is no more work than other lines.
fn occurrences<'a>(text: impl Iterator<Item = Cow<'a, str>>, wanted: &[Cow<'_, str>]) -> impl Iterator<Item = usize> {
    let borders = borders(wanted);
    let mut matched = 0;
    text.enumerate().filter_map(move |(at, line)| {
        while matched > 0 && wanted.get(matched) != Some(&line) {
            matched = borders[matched - 1];
        }
        matched += usize::from(wanted.get(matched) == Some(&line));
        (matched == wanted.len()).then(|| at + 1 - matched)
    })
}

/// For each beginning of `wanted` how many of its last lines are also its first ones, itself apart.
fn borders(wanted: &[Cow<'_, str>]) -> Vec<usize> {
    let mut borders = vec![0; wanted.len()];
    let mut matched: usize = 0;
    for at in 1..wanted.len() {
        while matched > 0 && wanted[at] != wanted[matched] {
            matched = borders[matched - 1];
        }
        matched += usize::from(wanted[at] == wanted[matched]);
        borders[at] = matched;
    }
    borders
}

/// Are the lines the same to anybody who does not look at white space?
pub(crate) fn alike(line: &str, wanted: &str) -> bool {
    line.trim() == wanted.trim()
}

/// A line as it would be typed on a plain keyboard.
fn typed(line: &str) -> Cow<'_, str> {
    if line.chars().all(|character| plain(character) == character) { line.into() } else { line.chars().map(plain).collect() }
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

    /// As it would be said in one line: each place, each line.
    fn plainly(lines: &[&str], wanted: &[&str], start: usize, most: usize) -> Vec<usize> {
        let fits =
            |place: usize, compared: fn(&str) -> Cow<'_, str>| wanted.iter().zip(&lines[place..]).all(|(a, b)| compared(a) == compared(b));
        let last = (lines.len() + 1).saturating_sub(wanted.len());
        let found = PASSES.iter().map(|compared| (start..last).filter(|place| fits(*place, *compared)).take(most).collect::<Vec<_>>());
        found.into_iter().find(|places| !places.is_empty()).unwrap_or_default()
    }

    proptest::proptest! {
        #[test]
        fn the_same_places_are_found_as_by_looking_at_each(
            lines in proptest::collection::vec(proptest::sample::select(vec!["a", "a ", " a", "b", "\u{2014}", "-"]), 0..40),
            wanted in proptest::collection::vec(proptest::sample::select(vec!["a", "a ", "b", "-"]), 1..6),
            start in 0..10_usize,
            most in 1..5_usize,
        ) {
            proptest::prop_assert_eq!(places(&lines, &wanted, start, false, most), plainly(&lines, &wanted, start, most));
        }
    }

    #[test]
    fn a_long_run_of_equal_lines_is_looked_at_once() {
        let lines = vec!["}"; 400_000];
        let mut wanted = vec!["}"; 200_000];
        wanted.push("{");
        assert_eq!(places(&lines, &wanted, 0, false, 9), [0; 0], "forty thousand million comparisons would not end");
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
