//! A chat, or a topic in it: where something is sent, and how a conversation's address is written.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The topic of a forum that holds what is in no other. Telegram refuses it as the target of a message and needs it for a
/// chat action.
pub const GENERAL: i64 = 1;

/// A chat, or a topic in it. General is written as the chat itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    chat: i64,
    thread: Option<i64>,
}

/// The fields that say where, in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    chat_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Telegram address; write CHAT or CHAT:TOPIC, both numeric ids")]
pub struct ParseTargetError(String);

impl Target {
    /// A group's General becomes the group.
    #[must_use]
    pub fn new(chat: i64, thread: Option<i64>) -> Self {
        Self { chat, thread: thread.filter(|thread| *thread != GENERAL || chat > 0) }
    }

    #[must_use]
    pub fn chat(self) -> i64 {
        self.chat
    }

    #[must_use]
    pub fn thread(self) -> Option<i64> {
        self.thread
    }

    /// A group or channel; the ids of people are positive.
    #[must_use]
    pub fn is_group(self) -> bool {
        self.chat < 0
    }

    /// For everything that becomes a message.
    #[must_use]
    pub fn to_send(self) -> Place {
        Place { chat_id: self.chat, message_thread_id: self.thread }
    }

    /// For a chat action, which is seen in a forum's General only when that is named.
    #[must_use]
    pub fn to_act(self, is_forum: bool) -> Place {
        Place { chat_id: self.chat, message_thread_id: self.thread.or(is_forum.then_some(GENERAL)) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.thread {
            None => write!(out, "{}", self.chat),
            Some(thread) => write!(out, "{}:{thread}", self.chat),
        }
    }
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        let no = || ParseTargetError(text.chars().take(80).collect());
        // `parse` takes a plus sign, which would write one address in two ways.
        let number = |text: &str| text.parse::<i64>().ok().filter(|_| !text.starts_with('+'));
        let (chat, thread) = match text.split_once(':') {
            None => (text, None),
            Some((chat, thread)) => (chat, Some(number(thread).filter(|thread| *thread > 0).ok_or_else(no)?)),
        };
        let chat = number(chat).filter(|chat| *chat != 0).ok_or_else(no)?;
        Ok(Self::new(chat, thread))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn general_is_left_out_of_what_is_sent_and_named_in_actions() {
        let written = |place: Place| serde_json::to_value(place).unwrap();
        let general: Target = "-100:1".parse().unwrap();
        assert_eq!(general, Target::new(-100, None));
        assert_eq!(written(general.to_send()), json!({"chat_id": -100}));
        assert_eq!(written(general.to_act(true)), json!({"chat_id": -100, "message_thread_id": 1}));
        assert_eq!(written(general.to_act(false)), json!({"chat_id": -100}));
        let topic = Target::new(-100, Some(7));
        assert_eq!(written(topic.to_send()), json!({"chat_id": -100, "message_thread_id": 7}));
        assert_eq!(written(topic.to_act(true)), written(topic.to_send()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_right_form() {
        for wrong in ["", "@name", "1:", ":1", "1:2:3", "1:0", "1:-4", "0", "1.5", "+1", "1:+2", " 1", "99999999999999999999"] {
            let refused = wrong.parse::<Target>().unwrap_err().to_string();
            assert_eq!(refused, format!("{wrong:?} is no Telegram address; write CHAT or CHAT:TOPIC, both numeric ids"));
        }
    }

    proptest! {
        #[test]
        fn an_address_is_read_as_it_was_written(chat in any::<i64>(), thread in proptest::option::of(1..i64::MAX)) {
            prop_assume!(chat != 0);
            let target = Target::new(chat, thread);
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }

        #[test]
        fn any_text_is_an_address_or_not(text in "\\PC*") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
            }
        }
    }
}
