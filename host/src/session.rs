//! A session: a model loop with a history.
//!
//! Three functions, one direction: [`turn::step`] decides (pure), [`state::State::apply`] remembers (total, no policy),
//! [`context::render`] makes what the model sees (pure). State changes only after its commit; recovery is `apply` over
//! the journal, then `step` with [`turn::Input::Restarted`], then the same driver.

mod actor;
mod asking;
mod calling;
mod capture;
mod clean;
pub mod compaction;
pub mod context;
mod control;
pub mod estimate;
pub mod event;
pub mod fallback;
pub mod figures;
pub mod guards;
pub mod history;
pub mod inbox;
pub mod ledger;
pub mod live;
pub mod notices;
pub mod output;
pub mod places;
mod port;
mod preparing;
#[cfg(test)]
mod proptests;
#[cfg(test)]
mod rig;
pub mod shown;
pub mod state;
mod status;
pub mod system;
pub mod turn;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use actor::run;

use crate::clock::Moment;
use crate::config::{self, Current};
use crate::ids::BootId;
use crate::plugins::{Plugins, SessionInfo, SessionKind};
use crate::secrets::Redactor;
use crate::store::Store;
use crate::workdir::WorkDir;

/// What every session needs. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    pub store: Store,
    pub plugins: Plugins,
    pub config: Current,
    pub workdir: WorkDir,
    /// Takes the values of secrets out of what tools answer.
    pub redactor: Redactor,
    pub boot: BootId,
    pub ledger: ledger::Ledger,
    pub shown: shown::Shown,
    pub cooldowns: fallback::Cooldowns,
    /// One permit: turns that were running at more than one crash go on one at a time.
    pub careful: Arc<Semaphore>,
}

/// Why a session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Something arrived for it.
    Woken,
    /// It may have been in the middle of a turn when its actor, or the host, ended.
    Restarted {
        /// When the host was last seen alive; none when it never ended.
        last_seen: Option<Moment>,
        /// The host ended by itself.
        clean: bool,
    },
    /// The store is behind what happened: it comes from a backup, or its end was lost. What was running then may have gone
    /// on since, with effects, so it waits for a person.
    SetBack,
}

/// Why a session's actor ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing to do for a while.
    Idle,
    /// The session is over; the conversation has another one from now on.
    Closed,
    /// The host stops.
    Stopped,
}

impl Deps {
    /// The configured model, as the configuration is now.
    fn model(&self, alias: &str) -> Option<config::Model> {
        self.config.get().models.get(alias).cloned()
    }

    /// The aliases of a conversation's model and of those that stand in for it.
    fn chain(&self, alias: &str) -> Vec<String> {
        let config = self.config.get();
        let fallback = config.models.get(alias).map_or(&[][..], |model| &model.fallback);
        std::iter::once(alias).chain(fallback.iter().map(String::as_str)).map(str::to_owned).collect()
    }

    /// `asked`: the model that a request went to, in a conversation of `alias`.
    fn policy(&self, alias: &str, asked: &str) -> turn::Policy {
        let config = self.config.get();
        let limits = &config.limits;
        let model = config.models.get(asked);
        let window = model.map_or(crate::limits::CONTEXT_WINDOW, |model| model.context_window);
        let max_output = model.and_then(|model| model.max_output).unwrap_or(0);
        let (compact_at, compact_keep) = compaction::thresholds(&config.session, window, max_output);
        let retry = model.map_or_else(config::Retry::default, |model| model.retry);
        turn::Policy {
            model: asked.to_owned(),
            price: model.and_then(|model| model.price),
            retry: turn::Retry { tries: retry.tries.unwrap_or(config.session.ask_tries), wait: retry.wait, max_wait: retry.max_wait },
            chain: self.chain(alias),
            turn_attempts: crate::limits::TURN_ATTEMPTS,
            turn_steps: limits.turn_steps,
            turn_time: limits.turn_time,
            turn_spend: state::Spend { cost_micros: limits.turn_spend_micros, unpriced_tokens: limits.turn_tokens },
            day_spend: state::Spend { cost_micros: limits.day_spend_micros, unpriced_tokens: limits.day_tokens },
            conversation_spend: state::Spend {
                cost_micros: limits.conversation_spend_micros.unwrap_or(u64::MAX),
                unpriced_tokens: limits.conversation_tokens.unwrap_or(u64::MAX),
            },
            resume_within: config.session.resume_within,
            window,
            max_output,
            compact_at,
            compact_keep,
            cache_ttl: model.and_then(|model| model.cache_ttl).filter(|_| config.session.compact_idle),
        }
    }

    fn session_info(&self, kind: SessionKind, model: Option<&config::Model>) -> SessionInfo {
        let reads = model.map_or_else(|| vec![crate::chat::Modality::Text], |model| model.reads.clone());
        SessionInfo { kind, reads, helpers: self.plugins.helpers(&self.config.get(), model) }
    }
}
