//! Texts with entities: lengths in UTF-16 units, offsets, nesting.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refusal;
use crate::fake_telegram::limits;

/// A piece of formatting, or something that a client found in the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    #[serde(rename = "type")]
    pub kind: Kind,
    /// In UTF-16 units.
    pub offset: usize,
    /// In UTF-16 units.
    pub length: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_emoji_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_time_format: Option<String>,
}

/// What an entity does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Mention,
    Hashtag,
    Cashtag,
    BotCommand,
    Url,
    Email,
    PhoneNumber,
    Bold,
    Italic,
    Underline,
    Strikethrough,
    Spoiler,
    Blockquote,
    ExpandableBlockquote,
    Code,
    Pre,
    TextLink,
    TextMention,
    CustomEmoji,
    DateTime,
}

impl Kind {
    fn is_style(self) -> bool {
        matches!(self, Self::Bold | Self::Italic | Self::Underline | Self::Strikethrough | Self::Spoiler)
    }

    fn is_code(self) -> bool {
        matches!(self, Self::Code | Self::Pre)
    }

    fn is_quote(self) -> bool {
        matches!(self, Self::Blockquote | Self::ExpandableBlockquote)
    }

    /// May an entity of the other kind lie in one of this kind?
    fn may_hold(self, inner: Self) -> bool {
        if self.is_code() || (self.is_quote() && inner.is_quote()) {
            return false;
        }
        if inner.is_code() {
            return self.is_quote();
        }
        self.is_style() || self.is_quote() || inner.is_style()
    }
}

impl Entity {
    #[must_use]
    pub fn new(kind: Kind, offset: usize, length: usize) -> Self {
        let (url, user, language, custom_emoji_id, unix_time, date_time_format) = Default::default();
        Self { kind, offset, length, url, user, language, custom_emoji_id, unix_time, date_time_format }
    }

    fn end(&self) -> usize {
        self.offset.saturating_add(self.length)
    }

    fn holds(&self, other: &Self) -> bool {
        self.offset <= other.offset && other.end() <= self.end()
    }

    /// Does it have the fields of its kind, and no others?
    fn is_complete(&self) -> bool {
        let has = |kind: Kind, needed: bool, field: bool| if self.kind == kind { field || !needed } else { !field };
        has(Kind::TextLink, true, self.url.is_some())
            && has(Kind::TextMention, true, self.user.is_some())
            && has(Kind::Pre, false, self.language.is_some())
            && has(Kind::CustomEmoji, true, self.custom_emoji_id.is_some())
            && has(Kind::DateTime, true, self.unix_time.is_some())
            && has(Kind::DateTime, false, self.date_time_format.is_some())
    }
}

/// The length of a text as Telegram counts it.
#[must_use]
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A text that is sent: trimmed, with its entities, which are moved along.
///
/// # Errors
/// What is wrong with an entity. How long the text may be is for the caller to say.
pub(crate) fn checked(text: &str, entities: Vec<Entity>) -> Result<(String, Vec<Entity>), Refusal> {
    if entities.len() > limits::ENTITIES {
        return Err(Refusal::bad(format!("{} entities; Telegram would drop all after the first {}", entities.len(), limits::ENTITIES)));
    }
    places(text, &entities)?;
    nesting(&entities)?;
    Ok(trimmed(text, entities))
}

/// Every entity lies in the text and does not halve a character.
fn places(text: &str, entities: &[Entity]) -> Result<(), Refusal> {
    let mut end = 0;
    let mut borders = vec![0];
    for character in text.chars() {
        end += character.len_utf16();
        borders.push(end);
    }
    for entity in entities {
        let Entity { offset, length, .. } = entity;
        if *length == 0 {
            return Err(Refusal::bad(format!("entity at UTF-16 offset {offset} is empty")));
        }
        if entity.end() > end {
            return Err(Refusal::bad(format!(
                "entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 offset {end}"
            )));
        }
        if borders.binary_search(offset).is_err() {
            return Err(Refusal::bad(format!("entity begins in a middle of a UTF-16 symbol at UTF-16 offset {offset}")));
        }
        if borders.binary_search(&entity.end()).is_err() {
            return Err(Refusal::bad(format!("entity ends in a middle of a UTF-16 symbol at UTF-16 offset {}", entity.end())));
        }
        if !entity.is_complete() {
            return Err(Refusal::bad(format!(
                "entity at UTF-16 offset {offset} lacks a field of {:?} or has one of another kind",
                entity.kind
            )));
        }
    }
    Ok(())
}

