//! The provider that needs nothing: no key, no network, no language model.
//!
//! It is what a fresh installation talks to. A few commands drive the real tools ([`grammar`]), what they answered is put
//! into words ([`answers`]), and everything a real provider does happens too: deltas, journal, sandbox. With a `script` among
//! the model's options it plays any stream instead ([`script`]), for tests and demonstrations.
//!
//! Invariant: an answer depends on the request and the options alone. The component lives for one call, so where a
//! conversation stands is read from its messages.

pub mod answers;
pub mod grammar;
pub mod options;
pub mod player;
pub mod script;
pub mod turn;

use std::time::Duration;

use stellaclaw_sdk::chat::{Completion, Failure, Model, Request};
use stellaclaw_sdk::deltas::{self, Delta};
use stellaclaw_sdk::{Provider, conversation, plugin};

use options::{Options, SCHEMA as OPTIONS_SCHEMA};
use player::Stage;

/// The provider of this component.
#[derive(Debug)]
pub struct Offline;

plugin! { provider: Offline, options: OPTIONS_SCHEMA }

impl Provider for Offline {
    fn complete(model: &Model, request: &Request) -> Result<Completion, Failure> {
        answer(model, request, &mut Host)
    }
}

/// Answers `request` on `stage`.
///
/// # Errors
///
/// `invalid-request` for options that are wrong, `cancelled`, and whatever the script says.
pub fn answer(model: &Model, request: &Request, stage: &mut impl Stage) -> Result<Completion, Failure> {
    let options = Options::parse(&model.options)?;
    let events = script::events(&options.script, request).unwrap_or_else(|| turn::events(request));
    player::play(model, request, &events, options.delay_ms, stage)
}

/// The stage of the real world.
struct Host;

impl Stage for Host {
    fn emit(&mut self, batch: &[Delta]) -> bool {
        deltas::emit(batch)
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn interrupted(&mut self) -> bool {
        conversation::interrupted()
    }
}

#[cfg(test)]
mod tests;
