//! The first owner: whoever sends the code that the terminal shows. It is good for one use and ten minutes, in a private chat, in
//! words of one's own, and only while there is no owner. Everybody has few tries, and all of them together have not enough.

use std::collections::HashMap;

use tokio::time::Instant;
use uuid::Uuid;

use super::Telegram;
use crate::channels::telegram::send::Target;
use crate::channels::telegram::update::{ChatKind, Incoming};
use crate::clock;
use crate::limits::{PAIRING_TIME, PAIRING_TRIES, PAIRING_TRIES_OF_ALL};
use crate::store::{NewOutbox, OutboxKind, Person, Role, StoreError};

/// Of a code: without those that look like others.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LETTERS: usize = 8;

/// A code that makes whoever sends it the first owner.
pub(in crate::channels::telegram) struct Pairing {
    code: String,
    until: Instant,
    /// Of each person. Not more people than tries.
    tries: HashMap<i64, u32>,
}

/// What a text is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    TheCode,
    /// It looks like a code.
    Wrong,
    /// It does not, or this person has no try left.
    SomethingElse,
    /// Whatever it is: the time is over, or the tries of all.
    TooLate,
}

/// Why there is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HasOwner {
    #[error("the bot has an owner already; others are approved by the owner's buttons or with `stellaclaw pair approve`")]
    Paired,
    #[error(
        "the bot has an owner already: channels.telegram.owners names one, as the host has read the configuration; if it does not any \
         more, have the host read it again (SIGHUP, `systemctl --user reload stellaclaw`)"
    )]
    Configured,
}

impl Pairing {
    fn new(now: Instant) -> Self {
        let random = Uuid::new_v4();
        let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
        // Bytes 6 and 8 of a random uuid are partly fixed.
        let bytes = random.as_bytes();
        let code = bytes[..6].iter().chain(&bytes[9..]).take(CODE_LETTERS).map(letter).collect();
        Self { code, until: now + PAIRING_TIME, tries: HashMap::new() }
    }

    /// Looks at somebody's text; one that looks like a code, and is not this one, is a try. The right one is none: it comes again
    /// when what follows from it could not be stored.
    fn hear(&mut self, writer: i64, text: &str, now: Instant) -> Said {
        if self.until <= now || self.tries.values().sum::<u32>() >= PAIRING_TRIES_OF_ALL {
            return Said::TooLate;
        }
        let Some(said) = letters_of(text) else { return Said::SomethingElse };
        if self.tries.get(&writer).is_some_and(|tries| *tries >= PAIRING_TRIES) {
            return Said::SomethingElse;
        }
        // As long for a wrong letter as for a right one.
        let differs = said.bytes().zip(self.code.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs == 0 {
            return Said::TheCode;
        }
        *self.tries.entry(writer).or_default() += 1;
        Said::Wrong
    }
}

/// The letters of a text that looks like a code.
fn letters_of(text: &str) -> Option<String> {
    let said: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    // `/start CODE` is what a link with the code sends.
    let said = said.strip_prefix("START").filter(|rest| rest.len() == CODE_LETTERS).unwrap_or(&said);
    (said.len() == CODE_LETTERS).then(|| said.to_owned())
}

impl Telegram {
    /// A new code for the first owner; the one before is void.
    ///
    /// # Errors
    ///
    /// There is an owner.
    pub fn pair(&self) -> Result<String, HasOwner> {
        let mut state = self.state();
        if let Some(owner) = state.access.owners().next() {
            return Err(if self.settings().owners.contains(&owner) { HasOwner::Configured } else { HasOwner::Paired });
        }
        Ok(state.pairing.insert(Pairing::new(Instant::now())).code.clone())
    }

    /// The code is not waited for any more, unless there is another one meanwhile.
    pub fn unpair(&self, code: &str) {
        self.state().pairing.take_if(|pairing| pairing.code == code);
    }