/// Of two entities that share a character one lies in the other, and may.
fn nesting(entities: &[Entity]) -> Result<(), Refusal> {
    for (at, a) in entities.iter().enumerate() {
        for b in &entities[at + 1..] {
            if a.end() <= b.offset || b.end() <= a.offset {
                continue;
            }
            let may = (a.holds(b) && a.kind.may_hold(b.kind)) || (b.holds(a) && b.kind.may_hold(a.kind));
            if !may {
                return Err(Refusal::bad(format!(
                    "can't nest entities: {:?} at UTF-16 offset {} and {:?} at {}",
                    a.kind, a.offset, b.kind, b.offset
                )));
            }
        }
    }
    Ok(())
}

fn trimmed(text: &str, entities: Vec<Entity>) -> (String, Vec<Entity>) {
    let kept = text.trim();
    let before = units(&text[..text.len() - text.trim_start().len()]);
    let end = units(kept);
    let moved = entities.into_iter().filter_map(|entity| {
        let from = entity.offset.saturating_sub(before).min(end);
        let to = entity.end().saturating_sub(before).min(end);
        (from < to).then_some(Entity { offset: from, length: to - from, ..entity })
    });
    (kept.to_owned(), moved.collect())
}

/// What a client finds in what a person writes: commands, mentions, addresses of pages.
#[must_use]
pub fn found(text: &str) -> Vec<Entity> {
    let mut found = Vec::new();
    let mut offset = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        if let Some((kind, length)) = kind_of(bare) {
            found.push(Entity::new(kind, offset, units(&bare[..length])));
        }
        offset += units(word);
    }
    found
}

