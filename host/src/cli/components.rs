//! The plugin runtime of a verb that has no session.

use std::os::unix::fs::symlink;

use anyhow::Context as _;

use super::Context;
use super::scratch::Scratch;
use crate::config::Config;
use crate::plugins::{Plugins, Setup};
use crate::workdir::WorkDir;

/// A runtime and the directory that it may need until it ends.
pub(super) struct Components {
    pub plugins: Plugins,
    /// Empty but for what the runtime keeps there.
    pub scratch: Scratch,
}

impl Components {
    /// What a host would serve. Before the first start nothing is made in the work directory.
    pub fn as_served(context: &Context, config: &Config) -> anyhow::Result<Self> {
        if context.workdir.exists() {
            // One that is newer than this release is refused untouched.
            WorkDir::existing(&context.workdir)?;
            let scratch = Scratch::new().context("failed to make a temporary directory")?;
            let setup = Setup { workdir: context.workdir.clone(), config: config.clone().into(), bundled: true };
            let plugins = Plugins::start(&setup).context("failed to start the plugin runtime")?;
            return Ok(Self { plugins, scratch });
        }
        Self::apart(context, config.clone(), true)
    }

    /// What `config` names, with nothing that was kept before and nothing kept afterwards. Only compiled code is shared.
    pub fn apart(context: &Context, mut config: Config, bundled: bool) -> anyhow::Result<Self> {
        let scratch = Scratch::new().context("failed to make a temporary directory")?;
        let cache = context.workdir.join("cache");
        if cache.is_dir() {
            symlink(&cache, scratch.path().join("cache")).context("failed to share the code cache")?;
        }
        config.plugin_dirs = config.plugin_dirs.iter().map(|folder| context.in_workdir(folder)).collect();
        Self::within(scratch, config, bundled)
    }

    /// What `config` names, compiled anew.
    pub fn anew(config: Config) -> anyhow::Result<Self> {
        Self::within(Scratch::new().context("failed to make a temporary directory")?, config, false)
    }

    fn within(scratch: Scratch, config: Config, bundled: bool) -> anyhow::Result<Self> {
        let setup = Setup { workdir: scratch.path().to_owned(), config: config.into(), bundled };
        let plugins = Plugins::start(&setup).context("failed to start the plugin runtime")?;
        Ok(Self { plugins, scratch })
    }
}
