//! Limits of a turn, prices and estimates.

use crate::chat::Usage;
use crate::config::Price;
use crate::limits;
use crate::session::event::ParkReason;
use crate::session::history::Context;
use crate::session::state::{Head, Spend};
use crate::session::turn::{Facts, Policy};

/// How much the day and the conversation may have spent before a turn stops, with what a person granted it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::session) struct Budget {
    pub day: Spend,
    pub conversation: Spend,
}

pub(in crate::session) fn budget(head: &Head, policy: &Policy) -> Budget {
    let (days, granted) = head.turn.as_ref().map_or((0, Spend::default()), |turn| (turn.day_grants, turn.granted));
    Budget { day: policy.day_spend.times(days.saturating_add(1)), conversation: policy.conversation_spend.plus(granted) }
}

/// The limit that forbids the next model request. `spent` is not yet part of the day's total.
pub(super) fn exceeded(head: &Head, policy: &Policy, facts: &Facts, spent: Spend) -> Option<ParkReason> {
    let turn = head.turn.as_ref()?;
    let budget = budget(head, policy);
    if turn.steps >= policy.turn_steps {
        Some(ParkReason::Steps)
    } else if u128::from(head.active_ms(facts.now)) >= policy.turn_time.as_millis() {
        Some(ParkReason::Wall)
    } else if turn.spend.reaches(policy.turn_spend) {
        Some(ParkReason::Spend)
    } else if facts.day.plus(spent).reaches(budget.day) {
        Some(ParkReason::Day)
    } else if facts.conversation.plus(spent).reaches(budget.conversation) {
        Some(ParkReason::Conversation)
    } else {
        None
    }
}

/// Has what the day, or the conversation, may spend been spent? For requests that belong to no turn.
pub(super) fn is_spent(head: &Head, policy: &Policy, facts: &Facts) -> bool {
    facts.day.reaches(policy.day_spend) || facts.conversation.reaches(budget(head, policy).conversation)
}

/// The usage with its cost, where a price is known and the provider did not say.
#[must_use]
pub fn priced(mut usage: Usage, price: Option<Price>) -> Usage {
    if let (None, Some(price)) = (usage.cost_micros, price) {
        let written = usage.cache_write.iter().map(|(seconds, tokens)| {
            let long = u64::from(*seconds) >= limits::CACHE_LONG.as_secs();
            as_f64(*tokens) * if long { price.cache_write_1h } else { price.cache_write }
        });
        // Dollars per million tokens are millionths of a dollar per token.
        let micros = as_f64(usage.input_uncached) * price.input
            + as_f64(usage.cache_read) * price.cache_read
            + written.sum::<f64>()
            + as_f64(usage.output) * price.output;
        usage.cost_micros = Some(whole(micros));
    }
    usage
}

/// What a request with this history costs at least, when nobody said.
pub(super) fn estimate(context: &Context, model: &str, price: Option<Price>) -> Usage {
    priced(Usage { input_uncached: context.estimate(model), ..Usage::default() }, price)
}

fn as_f64(tokens: u64) -> f64 {
    tokens as f64
}

fn whole(micros: f64) -> u64 {
    micros.ceil() as u64
}

impl Spend {
    fn plus(self, other: Self) -> Self {
        Self {
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
            unpriced_tokens: self.unpriced_tokens.saturating_add(other.unpriced_tokens),
        }
    }

    fn times(self, factor: u32) -> Self {
        let factor = u64::from(factor);
        Self { cost_micros: self.cost_micros.saturating_mul(factor), unpriced_tokens: self.unpriced_tokens.saturating_mul(factor) }
    }

    /// Has one of the two limits been reached?
    pub(in crate::session) fn reaches(self, limit: Self) -> bool {
        self.cost_micros >= limit.cost_micros || self.unpriced_tokens >= limit.unpriced_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_s_cost_wins_over_the_configured_price() {
        let price = Some(Price { input: 3.0, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6.0, output: 15.0 });
        let cache_write = vec![(300, 100), (3600, 50)];
        let usage = Usage { input_uncached: 1000, cache_read: 10_000, cache_write, output: 200, ..Usage::default() };
        assert_eq!(priced(usage.clone(), price).cost_micros, Some(3000 + 3000 + 375 + 300 + 3000));
        assert_eq!(priced(usage.clone(), None).cost_micros, None);
        let told = Usage { cost_micros: Some(7), ..usage };
        assert_eq!(priced(told, price).cost_micros, Some(7));
    }
}