/// What a word is, and how many bytes of it.
fn kind_of(word: &str) -> Option<(Kind, usize)> {
    let name = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if let Some(rest) = word.strip_prefix('/') {
        let command = name(rest);
        let bot = rest[command..].strip_prefix('@').map_or(0, name);
        let length = 1 + command + if bot > 0 { 1 + bot } else { 0 };
        // A path is no command.
        let whole = command > 0 && command <= limits::COMMAND_CHARS && !word[length..].starts_with('/');
        return whole.then_some((Kind::BotCommand, length));
    }
    if let Some(rest) = word.strip_prefix('@') {
        let length = name(rest);
        return (length >= 3).then_some((Kind::Mention, 1 + length));
    }
    let is_page = ["http://", "https://"].iter().any(|scheme| word.len() > scheme.len() && word.starts_with(scheme));
    is_page.then(|| (Kind::Url, word.trim_end_matches(['.', ',', ')', '!', '?']).len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, entities: &[(Kind, usize, usize)]) -> Option<String> {
        let entities = entities.iter().map(|&(kind, offset, length)| {
            let mut entity = Entity::new(kind, offset, length);
            entity.url = (kind == Kind::TextLink).then(|| "https://a.example".to_owned());
            entity
        });
        checked(text, entities.collect()).err().map(|refusal| refusal.description)
    }

    #[test]
    fn offsets_count_utf16_units_and_halve_no_character() {
        use Kind::Bold;
        assert_eq!(refused("a😀b", &[(Bold, 0, 4)]), None);
        assert_eq!(refused("a😀b", &[(Bold, 1, 2)]), None);
        assert!(refused("a😀b", &[(Bold, 1, 4)]).unwrap().contains("ends after the end of the text at UTF-16 offset 4"));
        assert!(refused("a😀b", &[(Bold, 1, 1)]).unwrap().contains("ends in a middle"));
        assert!(refused("a😀b", &[(Bold, 2, 2)]).unwrap().contains("begins in a middle"));
        assert!(refused("ab", &[(Bold, 1, 0)]).unwrap().contains("is empty"));
        assert!(refused("ab", &[(Bold, usize::MAX, 2)]).unwrap().contains("ends after"));
    }

    #[test]
    fn entities_nest_as_telegram_says() {
        use Kind::{Blockquote, Bold, Code, ExpandableBlockquote, Italic, Mention, Pre, TextLink};
        let text = "0123456789";
        let fine: [&[_]; 9] = [
            &[(Bold, 0, 10), (Italic, 2, 3)],
            &[(Bold, 0, 5), (Italic, 0, 5)],
            &[(Blockquote, 0, 10), (Pre, 0, 10)],
            &[(Code, 3, 2), (ExpandableBlockquote, 0, 10)],
            &[(Blockquote, 0, 10), (TextLink, 1, 2), (Bold, 0, 4)],
            &[(TextLink, 0, 5), (Bold, 1, 2)],
            &[(Bold, 0, 5), (Bold, 5, 5)],
            &[(Bold, 0, 10), (Blockquote, 2, 3)],
            &[(Pre, 0, 5), (Code, 5, 5)],
        ];
        for entities in fine {
            assert_eq!(refused(text, entities), None, "{entities:?}");
        }
        let wrong: [&[_]; 8] = [
            &[(Bold, 0, 5), (Italic, 3, 5)],
            &[(Bold, 0, 10), (Code, 2, 3)],
            &[(Code, 0, 10), (Bold, 2, 3)],
            &[(Pre, 0, 5), (Bold, 0, 5)],
            &[(Code, 0, 10), (Blockquote, 2, 3)],
            &[(Blockquote, 0, 10), (ExpandableBlockquote, 2, 3)],
            &[(TextLink, 0, 10), (Mention, 2, 3)],
            &[(TextLink, 0, 10), (Blockquote, 2, 3)],
        ];
        for entities in wrong {
            assert!(refused(text, entities).is_some_and(|said| said.contains("can't nest")), "{entities:?}");
        }
    }

    #[test]
    fn a_text_is_trimmed_and_its_entities_move_along() {
        let entities = vec![Entity::new(Kind::Bold, 0, 3), Entity::new(Kind::Code, 4, 4), Entity::new(Kind::Italic, 9, 1)];
        let (text, entities) = checked(" \nab😀  \t \n", entities).unwrap();
        assert_eq!(text, "ab😀");
        assert_eq!(entities, [Entity::new(Kind::Bold, 0, 1), Entity::new(Kind::Code, 2, 2)]);
    }

    #[test]
    fn an_entity_has_the_fields_of_its_kind() {
        let with = |json: &str| serde_json::from_str::<Entity>(json);
        assert!(with(r#"{"type":"bold","offset":0,"length":1,"colour":1}"#).is_err());
        assert!(with(r#"{"type":"heading","offset":0,"length":1}"#).is_err());
        assert!(with(r#"{"type":"bold","offset":-1,"length":1}"#).is_err());
        for (json, fine) in [
            (r#"{"type":"pre","offset":0,"length":1,"language":"rust"}"#, true),
            (r#"{"type":"pre","offset":0,"length":1}"#, true),
            (r#"{"type":"code","offset":0,"length":1,"language":"rust"}"#, false),
            (r#"{"type":"text_link","offset":0,"length":1}"#, false),
            (r#"{"type":"text_link","offset":0,"length":1,"url":"https://a.example"}"#, true),
            (r#"{"type":"date_time","offset":0,"length":1,"unix_time":1}"#, true),
        ] {
            assert_eq!(checked("ab", vec![with(json).unwrap()]).is_ok(), fine, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_can_be_cut_out(
            text in "[ \\na-c😀é]{0,12}",
            entities in proptest::collection::vec((0_usize..4, 0_usize..14, 0_usize..6), 0..4),
        ) {
            let kinds = [Kind::Bold, Kind::Code, Kind::Blockquote, Kind::Italic];
            let entities = entities.into_iter().map(|(kind, offset, length)| Entity::new(kinds[kind], offset, length)).collect();
            if let Ok((text, entities)) = checked(&text, entities) {
                proptest::prop_assert_eq!(text.trim(), &text);
                let units: Vec<u16> = text.encode_utf16().collect();
                for entity in &entities {
                    let part = String::from_utf16(&units[entity.offset..entity.end()]);
                    proptest::prop_assert!(part.is_ok_and(|part| !part.is_empty()));
                }
                proptest::prop_assert!(nesting(&entities).is_ok());
            }
        }
    }

    #[test]
    fn more_entities_than_telegram_shows_are_refused() {
        let entities = |count: usize| (0..count).map(|at| Entity::new(Kind::Bold, at, 1)).collect::<Vec<_>>();
        let text = "a".repeat(200);
        assert!(checked(&text, entities(100)).is_ok());
        assert!(checked(&text, entities(101)).is_err());
    }

    #[test]
    fn clients_find_commands_mentions_and_pages() {
        let found = |text: &str| found(text).into_iter().map(|entity| (entity.kind, entity.offset, entity.length)).collect::<Vec<_>>();
        assert_eq!(found("/new@stella_bot 😀 @stella_bot, hi"), [(Kind::BotCommand, 0, 15), (Kind::Mention, 19, 11)]);
        assert_eq!(found("see https://a.example/b."), [(Kind::Url, 4, 19)]);
        assert_eq!(found("/usr/bin a@b /"), []);
    }
}
