//! Tools that take their time, or never end.

use std::time::Duration;

use stellaclaw_sdk::conversation::{self, Step, StepState};
use stellaclaw_sdk::{Batching, Call, Output, Replay, Result, Tool, plugin, schemars, serde};

/// Sleeps, and says what it was told.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Nap {
    /// How long, in milliseconds.
    ms: u64,
    /// What to say afterwards.
    #[serde(default)]
    say: String,
}

impl Tool for Nap {
    fn call(self, _call: &Call) -> Result<Output> {
        std::thread::sleep(Duration::from_millis(self.ms));
        Ok(Output::text(self.say))
    }
}

/// Computes for ever.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Spin {}

impl Tool for Spin {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, call: &Call) -> Result<Output> {
        let mut number = call.id.len() as u64;
        loop {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// Says something loudly.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Shout {
    /// What to say.
    text: String,
}

impl Tool for Shout {
    const BATCHING: Batching = Batching::Parallel;
    const REPLAY: Replay = Replay::Read;

    fn call(self, _call: &Call) -> Result<Output> {
        Ok(Output::text(self.text.to_uppercase()))
    }
}

/// Shows a plan of which the first step is being done, and says where it is.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Outline {
    steps: Vec<String>,
    /// Where it is.
    progress: String,
    /// How long it takes, in milliseconds.
    ms: u64,
}

impl Tool for Outline {
    fn call(self, _call: &Call) -> Result<Output> {
        let state = |n: usize| if n == 0 { StepState::Active } else { StepState::Pending };
        let steps: Vec<_> = self.steps.into_iter().enumerate().map(|(n, text)| Step { text, state: state(n) }).collect();
        conversation::plan(&steps, None)?;
        conversation::progress(&self.progress);
        std::thread::sleep(Duration::from_millis(self.ms));
        Ok(Output::text("outlined"))
    }
}

plugin! { tools: [Nap, Spin, Shout, Outline] }
