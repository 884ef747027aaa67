//! The answer to `/status`: where a conversation stands, and what it used.

use super::actor::Actor;
use super::fallback;
use super::figures::{tokens, usd};
use super::state::{Phase, Spend};
use crate::clock;
use crate::halt;
use crate::store::{StoreError, Totals};

impl Actor {
    // Not `&self`: an actor can be sent to another thread, and not shared with one.
    pub(super) async fn status(&mut self) -> Result<String, StoreError> {
        let store = self.deps.store.clone();
        let conversation = store.usage_of_conversation(self.conversation.id).await?;
        let turn = store.usage_of_turn(self.state.head.session, self.state.head.last_turn).await?;
        let head = &self.state.head;
        let model = self.deps.model(&self.conversation.model);
        let id = model.as_ref().map_or("not in the configuration any more", |model| model.id.as_str());
        let stands_in = self.standing_in().map_or_else(String::new, |text| format!("; {text}"));
        let stopped = halt::since(&self.deps.workdir)
            .map_or_else(String::new, |since| format!("; everything is stopped by the operator, since {}", since.utc()));
        // Said when it is another than the configuration's.
        let effort = self.conversation.effort.as_ref().map_or_else(String::new, |effort| format!("- reasoning: `{effort}`\n"));
        let window = model.as_ref().map_or(0, |model| model.context_window);
        Ok(format!(
            "- model: `{}` ({id}){stands_in}\n{effort}- workspace: {}\n- state: {}{stopped}\n- context: about {} of {} tokens, {} entries\n\
             - today, all conversations: {}\n\n{}",
            self.conversation.model,
            self.caller.places.workspace.display(),
            self.standing(),
            tokens(self.state.context.estimate(&self.conversation.model)),
            tokens(window),
            self.state.context.items.len(),
            spent(self.deps.ledger.day(clock::now())),
            table(if head.turn.is_some() { "this turn" } else { "last turn" }, &turn, &conversation),
        ))
    }

    /// Who is asked while the conversation's own model cannot answer.
    fn standing_in(&self) -> Option<String> {
        let own = &self.conversation.model;
        let chain = self.deps.chain(own);
        let skipped = self.state.head.turn.as_ref().map_or(&[][..], |turn| &turn.skipped);
        let cooling = self.deps.cooldowns.cooling(&chain, clock::now());
        let asked = fallback::choose(&chain, skipped, &cooling).filter(|asked| asked != own)?;
        let until = cooling.iter().find(|(alias, _)| alias == own).map_or_else(String::new, |(_, until)| format!(" until {}", until.utc()));
        Some(format!("`{asked}` stands in for it{until}"))
    }

    fn standing(&self) -> String {
        let head = &self.state.head;
        match (head.phase, &head.turn) {
            (Phase::Compacting, _) => "summarising the older part of the conversation".to_owned(),
            (Phase::Idle | Phase::Closed, _) | (_, None) => "idle".to_owned(),
            (Phase::Parked, Some(turn)) => format!("turn {} waits for `/continue`", turn.id),
            (Phase::Calling, Some(turn)) => format!("turn {}: {} tool calls open", turn.id, turn.open.len()),
            (_, Some(turn)) => format!("turn {}: waiting for the model (request {})", turn.id, turn.step),
        }
    }
}

fn spent(spend: Spend) -> String {
    let mut text = format!("{} USD", usd(spend.cost_micros, 4));
    if spend.unpriced_tokens > 0 {
        text.push_str(&format!(" and {} tokens without a known price", tokens(spend.unpriced_tokens)));
    }
    text
}

/// Tokens and money of a turn and of its conversation: a table in Markdown that can be read as it is, too.
fn table(turn: &str, of_turn: &Totals, of_conversation: &Totals) -> String {
    let mut rows = vec![["tokens".to_owned(), turn.to_owned(), "conversation".to_owned()]];
    let names = ["uncached", "cache read", "cache write", "output", "its reasoning"];
    let figures = |sums: &Totals| [sums.input_uncached, sums.cache_read, sums.cache_write, sums.output, sums.reasoning].map(tokens);
    let figures = figures(of_turn).into_iter().zip(figures(of_conversation));
    rows.extend(names.into_iter().zip(figures).map(|(name, (turn, all))| [name.to_owned(), turn, all]));
    rows.push(["cost in USD".to_owned(), usd(of_turn.cost_micros, 4), usd(of_conversation.cost_micros, 4)]);
    if of_conversation.unpriced_tokens > 0 {
        rows.push(["without price".to_owned(), tokens(of_turn.unpriced_tokens), tokens(of_conversation.unpriced_tokens)]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [first, second, third] = std::array::from_fn(width);
    let mut lines: Vec<_> = rows.iter().map(|[name, turn, all]| format!("| {name:first$} | {turn:>second$} | {all:>third$} |")).collect();
    lines.insert(1, format!("|:{}|{}:|{}:|", "-".repeat(first + 1), "-".repeat(second + 1), "-".repeat(third + 1)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_cost_are_a_table() {
        let turn = Totals { requests: 2, input_uncached: 1234, output: 56, reasoning: 7, cost_micros: 1200, ..Totals::default() };
        let mut all = Totals { cache_read: 1_234_567, cache_write: 89, ..turn.plus(&turn) };
        insta::assert_snapshot!("priced", table("last turn", &turn, &all));
        all.unpriced_tokens = 12;
        insta::assert_snapshot!("unpriced", table("this turn", &turn, &all));
        assert_eq!(spent(Spend { cost_micros: 5, unpriced_tokens: 0 }), "0.0001 USD");
        assert_eq!(spent(Spend { cost_micros: 0, unpriced_tokens: 1000 }), "0.0000 USD and 1,000 tokens without a known price");
    }
}
