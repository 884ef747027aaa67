//! The configuration as text, and putting it and its secrets into place.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::kept::Kept;
use crate::chat::Modality;
use crate::cli::ExitCode;
use crate::config::{CONFIG_VERSION, Config, SecretSource};
use crate::files::durable;

/// What the person wants.
pub(super) struct Wanted {
    pub model: Model,
    pub bot: Option<Bot>,
    /// systemd starts it.
    pub service: bool,
}

/// The model that answers.
pub(super) struct Model {
    pub provider: &'static str,
    pub id: String,
    pub base_url: Option<String>,
    pub key: Option<Kept>,
    /// Beside text.
    pub reads: &'static [Modality],
    /// None: the configuration's default.
    pub context_window: Option<u64>,
}

/// The bot that is served.
pub(super) struct Bot {
    pub token: Kept,
    pub api_base_url: Option<String>,
    pub owners: Vec<i64>,
    /// Its first owner sends it a code.
    pub pairs: bool,
}

impl Wanted {
    fn secrets(&self) -> impl Iterator<Item = &Kept> {
        self.model.key.iter().chain(self.bot.iter().map(|bot| &bot.token))
    }

    fn text(&self) -> String {
        let Model { provider, id, base_url, key, reads, context_window } = &self.model;
        let mut lines = vec![
            "# Written by `stellaclaw init`. `stellaclaw config check` says what is wrong with it; example_config.toml has every key.\n"
                .to_owned(),
            format!("version = {}\n", quoted(CONFIG_VERSION)),
            "[models.main]".to_owned(),
            format!("provider = {}", quoted(provider)),
            format!("model = {}", quoted(id)),
        ];
        lines.extend(base_url.as_ref().map(|url| format!("base_url = {}", quoted(url))));
        lines.extend(key.as_ref().map(|key| format!("api_key = {}", source(&key.named()))));
        lines.extend(context_window.map(|tokens| format!("context_window = {tokens}")));
        if !reads.is_empty() {
            let reads: Vec<_> = [Modality::Text].iter().chain(*reads).map(|reads| quoted(reads.word())).collect();
            lines.push(format!("reads = [{}]", reads.join(", ")));
        }
        if let Some(bot) = &self.bot {
            lines.push("\n[channels.telegram]".to_owned());
            lines.push(format!("token = {}", source(&bot.token.named())));
            lines.extend(bot.api_base_url.as_ref().map(|url| format!("api_base_url = {}", quoted(url))));
            if !bot.owners.is_empty() {
                let owners: Vec<_> = bot.owners.iter().map(ToString::to_string).collect();
                lines.push(format!("owners = [{}]", owners.join(", ")));
            }
        }
        lines.join("\n") + "\n"
    }

    /// The configuration as it will be at `path`, with secrets that can be read already.
    pub fn config(&self, path: &Path) -> anyhow::Result<Config> {
        let mut config = Config::parse(&self.text(), path)?;
        if let (Some(model), Some(key)) = (config.models.get_mut("main"), &self.model.key) {
            model.api_key = Some(key.now());
        }
        if let (Some(telegram), Some(bot)) = (&mut config.telegram, &self.bot) {
            telegram.token = bot.token.now();
        }
        Ok(config)
    }

    /// Files that would be replaced.
    pub fn in_the_way(&self, path: &Path) -> Option<PathBuf> {
        let secrets = self.secrets().filter_map(|kept| kept.file(folder(path)));
        secrets.map(|(path, _)| path).find(|path| path.exists())
    }

