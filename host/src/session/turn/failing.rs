//! What follows from a failed model request. Pure; by the failure alone.

use std::time::Duration;

use crate::chat::{Failure, FailureKind, Reached};
use crate::clock::Moment;
use crate::limits;
use crate::session::turn::Retry;

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The same model in a while, then another one. Nothing happens twice by it: a model request only costs.
    Again,
    /// Another model: this one says no until somebody does something about it, or for long.
    Another,
    /// Less history.
    Shorter,
    /// A person.
    Person,
}

pub(super) fn remedy(kind: FailureKind) -> Remedy {
    match kind {
        FailureKind::RateLimit
        | FailureKind::Overloaded
        | FailureKind::Server
        | FailureKind::Timeout
        | FailureKind::Transport
        | FailureKind::ContinuationLost
        | FailureKind::Protocol => Remedy::Again,
        FailureKind::Denied
        | FailureKind::AuthExpired
        | FailureKind::AuthInvalid
        | FailureKind::Forbidden
        | FailureKind::Quota
        | FailureKind::UsageLimit
        | FailureKind::ModelNotFound => Remedy::Another,
        FailureKind::ContextOverflow => Remedy::Shorter,
        // What is asked is at fault, or nobody knows what is.
        FailureKind::InvalidRequest | FailureKind::InvalidMedia | FailureKind::Policy | FailureKind::Cancelled | FailureKind::Other => {
            Remedy::Person
        }
    }
}

/// The wait that the vendor asks for.
fn asked(failure: &Failure, now: Moment) -> Option<Duration> {
    let after = failure.retry_after_ms.map(Duration::from_millis);
    after.or_else(|| failure.resets_at.map(|resets| Duration::from_millis(resets.since(now))))
}

/// Is it so long that another model had better be asked?
pub(super) fn is_long(failure: &Failure, now: Moment) -> bool {
    asked(failure, now).is_some_and(|wait| wait > limits::RETRY_AFTER_MAX)
}

/// The wait before the next attempt, without jitter. `tries`: failures in a row.
pub(super) fn wait(failure: &Failure, tries: u32, retry: Retry, now: Moment) -> Duration {
    match asked(failure, now) {
        Some(wait) => wait.min(limits::RETRY_AFTER_MAX),
        None => retry.wait.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(retry.max_wait),
    }
}

/// Until when a model is not asked that failed for good.
pub(super) fn cools_until(failure: &Failure, now: Moment) -> Moment {
    let span = asked(failure, now).unwrap_or(limits::COOLDOWN).clamp(limits::COOLDOWN_MIN, limits::COOLDOWN_MAX);
    Moment(now.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

/// May it have cost something that nobody will tell? What its vendor refused costs nothing; where the vendor was silent, and the
/// request had left, it may have been worked on.
pub(super) fn may_have_cost(failure: &Failure) -> bool {
    let is_silent = matches!(
        failure.kind,
        FailureKind::Timeout | FailureKind::Transport | FailureKind::Protocol | FailureKind::Cancelled | FailureKind::Other
    );
    match failure.reached {
        Reached::BeforeSend => false,
        Reached::Sent => is_silent && failure.status.is_none(),
        Reached::AfterOutput => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000);
    const RETRY: Retry = Retry { tries: 9, wait: Duration::from_secs(1), max_wait: Duration::from_secs(30) };

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "it broke")
    }

    fn after(millis: u64) -> Failure {
        Failure { retry_after_ms: Some(millis), ..failure(FailureKind::RateLimit) }
    }

    fn resets(at: i64) -> Failure {
        Failure { resets_at: Some(Moment(at)), ..failure(FailureKind::UsageLimit) }
    }

    #[test]
    fn every_kind_has_its_remedy() {
        use FailureKind as Kind;
        let rows = [
            (Kind::Denied, Remedy::Another),
            (Kind::AuthExpired, Remedy::Another),
            (Kind::AuthInvalid, Remedy::Another),
            (Kind::Forbidden, Remedy::Another),
            (Kind::Quota, Remedy::Another),
            (Kind::UsageLimit, Remedy::Another),
            (Kind::RateLimit, Remedy::Again),
            (Kind::Overloaded, Remedy::Again),
            (Kind::Server, Remedy::Again),
            (Kind::Timeout, Remedy::Again),
            (Kind::Transport, Remedy::Again),
            (Kind::ContextOverflow, Remedy::Shorter),
            (Kind::InvalidRequest, Remedy::Person),
            (Kind::InvalidMedia, Remedy::Person),
            (Kind::Policy, Remedy::Person),
            (Kind::ModelNotFound, Remedy::Another),
            (Kind::ContinuationLost, Remedy::Again),
            (Kind::Protocol, Remedy::Again),
            (Kind::Cancelled, Remedy::Person),
            (Kind::Other, Remedy::Person),
        ];
        for (kind, expected) in rows {
            assert_eq!(remedy(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn waits_grow_to_their_bound_and_the_vendor_s_wins_within_reason() {
        let own = failure(FailureKind::Overloaded);
        let waits = [1, 2, 3, 5, 6, 60].map(|tries| wait(&own, tries, RETRY, NOW).as_secs());
        assert_eq!(waits, [1, 2, 4, 16, 30, 30]);
        let slow = Retry { wait: Duration::from_secs(20), ..RETRY };
        assert_eq!([1, 2].map(|tries| wait(&own, tries, slow, NOW).as_secs()), [20, 30]);
        let millis = |failure: &Failure| wait(failure, 3, RETRY, NOW).as_millis();
        assert_eq!((millis(&after(1500)), millis(&resets(NOW.0 + 2500)), millis(&resets(0))), (1500, 2500, 0));
        assert_eq!(wait(&after(u64::MAX), 1, RETRY, NOW), limits::RETRY_AFTER_MAX);
        assert_eq!((is_long(&after(300_000), NOW), is_long(&after(300_001), NOW), is_long(&own, NOW)), (false, true, false));
        let both = Failure { resets_at: Some(Moment(NOW.0 + 9000)), ..after(10) };
        assert_eq!(millis(&both), 10, "the wait is more exact than the time of two clocks");
    }

    #[test]
    fn a_model_cools_down_as_long_as_its_vendor_says_and_at_most_a_day() {
        let span = |failure: &Failure| cools_until(failure, NOW).0 - NOW.0;
        assert_eq!(span(&failure(FailureKind::Quota)), 300_000);
        assert_eq!((span(&after(60_000)), span(&resets(NOW.0 + 3_600_000))), (60_000, 3_600_000));
        assert_eq!((span(&after(1)), span(&resets(0))), (10_000, 10_000));
        assert_eq!((span(&after(u64::MAX)), span(&resets(i64::MAX))), (86_400_000, 86_400_000));
    }

    #[test]
    fn a_request_whose_end_nobody_knows_may_have_cost_something() {
        let cost = |kind, reached, status| may_have_cost(&Failure { reached, status, ..failure(kind) });
        let silent = [FailureKind::Timeout, FailureKind::Transport, FailureKind::Protocol, FailureKind::Cancelled, FailureKind::Other];
        for kind in silent {
            let by_step = [Reached::BeforeSend, Reached::Sent, Reached::AfterOutput].map(|reached| cost(kind, reached, None));
            assert_eq!(by_step, [false, true, true], "{kind:?}");
        }
        assert!(!cost(FailureKind::Overloaded, Reached::Sent, None) && cost(FailureKind::Overloaded, Reached::AfterOutput, Some(200)));
        assert!(!cost(FailureKind::Other, Reached::Sent, Some(418)), "the vendor said no");
    }
}
