//! Plain text of what Brave marks up: `<strong>` around what was found, and HTML's entities.

/// The longest name of an entity that is looked for, with `#` and hexadecimal digits.
const ENTITY_BYTES: usize = 8;

/// The text without tags, with the characters that entities stand for. Tags go first: what an entity spells is text.
#[must_use]
pub fn plain(marked: &str) -> String {
    decoded(&without_tags(marked))
}

fn without_tags(marked: &str) -> String {
    let mut text = String::with_capacity(marked.len());
    let mut rest = marked;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let is_tag = after.strip_prefix('/').unwrap_or(after).starts_with(|c: char| c.is_ascii_alphabetic());
        match after.find('>').filter(|_| is_tag) {
            Some(end) => rest = &after[end + 1..],
            None => {
                text.push('<');
                rest = after;
            }
        }
    }
    text + rest
}

fn decoded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let entity =
            after.bytes().take(ENTITY_BYTES + 1).position(|byte| byte == b';').and_then(|end| Some((character(&after[..end])?, end)));
        match entity {
            Some((character, end)) => {
                plain.push(character);
                rest = &after[end + 1..];
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

fn character(entity: &str) -> Option<char> {
    if let Some(number) = entity.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?).filter(|c| !c.is_control() || *c == '\n');
    }
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "middot" => '·',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "euro" => '€',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_go_and_entities_become_characters() {
        assert_eq!(plain("a <strong>red</strong> fox &amp; its den&#x27;s &#8364; &quot;door&quot;"), "a red fox & its den's € \"door\"");
        assert_eq!(
            plain("&lt;b&gt; is a tag, <b>this</b> too; 1 < 2 <3 & more &unknown; &#0; &"),
            "<b> is a tag, this too; 1 < 2 <3 & more &unknown; &#0; &"
        );
        assert_eq!(plain("&amp;amp; <strong"), "&amp; <strong");
    }

    proptest! {
        #[test]
        fn plain_text_stays_as_it_is(text in "[^<&]{0,60}") {
            prop_assert_eq!(plain(&text), text);
        }

        #[test]
        fn nothing_breaks_it(text in "[<>&;#xa-z0-9/é ]{0,60}") {
            prop_assert!(plain(&text).len() <= text.len());
        }
    }
}
