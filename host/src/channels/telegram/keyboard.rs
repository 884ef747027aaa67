//! Buttons: what a reply offers becomes a keyboard, and what a button carries becomes a command again.
//!
//! Telegram carries 64 bytes. A command that is longer goes by its hash and is found again among those that can be offered.

use sha2::{Digest as _, Sha256};

use super::send::{InlineKeyboardButton, InlineKeyboardMarkup};
use crate::commands::Button;
use crate::limits::TELEGRAM_BUTTON_BYTES;

/// Stands before a hash. No command begins with it.
const HASHED: &str = "#";
/// Buttons beside each other.
const ROW: usize = 2;

/// The keyboard of a reply, if it has buttons.
#[must_use]
pub fn of(buttons: &[Button]) -> Option<InlineKeyboardMarkup> {
    let key = |button: &Button| InlineKeyboardButton { text: button.label.clone(), callback_data: data(&button.command) };
    let rows: Vec<_> = buttons.chunks(ROW).map(|row| row.iter().map(key).collect()).collect();
    (!rows.is_empty()).then_some(InlineKeyboardMarkup { inline_keyboard: rows })
}

/// The command that a button carries; none: it is none of `offered` any more.
pub fn command(data: &str, offered: impl IntoIterator<Item = String>) -> Option<String> {
    if data.starts_with(HASHED) { offered.into_iter().find(|command| hash(command) == data) } else { Some(data.to_owned()) }
}

fn data(command: &str) -> String {
    if command.len() <= TELEGRAM_BUTTON_BYTES { command.to_owned() } else { hash(command) }
}

fn hash(command: &str) -> String {
    let digest = Sha256::digest(command);
    digest.iter().take(16).fold(HASHED.to_owned(), |hash, byte| format!("{hash}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_leads_back_to_its_command_however_long_it_is() {
        let commands = ["/continue".to_owned(), format!("/model {}", "m".repeat(100)), format!("/model {}", "ü".repeat(29))];
        let buttons: Vec<_> = commands.iter().map(|command| Button { label: "x".into(), command: command.clone() }).collect();
        let keyboard = of(&buttons).unwrap();
        assert_eq!(keyboard.inline_keyboard.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        let keys: Vec<_> = keyboard.inline_keyboard.into_iter().flatten().collect();
        for (key, expected) in keys.iter().zip(&commands) {
            assert!((1..=64).contains(&key.callback_data.len()), "{key:?}");
            assert_eq!(command(&key.callback_data, commands.clone()).as_ref(), Some(expected));
        }
        assert_eq!(command(&keys[1].callback_data, commands[..1].to_vec()), None, "it is not offered any more");
        assert_eq!(of(&[]), None);
    }
}
