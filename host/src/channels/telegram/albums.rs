//! Albums in groups. An album is several messages, and only one of them has the words that call the bot: whether the bot is
//! meant is decided for all of them, also for those that came before, or come with a later poll. Pure; bounded, and forgotten
//! by a restart.

use std::collections::VecDeque;

use super::update::{ChatKind, Incoming};
use crate::limits::TELEGRAM_ALBUMS;

/// An album of one person in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Album {
    chat: i64,
    person: i64,
    id: String,
}

impl Album {
    /// The album of a message, where calling the bot matters.
    pub(super) fn of(incoming: &Incoming) -> Option<Self> {
        let is_group = incoming.chat.kind != ChatKind::Private;
        let (person, id) = (incoming.from.as_ref().filter(|_| is_group)?.id, incoming.album.clone()?);
        Some(Self { chat: incoming.chat.id, person, id })
    }
}

/// Those seen lately.
#[derive(Debug, Default)]
pub(super) struct Albums {
    welcome: VecDeque<Album>,
    /// Messages that were for others, each with the id of its update.
    passed: VecDeque<(Album, String, Incoming)>,
}

impl Albums {
    /// One of its messages is for the bot.
    pub(super) fn welcome(&mut self, album: Album) {
        if !self.is_welcome(&album) {
            self.welcome.push_back(album);
        }
        while self.welcome.len() > TELEGRAM_ALBUMS {
            self.welcome.pop_front();
        }
    }

    pub(super) fn is_welcome(&self, album: &Album) -> bool {
        self.welcome.contains(album)
    }

    /// None of its messages is for the bot so far.
    pub(super) fn pass(&mut self, album: Album, update: &str, incoming: Incoming) {
        if self.passed.iter().all(|(_, known, _)| known != update) {
            self.passed.push_back((album, update.to_owned(), incoming));
        }
        while self.passed.len() > TELEGRAM_ALBUMS {
            self.passed.pop_front();
        }
    }

    /// What came before it was welcome. It stays known: who takes it twice finds that it has been taken.
    pub(super) fn passed(&self, album: &Album) -> Vec<(String, Incoming)> {
        let of = self.passed.iter().filter(|(known, ..)| known == album);
        of.map(|(_, update, incoming)| (update.clone(), incoming.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::channels::telegram::update::{Event, decode};

    fn photo(kind: &str, person: i64, album: &str) -> Incoming {
        let me = serde_json::from_value(json!({"id": 99, "is_bot": true, "first_name": "Stella"})).unwrap();
        let message = json!({"message_id": 1, "date": 1, "chat": {"id": -5, "type": kind}, "from": {"id": person, "first_name": "A"},
            "media_group_id": album, "photo": [{"file_id": "f", "width": 1, "height": 1}]});
        match decode(&json!({"update_id": 1, "message": message}).to_string(), &me).unwrap().event {
            Event::Message(incoming) => *incoming,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_album_is_one_persons_in_one_group() {
        let album = Album::of(&photo("group", 1, "a")).unwrap();
        assert_eq!(Album::of(&photo("supergroup", 1, "a")), Some(album.clone()));
        assert_eq!(Album::of(&photo("private", 1, "a")), None, "there everything is for the bot");
        let mut albums = Albums::default();
        albums.welcome(album.clone());
        assert!(albums.is_welcome(&album));
        for other in [photo("group", 2, "a"), photo("group", 1, "b")] {
            assert!(!albums.is_welcome(&Album::of(&other).unwrap()));
        }
    }

    #[test]
    fn what_was_passed_over_is_found_again_and_memory_is_bounded() {
        let mut albums = Albums::default();
        for n in 0..3 * TELEGRAM_ALBUMS {
            let incoming = photo("group", 1, &(n / 2).to_string());
            let album = Album::of(&incoming).unwrap();
            albums.pass(album.clone(), &n.to_string(), incoming.clone());
            // A batch that could not be kept is taken again.
            albums.pass(album.clone(), &n.to_string(), incoming);
            albums.welcome(album);
        }
        let last = Album::of(&photo("group", 1, &((3 * TELEGRAM_ALBUMS - 1) / 2).to_string())).unwrap();
        assert_eq!(albums.passed(&last).len(), 2);
        assert_eq!(albums.passed(&Album::of(&photo("group", 1, "0")).unwrap()), []);
        assert_eq!((albums.passed.len(), albums.welcome.len()), (TELEGRAM_ALBUMS, TELEGRAM_ALBUMS));
    }
}
