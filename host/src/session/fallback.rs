//! Who is asked: the conversation's model, or one that stands in for it while it cannot answer.
//!
//! A model that failed in a way that lasts cools down, for every conversation and in memory only: after a restart each chain
//! begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Moment;

/// Models that are not asked for a while, with the end of that. Cheap to clone; one per process.
#[derive(Debug, Clone, Default)]
pub struct Cooldowns(Arc<Mutex<HashMap<String, Moment>>>);

impl Cooldowns {
    /// The model is not asked before `until`, unless nobody else is left.
    pub fn cool(&self, alias: &str, until: Moment) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(alias.to_owned(), until);
    }

    /// It answered, or a person wants it asked.
    pub fn forget(&self, alias: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(alias);
    }

    /// Those of `chain` that cool down at `now`, each with the end of it.
    #[must_use]
    pub fn cooling(&self, chain: &[String], now: Moment) -> Vec<(String, Moment)> {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.iter().filter_map(|alias| Some((alias.clone(), *ends.get(alias).filter(|until| **until > now)?))).collect()
    }
}

/// The next model of `chain` that may answer: not one that was given up for this answer, nor one that cools down.
pub(super) fn next<'a>(chain: &'a [String], skipped: &[String], cooling: &[(String, Moment)]) -> Option<&'a str> {
    let is_free = |alias: &&String| !skipped.contains(alias) && !cooling.iter().any(|(cools, _)| cools == *alias);
    chain.iter().find(is_free).map(String::as_str)
}

/// Whom to ask: if nobody may answer, whoever was not given up, and at last the first one, for a person wants an answer.
pub(super) fn choose<'a>(chain: &'a [String], skipped: &[String], cooling: &[(String, Moment)]) -> Option<&'a str> {
    let left = || chain.iter().find(|alias| !skipped.contains(alias)).or(chain.first()).map(String::as_str);
    next(chain, skipped, cooling).or_else(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_model_cools_down_until_its_time_an_answer_or_a_person() {
        let cooldowns = Cooldowns::default();
        let chain = names(&["main", "other"]);
        cooldowns.cool("main", Moment(100));
        cooldowns.cool("elsewhere", Moment(100));
        assert_eq!(cooldowns.cooling(&chain, Moment(99)), [("main".to_owned(), Moment(100))]);
        assert_eq!(cooldowns.cooling(&chain, Moment(100)), []);
        cooldowns.forget("main");
        assert_eq!(cooldowns.cooling(&chain, Moment(0)), []);
    }

    #[test]
    fn the_first_that_may_answer_is_asked_and_somebody_always_is() {
        let chain = names(&["a", "b", "c"]);
        let cooling = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Moment(1))).collect::<Vec<_>>();
        let check = |skipped: &[&str], cools: &[&str], after_a_failure: Option<&str>, asked: &str| {
            let (skipped, cools) = (names(skipped), cooling(cools));
            assert_eq!(next(&chain, &skipped, &cools), after_a_failure, "{skipped:?} {cools:?}");
            assert_eq!(choose(&chain, &skipped, &cools), Some(asked), "{skipped:?} {cools:?}");
        };
        check(&[], &[], Some("a"), "a");
        check(&["a"], &[], Some("b"), "b");
        check(&["a"], &["b"], Some("c"), "c");
        check(&["a"], &["b", "c"], None, "b");
        check(&[], &["a", "b", "c"], None, "a");
        check(&["a", "b", "c"], &[], None, "a");
    }
}
