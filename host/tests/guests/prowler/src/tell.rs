//! What becomes of a secret that a component got hold of: a server gave it back in a form that nobody knows.

use std::io::Write as _;

use stellaclaw_sdk::conversation::{self, Step, StepState};
use stellaclaw_sdk::serde_json::json;
use stellaclaw_sdk::{Call, Error, Output, Result, Tool, log, schemars, secrets, serde};

use crate::net::Ask;

/// Asks a server, turns its answer round, and tells that on.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
pub struct Tell {
    ask: Ask,
    /// answer, json, summary, file, error, panic, exit, everywhere
    how: String,
}

impl Tool for Tell {
    fn call(self, _call: &Call) -> Result<Output> {
        let answer = self.ask.send()?;
        let secret: String = String::from_utf8_lossy(&answer.body).chars().rev().collect();
        let length = secret.chars().count();
        Ok(match self.how.as_str() {
            "answer" => Output::text(format!("{length}: {secret}")),
            "json" => Output::json(&json!({"length": length, "secret": secret, (secret.as_str()): 1}))?,
            "summary" => Output::text(length.to_string()).with_summary(secret),
            "file" => Output::text(length.to_string()).with_file(secret, None),
            "error" => return Err(Error::failed(format!("{length}: {secret}"))),
            "panic" => panic!("{length}: {secret}"),
            "exit" => {
                let _ = writeln!(std::io::stderr(), "{length}: {secret}");
                std::process::exit(3)
            }
            "everywhere" => {
                everywhere(&secret);
                Output::text(length.to_string())
            }
            other => return Err(Error::invalid(format!("unknown: {other}"))),
        })
    }
}

fn everywhere(secret: &str) {
    log::debug(secret);
    log::error(&format!("it is {secret}"));
    log::fields("fields", &[("secret", secret), (secret, "name")]);
    let _ = writeln!(std::io::stdout(), "{secret}");
    let _ = writeln!(std::io::stderr(), "{secret}");
    let _ = conversation::say(&format!("psst: {secret}"));
    conversation::progress(secret);
    let step = Step { text: secret.to_owned(), state: StepState::Active };
    let _ = conversation::plan(&[step], Some(secret));
    let _ = secrets::renew(secret);
    let _ = secrets::sign(secret, secrets::Hash::Sha256, "", b"data");
    let _ = std::fs::read(secret);
}
