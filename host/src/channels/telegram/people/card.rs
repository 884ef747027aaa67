//! What owners read about people and groups, as Markdown.
//!
//! The number stands first, on a line of its own: it is what is decided about. A name is somebody else's own text and stands as
//! code, in which Telegram finds no command, address or tag that could be tapped.

use crate::channels::telegram::render::code;
use crate::channels::telegram::update::Person as Writer;
use crate::store::{Person, Role};

/// Somebody wrote to the bot in their private chat.
pub(in crate::channels::telegram) fn wrote(person: &Writer) -> String {
    format!("{}{} wrote to this bot for the first time. May they use it?", number(person.id), named(person))
}

/// Somebody spoke to the bot in a group of ours.
pub(in crate::channels::telegram) fn spoke(person: &Writer, group: &str) -> String {
    format!("{}{} spoke to this bot in the group {}. May they use it?", number(person.id), named(person), code(group))
}

/// Somebody who may talk wants the bot in a group.
pub(in crate::channels::telegram) fn invited(group: i64, title: &str, by: &Writer) -> String {
    let who = format!("{} (number {})", named(by), code(&by.id.to_string()));
    format!("{}{who} wants to use this bot in the group {}. May those who may use it do so there, too?", number(group), code(title))
}

/// The same as each of them, for an owner who was not there then.
pub(super) fn again(subject: i64, name: &str) -> String {
    let name = code(name);
    match subject < 0 {
        true => {
            format!("{}Somebody wants to use this bot in the group {name}. May those who may use it do so there, too?", number(subject))
        }
        false => format!("{}{name} would like to use this bot. May they?", number(subject)),
    }
}

/// What became of a question.
pub(super) fn decided(person: &Person) -> String {
    let (number, name) = (person.id.parse().map(number).unwrap_or_default(), code(&person.name));
    match person.role {
        Role::Rejected => format!("{number}{name} is ignored."),
        Role::Group => format!("{number}Those who may use this bot may do so in the group {name} now, too."),
        Role::Owner => format!("{number}{name} owns this bot."),
        Role::Member => format!("{number}{name} may talk to this bot now."),
    }
}

/// Nothing became of a question: only the configuration decides about those whom it names.
pub(super) fn configured(subject: i64) -> String {
    format!("{}The configuration lets them in, and nothing else decides about them.", number(subject))
}

fn number(subject: i64) -> String {
    format!("{} {}\n", if subject < 0 { "Group" } else { "Number" }, code(&subject.to_string()))
}

fn named(person: &Writer) -> String {
    match &person.username {
        Some(username) => format!("{} ({})", code(&person.name), code(&format!("@{username}"))),
        None => code(&person.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::telegram::render::{Kind, render};
    use crate::clock::Moment;

    /// Everything that Telegram would make something of, and what could end our formatting.
    const NAME: &str = "Eve /new @stella https://evil.example #tag `` <attachment>notes.txt</attachment> **b** [x](y)";

    fn eve() -> Writer {
        Writer { id: 102, name: NAME.into(), username: Some("eve_".into()), is_bot: false }
    }

    /// The text, with what is code in guillemets.
    fn shown(markdown: &str) -> String {
        let parts = render(markdown);
        assert_eq!(parts.len(), 1);
        let mut units: Vec<u16> = parts[0].text.encode_utf16().collect();
        for entity in parts[0].entities.iter().rev() {
            assert_eq!(entity.kind, Kind::Code);
            units.insert(entity.offset + entity.length, u16::from(b'\xbb'));
            units.insert(entity.offset, u16::from(b'\xab'));
        }
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn a_card_begins_with_the_number_and_nothing_of_a_name_can_be_tapped() {
        let person = |id: &str, role| Person { id: id.into(), role, name: NAME.into(), since: Moment(0) };
        let cards = [
            wrote(&eve()),
            spoke(&eve(), NAME),
            invited(-1001, NAME, &eve()),
            again(102, NAME),
            again(-1001, NAME),
            decided(&person("102", Role::Member)),
            decided(&person("102", Role::Owner)),
            decided(&person("102", Role::Rejected)),
            decided(&person("-1001", Role::Group)),
            configured(102),
        ];
        let cards = cards.map(|card| shown(&card).replace(NAME, "NAME"));
        insta::assert_snapshot!(cards.join("\n\n"), @"
        Number «102»
        «NAME» («@eve_») wrote to this bot for the first time. May they use it?

        Number «102»
        «NAME» («@eve_») spoke to this bot in the group «NAME». May they use it?

        Group «-1001»
        «NAME» («@eve_») (number «102») wants to use this bot in the group «NAME». May those who may use it do so there, too?

        Number «102»
        «NAME» would like to use this bot. May they?

        Group «-1001»
        Somebody wants to use this bot in the group «NAME». May those who may use it do so there, too?

        Number «102»
        «NAME» may talk to this bot now.

        Number «102»
        «NAME» owns this bot.

        Number «102»
        «NAME» is ignored.

        Group «-1001»
        Those who may use this bot may do so in the group «NAME» now, too.

        Number «102»
        The configuration lets them in, and nothing else decides about them.
        ");
    }
}
