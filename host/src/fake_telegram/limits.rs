//! What Telegram allows, as far as the fake refuses the rest, and the bounds of the fake itself. Apart from the host's own: one
//! must not follow the other.

use std::time::Duration;

/// The text of a message, in UTF-16 units after trimming.
pub const TEXT_UNITS: usize = 4096;
/// A caption, in UTF-16 units.
pub const CAPTION_UNITS: usize = 1024;
/// A quotation in a reply, in UTF-16 units.
pub const QUOTE_UNITS: usize = 1024;
/// Entities of a message. Telegram drops further ones without a word.
pub const ENTITIES: usize = 100;
/// What a button carries.
pub const CALLBACK_BYTES: usize = 64;
/// Buttons of a keyboard.
pub const BUTTONS: usize = 100;
/// Buttons in one row of it.
pub const ROW_BUTTONS: usize = 8;
/// The notice that answers a pressed button, in characters.
pub const NOTICE_CHARS: usize = 200;
/// How long a pressed button can be answered.
pub const QUERY_TIME: Duration = Duration::from_secs(15 * 60);
/// Commands of one menu.
pub const COMMANDS: usize = 100;
/// A command's name, in characters.
pub const COMMAND_CHARS: usize = 32;
/// A command's description, in characters.
pub const COMMAND_TEXT_CHARS: usize = 256;
/// A photo that a bot sends.
pub const PHOTO_BYTES: usize = 10 << 20;
/// Width and height of a photo, added.
pub const PHOTO_SIDES: u32 = 10_000;
/// How often the longer side of a photo may have the shorter one.
pub const PHOTO_RATIO: u32 = 20;
/// Another file that a bot sends.
pub const FILE_BYTES: usize = 50 << 20;
/// A file that a bot can fetch.
pub const FETCH_BYTES: u64 = 20 << 20;
/// Items of an album: at least, at most.
pub const ALBUM: (usize, usize) = (2, 10);
/// Updates of one answer.
pub const UPDATES: usize = 100;
/// The longest wait for updates.
pub const POLL: Duration = Duration::from_secs(50);
/// An offset that is so far above the newest update is no offset of this queue: its ids were chosen anew.
pub const OFFSET_AHEAD: i64 = 10;
/// How long a draft stays without a newer one.
pub const DRAFT: Duration = Duration::from_secs(30);
/// How long a chat action is shown.
pub const ACTION: Duration = Duration::from_secs(5);
/// A request to the fake server, its files included: a little more than the largest upload of Telegram, which then refuses it.
pub const REQUEST_BYTES: usize = 64 << 20;
/// What a test waits for something to happen at the fake server before it calls that a hang.
pub const WAIT: Duration = Duration::from_secs(30);
/// How often is looked for what only time changes there.
pub const LOOK: Duration = Duration::from_millis(100);
/// How long a chat refuses everything after the button for that is pressed on its page.
pub const FLOOD: Duration = Duration::from_secs(20);
/// Its port when none is named.
pub const PORT: u16 = 8081;
