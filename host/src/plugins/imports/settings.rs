//! `stellaclaw:plugin/settings`: the operator's settings, checked when the plugin was loaded.

use stellaclaw_bindings::settings::Host;

use crate::plugins::instance::Guest;

impl Host for Guest {
    async fn get(&mut self) -> wasmtime::Result<String> {
        self.call.count()?;
        Ok(self.call.settings.to_string())
    }
}
