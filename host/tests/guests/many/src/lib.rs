//! Ten small tools. Benches patch the names and the version, and so have as many plugins as they want.

use stellaclaw_sdk::{Batching, Call, Output, Replay, Result, Tool, plugin, schemars, serde};

/// To be patched.
const VERSION: &str = "version-0000";

macro_rules! ten {
    ($($name:ident)*) => {
        $(
            /// Says which version this is, and what it was told, as often as it was told to.
            #[derive(serde::Deserialize, schemars::JsonSchema)]
            #[serde(crate = "stellaclaw_sdk::serde")]
            struct $name {
                /// What to say.
                text: String,
                /// How often; once when it is left out.
                #[serde(default)]
                times: Option<u8>,
            }

            impl Tool for $name {
                const BATCHING: Batching = Batching::Parallel;
                const REPLAY: Replay = Replay::Read;

                fn call(self, _call: &Call) -> Result<Output> {
                    Ok(Output::text(format!("{VERSION} {}", self.text.repeat(self.times.unwrap_or(1).into()))))
                }
            }
        )*
        plugin! { tools: [$($name),*] }
    };
}

ten! { TenXxA TenXxB TenXxC TenXxD TenXxE TenXxF TenXxG TenXxH TenXxI TenXxJ }
