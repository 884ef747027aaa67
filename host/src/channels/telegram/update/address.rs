//! Whom a message is for, and its text without the parts that only say so.
//!
//! Offsets of entities count UTF-16 units; one that does not fit the text is left out.

use crate::limits;

use crate::channels::telegram::types::{Me, MessageEntity};

/// Whom a message is for. In a private chat always the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// It names the bot, or replies to it.
    Bot,
    /// A command for no bot by name: whichever bots of the group know it.
    AnyBot,
    /// It begins with the name of somebody else, or is a command of another bot.
    Other,
    Nobody,
}

/// A text that was looked at.
pub(super) struct Addressed {
    pub text: String,
    /// Without the circumstances: a private chat and a reply are not known here.
    pub to: Addressee,
}

/// A part of the text, in bytes.
struct Span<'a> {
    start: usize,
    end: usize,
    entity: &'a MessageEntity,
}

/// Looks at a text with its entities: who is named, and what is left without a leading name of the bot and a command's suffix.
pub(super) fn read(text: &str, entities: &[MessageEntity], me: &Me) -> Addressed {
    let spans: Vec<Span<'_>> = entities.iter().take(limits::TELEGRAM_ENTITIES).filter_map(|entity| span(text, entity)).collect();
    let names_bot = spans.iter().any(|span| named(text, span, me) == Some(true));
    let (mut rest, mut to) = (0, Addressee::Nobody);
    loop {
        let at = rest + text[rest..].len() - text[rest..].trim_start().len();
        let here = |span: &&Span<'_>| span.start == at && span.end > at;
        if let Some(other) = spans.iter().filter(here).find(|span| named(text, span, me).is_some()) {
            if named(text, other, me) == Some(false) {
                to = Addressee::Other;
                break;
            }
            let after = text[other.end..].trim_start_matches([',', ':']);
            rest = text.len() - after.trim_start().len();
            continue;
        }
        if let Some(command) = spans.iter().filter(here).find(|span| span.entity.kind == "bot_command") {
            return Addressed::command(text, command, rest, names_bot, me);
        }
        break;
    }
    if names_bot {
        to = Addressee::Bot;
    }
    Addressed { text: text[rest..].to_owned(), to }
}

impl Addressed {
    /// A text that begins with a command, after `rest`.
    fn command(text: &str, command: &Span<'_>, rest: usize, names_bot: bool, me: &Me) -> Self {
        let whole = Self { text: text[rest..].to_owned(), to: if names_bot { Addressee::Bot } else { Addressee::Nobody } };
        // `/etc/hosts` is no command, whatever its beginning is taken for.
        if text[command.end..].starts_with(|c: char| !c.is_whitespace()) {
            return whole;
        }
        let name = &text[command.start..command.end];
        match name.split_once('@') {
            None if names_bot => whole,
            None => Self { to: Addressee::AnyBot, ..whole },
            Some((name, bot)) if is_name_of(bot, me) => Self { text: format!("{name}{}", &text[command.end..]), to: Addressee::Bot },
            Some(_) if names_bot => whole,
            Some(_) => Self { to: Addressee::Other, ..whole },
        }
    }
}

/// Is it a name, and then the bot's?
fn named(text: &str, span: &Span<'_>, me: &Me) -> Option<bool> {
    match span.entity.kind.as_str() {
        "mention" => Some(is_name_of(text[span.start..span.end].strip_prefix('@')?, me)),
        "text_mention" => Some(span.entity.user.as_ref().is_some_and(|user| user.id == me.id)),
        _ => None,
    }
}

fn is_name_of(name: &str, me: &Me) -> bool {
    me.username.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

fn span<'a>(text: &str, entity: &'a MessageEntity) -> Option<Span<'a>> {
    let start = byte_at(text, entity.offset)?;
    let end = start + byte_at(&text[start..], entity.length)?;
    Some(Span { start, end, entity })
}

/// The byte at which so many UTF-16 units of the text have passed, if a character begins or the text ends there.
fn byte_at(text: &str, units: usize) -> Option<usize> {
    let mut passed = 0;
    for (at, c) in text.char_indices() {
        if passed >= units {
            return (passed == units).then_some(at);
        }
        passed += c.len_utf16();
    }
    (passed == units).then_some(text.len())
}
