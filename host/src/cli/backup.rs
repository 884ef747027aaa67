//! `backup`: make a backup of the work directory, check one, restore one.

use anyhow::Context as _;
use serde_json::json;

use super::args::BackupVerb;
use super::{Context, ExitCode, output};
use crate::backup::{self, Source};
use crate::config::SecretSource;
use crate::workdir::WorkDir;

/// Runs the verb. Standard output has the backup's path, what is wrong with it, or what was restored.
pub(super) async fn run(context: &Context, verb: BackupVerb) -> anyhow::Result<ExitCode> {
    match verb {
        BackupVerb::Create { place, without_workspaces } => {
            let config = context.config()?;
            let secrets = config.secret_sources().filter_map(|(_, source)| match source {
                SecretSource::File(path) | SecretSource::CodexAuth(path) => Some(path.clone()),
                SecretSource::Env(_) => None,
            });
            let source = Source {
                workdir: WorkDir::existing(&context.workdir)?,
                config: context.config_file.clone(),
                secrets: secrets.collect(),
                workspaces: !without_workspaces,
            };
            let place = std::path::absolute(&place).with_context(|| format!("failed to find {}", place.display()))?;
            let created = backup::create(source, &place).await?;
            for path in created.left_out {
                tracing::warn!(path = %path.display(), "is neither a file nor a directory and is not in the backup");
            }
            output::text(&format!("{}\n", created.path.display()))?;
        }
        BackupVerb::Verify { backup, json } => {
            let verified = backup::verify(&backup).await?;
            let whole = verified.problems.is_empty();
            let (manifest, checked) = (&verified.manifest, &verified.checked);
            if json {
                output::json(&json!({
                    "ok": whole, "release": manifest.release, "made_at": manifest.made_at.stamp(), "workspaces": manifest.workspaces,
                    "files": manifest.files(), "bytes": manifest.bytes(), "journal_rows": checked.journal_rows, "blobs": checked.blobs,
                    "problems": verified.problems,
                }))?;
            } else if whole {
                output::text(&format!(
                    "whole: {} files, {} bytes, {} journal rows, {} blobs; made {} UTC by release {}{}\n",
                    manifest.files(),
                    manifest.bytes(),
                    checked.journal_rows,
                    checked.blobs,
                    manifest.made_at.stamp(),
                    manifest.release,
                    if manifest.workspaces { "" } else { ", without workspaces" },
                ))?;
            } else {
                output::text(&format!("{}\n", verified.problems.join("\n")))?;
            }
            return Ok(if whole { ExitCode::Ok } else { ExitCode::Failed });
        }
        BackupVerb::Restore { backup, into } => {
            let into = into.unwrap_or_else(|| context.workdir.clone());
            let into = std::path::absolute(&into).with_context(|| format!("failed to find {}", into.display()))?;
            let restored = backup::restore(&backup, &into).await?;
            let mut text = format!("restored into {}\n", restored.into.display());
            if restored.replies_aside > 0 {
                text.push_str(&format!("{} replies were not delivered yet and stay so\n", restored.replies_aside));
            }
            if let Some(config) = restored.config {
                text.push_str(&format!("the configuration was not changed; as it was: {}\n", config.display()));
            }
            output::text(&text)?;
        }
    }
    Ok(ExitCode::Ok)
}
