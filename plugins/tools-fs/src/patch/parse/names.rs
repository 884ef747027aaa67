//! File names in the headers of a diff: timestamps, quotes, and the `a/` and `b/` that may or may not be part of them.

/// The first parts of names that diff tools add; `a` and `b` by default, the others say index, working tree, commit, object.
const PREFIXES: [&str; 6] = ["a", "b", "i", "w", "c", "o"];

/// A name in a `---` or `+++` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `/dev/null`: there is no file on this side.
    Nothing,
    Path(String),
}

/// What stands behind `--- ` or `+++ `.
pub(super) fn header(text: &str) -> Result<Name, String> {
    let path = match quoted(text)? {
        Some((path, _)) => path,
        None => without_time(text).trim().to_owned(),
    };
    if path.is_empty() {
        return Err("the name of the file is missing".to_owned());
    }
    Ok(if path == "/dev/null" { Name::Nothing } else { Name::Path(path) })
}

/// What stands behind `rename from ` and `rename to `: a name to which nothing was added.
pub(super) fn exact(text: &str) -> Result<String, String> {
    Ok(quoted(text)?.map_or_else(|| text.to_owned(), |(path, _)| path))
}

/// The one name in `diff --git a/x b/x`. None where the sides differ, or where a space makes it unclear where they part.
pub(super) fn git(text: &str) -> Option<String> {
    if let Ok(Some((old, rest))) = quoted(text) {
        let new = rest.strip_prefix(' ')?;
        let new = quoted(new).ok()?.map_or_else(|| new.to_owned(), |(path, _)| path);
        return common(&old, &new).into_iter().next();
    }
    text.match_indices(' ').find_map(|(at, _)| common(&text[..at], &text[at + 1..]).into_iter().next())
}

/// What the file may be called of which the sides are `old` and `new`, likelier first: the name without the prefixes of
/// the tools before the name as it stands.
pub(super) fn common(old: &str, new: &str) -> Vec<String> {
    let new = forms(new);
    forms(old).into_iter().filter(|form| new.contains(form)).map(str::to_owned).collect()
}

/// A name without and with its first part, where that can be a prefix.
pub(super) fn forms(path: &str) -> Vec<&str> {
    let without = path.split_once('/').filter(|(first, rest)| PREFIXES.contains(first) && !rest.is_empty()).map(|(_, rest)| rest);
    without.into_iter().chain([path]).collect()
}

/// The name of a new file: there is no other side to compare with, and no file to look for.
pub(super) fn of_new_file(path: &str) -> &str {
    path.strip_prefix("b/").or_else(|| path.strip_prefix("w/")).filter(|rest| !rest.is_empty()).unwrap_or(path)
}

/// Cuts a timestamp off: after a tab, or as ` 2024-05-01 12:00:00`.
fn without_time(text: &str) -> &str {
    if let Some((path, _)) = text.split_once('\t') {
        return path;
    }
    let is_date = |text: &str| {
        let bytes = text.as_bytes();
        let shape = |pattern: &[u8], bytes: &[u8]| {
            pattern.iter().zip(bytes).all(|(want, is)| if *want == b'0' { is.is_ascii_digit() } else { want == is })
        };
        bytes.len() >= 16 && shape(b"0000-00-00 00:00", bytes)
    };
    text.match_indices(' ').find(|(at, _)| is_date(&text[at + 1..])).map_or(text, |(at, _)| &text[..at])
}

/// Reads a name in double quotes with the escapes of C, and says what follows it. None where there are no quotes.
fn quoted(text: &str) -> Result<Option<(String, &str)>, String> {
    let Some(inner) = text.strip_prefix('"') else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut rest = inner.bytes().enumerate();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => {
                let path = String::from_utf8(bytes).map_err(|_| "the quoted name is not UTF-8".to_owned())?;
                return Ok(Some((path, &inner[at + 1..])));
            }
            b'\\' => bytes.push(escaped(&mut rest).ok_or("the quoted name has an escape that is none of C's")?),
            byte => bytes.push(byte),
        }
    }
    Err("the quoted name has no closing quote".to_owned())
}

fn escaped(rest: &mut impl Iterator<Item = (usize, u8)>) -> Option<u8> {
    let digit = |first: u8| matches!(first, b'0'..=b'7').then_some(u32::from(first.wrapping_sub(b'0')));
    let (_, first) = rest.next()?;
    Some(match first {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'"' | b'\\' => first,
        _ => {
            let mut code = digit(first)?;
            for _ in 0..2 {
                code = code * 8 + digit(rest.next()?.1)?;
            }
            u8::try_from(code).ok()?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> String {
        match header(text).unwrap() {
            Name::Path(path) => path,
            Name::Nothing => panic!("{text} is no file"),
        }
    }

    #[test]
    fn times_and_quotes_are_not_part_of_a_name() {
        assert_eq!(path("a/x.txt\t2024-05-01 12:00:00.000000000 +0200"), "a/x.txt");
        assert_eq!(path("a/x y.txt 2024-05-01 12:00:00"), "a/x y.txt");
        assert_eq!(path("a/notes 2024-05-01.md"), "a/notes 2024-05-01.md");
        assert_eq!(path(r#""a/t\303\244st \"1\"\\.txt""#), "a/t\u{e4}st \"1\"\\.txt");
        assert_eq!(path("\"a/x\"\t2024"), "a/x");
        assert_eq!(header("/dev/null\t1970-01-01"), Ok(Name::Nothing));
        for wrong in ["", "  ", "\"a", r#""a\q""#, r#""\400""#, r#""\377""#, r#""\1""#] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prefixes_are_left_out_where_both_sides_then_agree() {
        assert_eq!(common("a/x", "b/x"), ["x"]);
        assert_eq!(common("i/src/x", "w/src/x"), ["src/x"]);
        assert_eq!(common("src/x", "src/x"), ["src/x"]);
        assert_eq!(common("a/x", "a/x"), ["x", "a/x"]);
        assert_eq!(common("x", "b/x"), ["x"]);
        assert!(common("a/x", "b/y").is_empty());
        assert_eq!(of_new_file("b/x"), "x");
        assert_eq!(of_new_file("a/x"), "a/x");
    }

    #[test]
    fn the_line_of_git_names_one_file() {
        assert_eq!(git("a/x y b/x y").as_deref(), Some("x y"));
        assert_eq!(git("src/x src/x").as_deref(), Some("src/x"));
        assert_eq!(git(r#""a/\303\244" "b/\303\244""#).as_deref(), Some("\u{e4}"));
        assert_eq!(git("a/x b/y"), None);
        assert_eq!(git(""), None);
    }
}