    /// Writes everything, the configuration last and only when it is right: until then nothing counts. What was there before
    /// is kept beside it. Every file that is there now, and what it is.
    pub fn write(&self, path: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let text = self.text();
        Config::parse(&text, path)?;
        let place = |path: &Path, bytes: &[u8], what: &str| -> anyhow::Result<(PathBuf, String)> {
            let what = match put(path, bytes).with_context(|| format!("failed to write {}", path.display())) {
                Ok(Some(before)) => format!("{what}; the one before is {}", before.display()),
                Ok(None) => what.to_owned(),
                Err(error) => return Err(ExitCode::Disk.error(error)),
            };
            Ok((path.to_owned(), what))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder(path))
            .with_context(|| format!("failed to make {}", folder(path).display()))
            .map_err(|error| ExitCode::Disk.error(error))?;
        let mut written = Vec::new();
        for (path, secret) in self.secrets().filter_map(|kept| kept.file(folder(path))) {
            written.push(place(&path, format!("{}\n", secret.expose()).as_bytes(), "a secret that only you can read")?);
        }
        written.insert(0, place(path, text.as_bytes(), "the configuration")?);
        Ok(written)
    }
}

/// Replaces a file whole, and keeps what it was before: where.
fn put(path: &Path, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
    let before = match fs::read(path) {
        Ok(before) if before == bytes => None,
        Ok(before) => {
            let mut kept = path.as_os_str().to_owned();
            kept.push(".bak");
            durable::replace(Path::new(&kept), &before)?;
            Some(kept.into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    durable::replace(path, bytes)?;
    Ok(before)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn source(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(name) => format!("{{ env = {} }}", quoted(name)),
        SecretSource::File(path) => format!("{{ file = {} }}", quoted(&path.to_string_lossy())),
        SecretSource::CodexAuth(path) => format!("{{ codex_auth = {} }}", quoted(&path.to_string_lossy())),
    }
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;

    use super::*;

    fn wanted(id: &str, url: Option<&str>) -> Wanted {
        let env = |name: &str| Kept::There(SecretSource::Env(name.into()));
        let model = Model {
            provider: "provider-openrouter",
            id: id.into(),
            base_url: url.map(str::to_owned),
            key: Some(env("KEY")),
            reads: &[Modality::Image],
            context_window: Some(200_000),
        };
        let bot = Bot { token: env("TOKEN"), api_base_url: Some("http://127.0.0.1:8081/".into()), owners: vec![7, 8], pairs: false };
        Wanted { model, bot: Some(bot), service: false }
    }

    #[test]
    fn the_text_is_one_that_a_person_can_go_on_with() {
        insta::assert_snapshot!(wanted("a/b", Some("http://localhost:1/v1")).text(), @r#"
        # Written by `stellaclaw init`. `stellaclaw config check` says what is wrong with it; example_config.toml has every key.

        version = "0.5"

        [models.main]
        provider = "provider-openrouter"
        model = "a/b"
        base_url = "http://localhost:1/v1"
        api_key = { env = "KEY" }
        context_window = 200000
        reads = ["text", "image"]

        [channels.telegram]
        token = { env = "TOKEN" }
        api_base_url = "http://127.0.0.1:8081/"
        owners = [7, 8]
        "#);
    }

    #[test]
    fn what_was_there_is_kept_and_only_the_owner_reads_what_is_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/config.toml");
        let first = wanted("one", None).write(&path).unwrap();
        assert_eq!(first, [(path.clone(), "the configuration".to_owned())]);
        let before = fs::read(&path).unwrap();
        wanted("two", None).write(&path).unwrap();
        assert_eq!(fs::read(home.path().join("a/b/config.toml.bak")).unwrap(), before);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&home.path().join("a/b/config.toml.bak")), mode(&home.path().join("a"))), (0o600, 0o600, 0o700));
        assert_eq!(Config::load(&path).unwrap().models["main"].id, "two");
        // A wrong one replaces nothing.
        wanted("three", Some("ftp://x")).write(&path).unwrap_err();
        assert_eq!(Config::load(&path).unwrap().models["main"].id, "two");
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_what_is_read(id in "\\PC{1,40}|[\"'\\\\\\n\\]#]{1,8}") {
            // Nothing is no name of a model; whoever asks for it is told so.
            prop_assume!(!id.trim().is_empty());
            let config = wanted(&id, None).config(Path::new("/x/config.toml")).unwrap();
            prop_assert_eq!(&config.models["main"].id, &id);
        }
    }
}
