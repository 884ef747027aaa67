//! A work directory, a fake vendor, and the log of those who talk to its host.

use super::client::Log;
use super::fake_openai::{API_KEY, FakeOpenAi, Script};
use super::host::Work;

/// The stage of a test that needs a model.
pub struct Scene {
    pub work: Work,
    pub fake: FakeOpenAi,
    pub log: Log,
}

impl Scene {
    /// With `provider-openrouter` and a fake vendor that plays `script`.
    pub async fn new(script: Script) -> Self {
        Self::with(script, "").await
    }

    /// The same, and more configuration.
    pub async fn with(script: Script, more: &str) -> Self {
        Self::tuned(script, "", more).await
    }

    /// The same, with further keys of the model `main`.
    pub async fn tuned(script: Script, main: &str, more: &str) -> Self {
        let mut work = Work::new();
        let fake = FakeOpenAi::start(work.folder(), script).await;
        work.set("FAKE_KEY", API_KEY);
        let log = Log::new(work.folder());
        let scene = Self { work, fake, log };
        scene.configure(main, more);
        scene
    }

    /// Writes the configuration anew, with more keys of the model `main`, and more of everything else.
    pub fn configure(&self, of_main: &str, more: &str) {
        let model = |alias: &str, keys: &str| {
            format!(
                "[models.{alias}]\nprovider = \"provider-openrouter\"\nmodel = \"fake-{alias}\"\nbase_url = \"{}\"\n\
                 api_key = {{ env = \"FAKE_KEY\" }}\n{keys}",
                self.fake.base_url()
            )
        };
        self.work.configure(&format!("default_model = \"main\"\n{}{}{more}", model("main", of_main), model("other", "")));
    }
}
