//! The first owner: whoever sends the code that the terminal shows. It is good for one use, ten minutes and few tries, in a
//! private chat, and only while there is no owner.

use tokio::time::Instant;
use uuid::Uuid;

use super::Telegram;
use crate::channels::telegram::send::Target;
use crate::channels::telegram::update::Person as Writer;
use crate::clock;
use crate::limits::{PAIRING_TIME, PAIRING_TRIES};
use crate::store::{NewOutbox, OutboxKind, Person, Role, StoreError};

/// Of a code: without those that look like others.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LETTERS: usize = 8;

/// A code that makes whoever sends it the first owner.
pub(in crate::channels::telegram) struct Pairing {
    code: String,
    until: Instant,
    tries: u32,
}

/// What a text is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    TheCode,
    /// It looks like a code.
    Wrong,
    SomethingElse,
    /// Whatever it is: the time is over, or the tries are.
    TooLate,
}

/// Why there is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bot has an owner already; others are approved by the owner's buttons or with `stellaclaw pair approve`")]
pub struct HasOwner;

impl Pairing {
    fn new(now: Instant) -> Self {
        let random = Uuid::new_v4();
        let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
        // Bytes 6 and 8 of a random uuid are partly fixed.
        let bytes = random.as_bytes();
        let code = bytes[..6].iter().chain(&bytes[9..]).take(CODE_LETTERS).map(letter).collect();
        Self { code, until: now + PAIRING_TIME, tries: 0 }
    }

    /// Looks at a text; one that looks like a code is a try.
    fn hear(&mut self, text: &str, now: Instant) -> Said {
        if self.until <= now || self.tries >= PAIRING_TRIES {
            return Said::TooLate;
        }
        let said: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
        // `/start CODE` is what a link with the code sends.
        let said = said.strip_prefix("START").filter(|rest| rest.len() == CODE_LETTERS).unwrap_or(&said);
        if said.len() != CODE_LETTERS {
            return Said::SomethingElse;
        }
        self.tries += 1;
        // As long for a wrong letter as for a right one.
        let differs = said.bytes().zip(self.code.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs == 0 { Said::TheCode } else { Said::Wrong }
    }
}

impl Telegram {
    /// A new code for the first owner; the one before is void.
    ///
    /// # Errors
    ///
    /// There is an owner.
    pub fn pair(&self) -> Result<String, HasOwner> {
        let mut state = self.state();
        if state.access.owners().next().is_some() {
            return Err(HasOwner);
        }
        Ok(state.pairing.insert(Pairing::new(Instant::now())).code.clone())
    }

    /// Is this private message of somebody unknown the code? Then they are the first owner from now on.
    pub(in crate::channels::telegram) async fn try_code(&self, writer: &Writer, text: &str) -> Result<bool, StoreError> {
        {
            let mut state = self.state();
            let has_owner = state.access.owners().next().is_some();
            let Some(pairing) = state.pairing.as_mut() else { return Ok(false) };
            match pairing.hear(text, Instant::now()) {
                Said::TheCode if !has_owner => {}
                Said::TheCode | Said::TooLate => {
                    state.pairing = None;
                    return Ok(false);
                }
                Said::Wrong => {
                    tracing::warn!(person = writer.id, tries = pairing.tries, "somebody sent a wrong pairing code");
                    return Ok(false);
                }
                Said::SomethingElse => return Ok(false),
            }
        }
        let person = Person { id: writer.id.to_string(), role: Role::Owner, name: writer.name.clone(), since: clock::now() };
        let text = "You are the owner of this bot now. Write to it; `/help` lists its commands.\n\nWhen somebody else writes to it, or adds \
                    it to a group, you are asked here.";
        let conversation = self.conversation(Target::new(writer.id, None), None).await?;
        let key = format!("{}.paired.{}", self.0.name, writer.id);
        let welcome = NewOutbox::new(key, conversation, OutboxKind::Notice, text);
        let store = self.0.store.at(|| format!("pair@{}", writer.id));
        let first = store.set_first_owner(&self.0.name, person, welcome).await?;
        // Used up when that is durable: the same message may come again.
        self.state().pairing = None;
        self.look_who_may_talk().await?;
        if first {
            tracing::info!(person = writer.id, name = writer.name, "the bot has its first owner");
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
            let mut pairing = Pairing { code: code.clone(), until: now + PAIRING_TIME, tries: 0 };
            assert_eq!(pairing.hear(&text, now), Said::TheCode, "{text:?}");
        }
        // A code may begin with the command's letters.
        let mut pairing = Pairing { code: "STARTABC".into(), until: now + PAIRING_TIME, tries: 0 };
        assert_eq!(pairing.hear("STARTABC", now), Said::TheCode);
    }

    #[test]
    fn its_time_and_its_tries_are_few_and_other_texts_cost_none() {
        let now = Instant::now();
        let mut pairing = Pairing::new(now);
        let code = pairing.code.clone();
        for text in ["hello", "/start", "", "what is this bot about?", &code[1..]] {
            assert_eq!(pairing.hear(text, now), Said::SomethingElse, "{text:?}");
        }
        for _ in 0..PAIRING_TRIES {
            assert_eq!(pairing.hear("AAAA-1111", now), Said::Wrong);
        }
        assert_eq!(pairing.hear(&code, now), Said::TooLate, "after so many wrong ones the right one is void, too");
        let mut late = Pairing::new(now);
        let code = late.code.clone();
        assert_eq!(late.hear(&code, now + PAIRING_TIME), Said::TooLate);
    }

    #[test]
    fn two_codes_differ() {
        let now = Instant::now();
        assert_ne!(Pairing::new(now).code, Pairing::new(now).code);
    }
}