    /// Is this the code, in somebody's private chat? Then they are the first owner from now on, whoever they were: the terminal is
    /// above what was decided about them. Words of others are not looked at. The message that has made somebody the owner is the
    /// code also when it comes again: after a kill nobody knows the code any more.
    pub(in crate::channels::telegram) async fn try_code(&self, id: &str, said: &Incoming) -> Result<bool, StoreError> {
        let is_own = said.chat.kind == ChatKind::Private && said.forwarded.is_none() && said.via_bot.is_none();
        let Some(writer) = said.from.as_ref().filter(|writer| is_own && writer.id == said.chat.id && !writer.is_bot) else {
            return Ok(false);
        };
        let key = format!("{}.paired.{}.{id}", self.0.name, writer.id);
        if letters_of(&said.text).is_some() && self.state().access.is_owner(writer.id) && self.0.store.was_told(key.clone()).await? {
            self.ask_again(writer.id, id).await?;
            return Ok(true);
        }
        {
            let mut state = self.state();
            let has_owner = state.access.owners().next().is_some();
            let Some(pairing) = state.pairing.as_mut() else { return Ok(false) };
            match pairing.hear(writer.id, &said.text, Instant::now()) {
                Said::TheCode if !has_owner => {}
                Said::TheCode | Said::TooLate => {
                    state.pairing = None;
                    return Ok(false);
                }
                Said::Wrong => {
                    tracing::warn!(person = writer.id, people = pairing.tries.len(), "somebody sent a wrong pairing code");
                    return Ok(false);
                }
                Said::SomethingElse => return Ok(false),
            }
        }
        let person = Person { id: writer.id.to_string(), role: Role::Owner, name: writer.name.clone(), since: clock::now() };
        let text = "You are the owner of this bot now. Write to it; /help lists its commands.\n\nWhen somebody else writes to it, or adds \
                    it to a group, you are asked here.";
        let conversation = self.conversation(Target::new(writer.id, None), None).await?;
        let welcome = NewOutbox::new(key, conversation, OutboxKind::Notice, text);
        let store = self.0.store.at(|| format!("pair@{}", writer.id));
        let first = store.set_first_owner(&self.0.name, person, welcome).await?;
        // Used up when that is durable: the same message may come again.
        self.state().pairing = None;
        self.look_who_may_talk().await?;
        if first {
            tracing::info!(person = writer.id, name = writer.name, "the bot has its first owner");
            // What an owner before them has left open.
            self.ask_again(writer.id, id).await?;
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_heard_however_it_is_written() {
        let now = Instant::now();
        let code = Pairing::new(now).code;
        assert_eq!(code.len(), CODE_LETTERS);
        assert!(code.bytes().all(|byte| LETTERS.contains(&byte)), "{code}");
        let (left, right) = code.split_at(4);
        for text in [code.clone(), code.to_lowercase(), format!("{left}-{right}"), format!("  {left} {right}\n"), format!("/start {code}")]
        {
            let mut pairing = Pairing { code: code.clone(), ..Pairing::new(now) };
            assert_eq!(pairing.hear(1, &text, now), Said::TheCode, "{text:?}");
        }
        // A code may begin with the command's letters.
        let mut pairing = Pairing { code: "STARTABC".into(), ..Pairing::new(now) };
        assert_eq!(pairing.hear(1, "STARTABC", now), Said::TheCode);
    }

    #[test]
    fn its_time_and_its_tries_are_few_and_other_texts_cost_none() {
        let now = Instant::now();
        let mut pairing = Pairing::new(now);
        let code = pairing.code.clone();
        for text in ["hello", "/start", "", "what is this bot about?", &code[1..]] {
            assert_eq!(pairing.hear(1, text, now), Said::SomethingElse, "{text:?}");
        }
        for _ in 0..PAIRING_TRIES {
            assert_eq!(pairing.hear(1, "AAAA-1111", now), Said::Wrong);
        }
        assert_eq!(pairing.hear(1, &code, now), Said::SomethingElse, "after so many wrong ones the right one is none, too");
        for _ in 0..=PAIRING_TRIES {
            assert_eq!(pairing.hear(2, &code, now), Said::TheCode, "others have tries of their own, and the right one uses up none");
        }
        let mut late = Pairing::new(now);
        let code = late.code.clone();
        assert_eq!(late.hear(1, &code, now + PAIRING_TIME), Said::TooLate);
    }

    #[test]
    fn all_together_have_tries_that_end_too_and_are_remembered_within_a_bound() {
        let now = Instant::now();
        let mut pairing = Pairing::new(now);
        let code = pairing.code.clone();
        let wrong = (0..100_000).filter(|stranger| pairing.hear(*stranger, "AAAA-1111", now) == Said::Wrong).count();
        assert_eq!((wrong, pairing.tries.len()), (PAIRING_TRIES_OF_ALL as usize, PAIRING_TRIES_OF_ALL as usize));
        assert_eq!(pairing.hear(-1, &code, now), Said::TooLate);
    }

    #[test]
    fn two_codes_differ() {
        let now = Instant::now();
        assert_ne!(Pairing::new(now).code, Pairing::new(now).code);
    }
}
