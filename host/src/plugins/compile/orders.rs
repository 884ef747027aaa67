//! What is to be compiled, in its order: decided without compiling anything.

use std::time::{Duration, Instant};

use crate::limits::{CATALOG_TRIES, COMPILERS};
use crate::plugins::backoff::Backoff;

/// The orders and the number of those who work on them.
pub(super) struct Orders<T> {
    orders: Vec<(T, State, Backoff)>,
    workers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Somebody works on it, or has: then the next [`Orders::want`] leaves it out.
    Begun,
    /// It waits for its time.
    Pausing,
}

impl<T> Default for Orders<T> {
    fn default() -> Self {
        Self { orders: Vec::new(), workers: 0 }
    }
}

impl<T: PartialEq + Clone> Orders<T> {
    /// These are wanted from now on. What is not any more, and has not been begun, is given back.
    pub fn want(&mut self, wanted: impl IntoIterator<Item = T>) -> Vec<T> {
        let wanted: Vec<_> = wanted.into_iter().collect();
        let (stay, go) = std::mem::take(&mut self.orders).into_iter().partition(|(order, ..)| wanted.contains(order));
        self.orders = stay;
        for order in wanted {
            if self.at(&order).is_none() {
                self.orders.push((order, State::Waiting, Backoff::default()));
            }
        }
        let go: Vec<(T, State, Backoff)> = go;
        go.into_iter().filter(|(_, state, _)| *state != State::Begun).map(|(order, ..)| order).collect()
    }

    /// Is one more to work? Then it is counted.
    pub fn hire(&mut self) -> bool {
        // One too many finds nothing and goes; one too few would let an order wait for another's end.
        let waits = self.orders.iter().any(|(_, state, _)| *state == State::Waiting);
        let more = waits && self.workers < COMPILERS;
        self.workers += usize::from(more);
        more
    }

    /// One that was counted does not come; how many there are.
    pub fn dismiss(&mut self) -> usize {
        self.workers -= 1;
        self.workers
    }

    /// What one of the workers is to do; when there is nothing, it goes.
    pub fn next(&mut self) -> Option<T> {
        match self.orders.iter_mut().find(|(_, state, _)| *state == State::Waiting) {
            Some((order, state, _)) => {
                *state = State::Begun;
                Some(order.clone())
            }
            None => {
                self.workers -= 1;
                None
            }
        }
    }

    /// How often it has failed.
    pub fn failures(&self, order: &T) -> u32 {
        self.at(order).map_or(0, |at| self.orders[at].2.failures())
    }

    /// It failed and is left alone for this long; none when nobody wants it any more.
    pub fn pause(&mut self, order: &T, now: Instant) -> Option<Duration> {
        let at = self.at(order)?;
        let (_, state, backoff) = &mut self.orders[at];
        *state = State::Pausing;
        Some(backoff.failed(now))
    }

    /// Its pause is over.
    pub fn resume(&mut self, order: &T) {
        if let Some(at) = self.at(order) {
            let (_, state, _) = &mut self.orders[at];
            if *state == State::Pausing {
                *state = State::Waiting;
            }
        }
    }

    /// Those from which something can be expected: what has failed often may never come.
    pub fn awaited(&self) -> usize {
        self.orders.iter().filter(|(_, _, backoff)| backoff.failures() < CATALOG_TRIES).count()
    }

    fn at(&self, order: &T) -> Option<usize> {
        self.orders.iter().position(|(known, ..)| known == order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Act {
        Want(Vec<u8>),
        Hire,
        Next,
        /// The oldest that is being worked on fails.
        Fail,
        Resume(u8),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            2 => prop::collection::vec(0..6u8, 0..6).prop_map(|mut wanted| { wanted.sort_unstable(); wanted.dedup(); Act::Want(wanted) }),
            2 => Just(Act::Hire),
            3 => Just(Act::Next),
            1 => Just(Act::Fail),
            1 => (0..6u8).prop_map(Act::Resume),
        ]
    }

    proptest! {
        /// Whatever comes: only what is wanted is begun, once, by so many at a time; what is not wanted any more is let go.
        #[test]
        fn only_what_is_wanted_is_begun_and_each_once(acts in prop::collection::vec(act(), 1..80)) {
            let mut orders = Orders::default();
            let (mut wanted, mut begun, mut workers): (Vec<u8>, Vec<u8>, usize) = (Vec::new(), Vec::new(), 0);
            for act in acts {
                match act {
                    Act::Want(now) => {
                        for gone in orders.want(now.clone()) {
                            prop_assert!(wanted.contains(&gone) && !now.contains(&gone) && !begun.contains(&gone));
                        }
                        begun.retain(|order| now.contains(order));
                        wanted = now;
                    }
                    Act::Hire => workers += usize::from(orders.hire()),
                    Act::Next if workers > 0 => match orders.next() {
                        Some(order) => {
                            prop_assert!(wanted.contains(&order) && !begun.contains(&order));
                            begun.push(order);
                        }
                        None => workers -= 1,
                    },
                    Act::Fail if !begun.is_empty() => {
                        let order = begun.remove(0);
                        prop_assert!(orders.pause(&order, Instant::now()).is_some());
                    }
                    Act::Resume(order) => orders.resume(&order),
                    Act::Next | Act::Fail => {}
                }
                prop_assert!(workers <= COMPILERS);
                prop_assert!(orders.orders.len() == wanted.len(), "it holds what is wanted and nothing else");
            }
            // What is wanted and not begun comes, in the end.
            wanted.iter().for_each(|order| orders.resume(order));
            let mut rest = Vec::new();
            workers += usize::from(orders.hire());
            while workers > 0 {
                match orders.next() {
                    Some(order) => rest.push(order),
                    None => workers -= 1,
                }
            }
            prop_assert!(wanted.iter().all(|order| begun.contains(order) != rest.contains(order)));
        }
    }

    #[test]
    fn what_has_been_replaced_is_let_go_and_comes_back_as_new() {
        let mut orders = Orders::default();
        assert!(orders.want([1, 2]).is_empty());
        assert!(orders.hire() && orders.hire() && !orders.hire(), "no more than there may be");
        assert_eq!(orders.next(), Some(1));
        assert_eq!(orders.want([3]), [2], "the one that was begun ends by itself");
        assert_eq!(orders.pause(&1, Instant::now()), None, "and is not tried again");
        assert_eq!((orders.next(), orders.awaited()), (Some(3), 1));
        assert!(orders.want([1, 3]).is_empty());
        assert_eq!(orders.next(), Some(1), "it is meant again");
        for failures in 0..CATALOG_TRIES {
            assert_eq!((orders.failures(&1), orders.awaited()), (failures, 2));
            orders.pause(&1, Instant::now()).unwrap();
            orders.resume(&1);
        }
        assert_eq!(orders.awaited(), 1, "nobody waits for what may never come");
    }

    #[test]
    fn who_works_on_one_does_not_keep_another_waiting() {
        let mut orders = Orders::default();
        orders.want([1]);
        assert!(orders.hire());
        assert_eq!(orders.next(), Some(1));
        assert!(!orders.hire(), "nothing waits");
        orders.want([1, 2]);
        assert!(orders.hire());
        assert_eq!(orders.next(), Some(2));
    }
}
