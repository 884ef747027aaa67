//! What a plugin has answered when it was asked for its tools.
//!
//! An answer stands for as long as code and policy do, through every change of other plugins: the same question would get the
//! same answer, and cost as much each time. A question that was not answered says nothing about the plugin. It is asked
//! again, after a pause that grows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::call::{SessionInfo, Tool};

/// Why a plugin's tools are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTools {
    /// What it answers cannot be used; it would answer the same again.
    #[error("{0}")]
    Wrong(String),
    /// It came to no end, or the host failed under it. That may pass.
    #[error("{0}")]
    Unanswered(String),
    /// It was not even asked: no thread was free. That passes.
    #[error("{0}")]
    Unasked(String),
}

/// The answers of one plugin, by what it was told of the session.
#[derive(Default)]
pub(super) struct Answers {
    known: Mutex<HashMap<SessionInfo, Known>>,
    is_missed: AtomicBool,
}

enum Known {
    Said(Arc<[Tool]>),
    Unanswered(Backoff),
}

/// What is to be done for an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it is known.
    Said(Arc<[Tool]>),
    /// Nothing yet: it was not answered a moment ago.
    Wait,
    Ask,
}

impl Answers {
    pub fn next(&self, info: &SessionInfo, now: Instant) -> Next {
        match self.known().get(info) {
            Some(Known::Said(tools)) => Next::Said(tools.clone()),
            Some(Known::Unanswered(backoff)) if !backoff.is_due(now) => Next::Wait,
            _ => Next::Ask,
        }
    }

    /// Notes an answer. Of those who asked at the same time, all get the first.
    pub fn said(&self, info: &SessionInfo, tools: Vec<Tool>) -> Arc<[Tool]> {
        let mut known = self.known();
        if let Some(Known::Said(first)) = known.get(info) {
            return first.clone();
        }
        let tools: Arc<[Tool]> = tools.into();
        known.insert(info.clone(), Known::Said(tools.clone()));
        tools
    }

    /// Notes that there was no answer; what somebody else was told meanwhile, or how long to wait.
    pub fn unanswered(&self, info: &SessionInfo, now: Instant) -> Result<Arc<[Tool]>, Duration> {
        match self.known().entry(info.clone()).or_insert_with(|| Known::Unanswered(Backoff::default())) {
            Known::Said(tools) => Ok(tools.clone()),
            Known::Unanswered(backoff) => Err(backoff.failed(now)),
        }
    }

    /// Is this the first time that its tools are left out because it is still being compiled?
    pub fn is_first_missed(&self) -> bool {
        !self.is_missed.swap(true, Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SessionInfo, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Batching, Replay};

    fn tools(name: &str) -> Vec<Tool> {
        vec![Tool {
            plugin: "p".into(),
            name: name.into(),
            description: String::new(),
            parameters: "{}".into(),
            batching: Batching::Serial,
            replay: Replay::Effect,
            timeout: Duration::from_secs(1),
        }]
    }

    #[test]
    fn an_answer_stands_and_a_question_without_one_is_asked_again_later() {
        let (answers, info, mut now) = (Answers::default(), SessionInfo::plain(), Instant::now());
        let mut before = Duration::ZERO;
        for _ in 0..10 {
            assert_eq!(answers.next(&info, now), Next::Ask);
            let pause = answers.unanswered(&info, now).unwrap_err();
            assert_eq!(answers.next(&info, now + pause / 2), Next::Wait);
            assert!(pause >= before);
            (before, now) = (pause, now + pause);
        }
        let other = SessionInfo { helpers: vec!["image".into()], ..SessionInfo::plain() };
        assert_eq!(answers.next(&other, now), Next::Ask, "each question is its own");

        let said = answers.said(&info, tools("a"));
        assert_eq!(answers.next(&info, now), Next::Said(said.clone()));
        assert_eq!(answers.said(&info, tools("b")), said, "the first answer");
        assert_eq!(answers.unanswered(&info, now), Ok(said.clone()), "somebody else was answered");
        assert_eq!(answers.next(&info, now), Next::Said(said));
    }
}
