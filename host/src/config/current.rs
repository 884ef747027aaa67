//! The configuration that counts now: the one place that has it, replaced whole.
//!
//! Whoever begins something takes it once and ends it with what was taken: a step of a turn, a call of a plugin, a look at who
//! may talk. What only a start can change keeps its value across replacements.

use std::sync::Arc;

use tokio::sync::watch;

use super::Config;

/// The handle. Cheap to clone; what one replaces, all see.
#[derive(Debug, Clone)]
pub struct Current(Arc<watch::Sender<Arc<Config>>>);

impl Current {
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(watch::Sender::new(config)))
    }

    /// What counts now.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        self.0.borrow().clone()
    }

    /// This counts from now on, but for what only a start can change. The keys of that.
    #[must_use]
    pub fn replace(&self, mut config: Config) -> Vec<&'static str> {
        let fixed = config.keep_fixed(&self.get());
        self.0.send_replace(Arc::new(config));
        fixed
    }

    /// Word of each replacement.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }
}

impl From<Config> for Current {
    fn from(config: Config) -> Self {
        Self::new(Arc::new(config))
    }
}

impl From<Arc<Config>> for Current {
    fn from(config: Arc<Config>) -> Self {
        Self::new(config)
    }
}

impl Config {
    /// Takes from `running` what only a start can change. The keys of what differed.
    fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        if self.plugin_dirs != running.plugin_dirs {
            kept.push("plugin_dirs");
            self.plugin_dirs.clone_from(&running.plugin_dirs);
        }
        match (&mut self.telegram, &running.telegram) {
            (Some(new), Some(old)) => {
                for (differs, key) in [
                    (new.token != old.token, "channels.telegram.token"),
                    (new.api_base_url != old.api_base_url, "channels.telegram.api_base_url"),
                    (new.proxy != old.proxy, "channels.telegram.proxy"),
                ] {
                    kept.extend(differs.then_some(key));
                }
                new.token.clone_from(&old.token);
                new.api_base_url.clone_from(&old.api_base_url);
                new.proxy.clone_from(&old.proxy);
            }
            (None, None) => {}
            (new, old) => {
                kept.push("channels.telegram");
                new.clone_from(old);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(&format!("version = \"0.5\"\n{text}"), Path::new("/c/config.toml")).unwrap()
    }

    #[test]
    fn what_only_a_start_can_change_stays_and_is_named() {
        let bot = |more: &str| config(&format!("[channels.telegram]\ntoken = {{ env = \"TOKEN\" }}\n{more}"));
        let current = Current::from(bot("owners = [1]\n"));
        let other = current.clone();
        assert!(current.replace(bot("owners = [2]\npreview = false\n")).is_empty());
        let now = other.get();
        assert_eq!(now.telegram.as_ref().map(|bot| (bot.owners.clone(), bot.preview)), Some((vec![2], false)));
        let new = "owners = [3]\napi_base_url = \"http://127.0.0.1:1\"\nproxy = \"http://127.0.0.1:2\"\n";
        let new = Config { plugin_dirs: vec!["elsewhere".into()], ..bot(new) };
        assert_eq!(current.replace(new), ["plugin_dirs", "channels.telegram.api_base_url", "channels.telegram.proxy"]);
        let after = other.get();
        assert_eq!(after.plugin_dirs, now.plugin_dirs);
        let expected = crate::config::Telegram { owners: vec![3], preview: true, ..now.telegram.clone().unwrap() };
        assert_eq!(after.telegram, Some(expected));
        assert_eq!(current.replace(config("")), ["channels.telegram"]);
        assert_eq!(other.get().telegram, after.telegram, "a bot that is served is not dropped");
    }
}
