//! `plugin pack`: a manifest for a component whose toolchain does not write one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

use crate::cli::args::PackArgs;
use crate::cli::{ExitCode, output};
use crate::limits;
use crate::plugins::pack;

/// Runs the verb.
pub(in crate::cli) fn run(args: PackArgs) -> anyhow::Result<ExitCode> {
    let PackArgs { file, manifest, output: target, replace } = args;
    let target = target.as_ref().unwrap_or(&file);
    let wasm = read(&file, limits::COMPONENT_BYTES)?;
    let manifest = manifest_of(&manifest)?;
    let packed = pack(&wasm, &manifest, replace).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    let said = match &packed {
        Some(_) => "carries the manifest now",
        None => "carries this manifest already",
    };
    if packed.is_some() || *target != file {
        replace_file(target, packed.as_deref().unwrap_or(&wasm)).with_context(|| format!("failed to write {}", target.display()))?;
    }
    output::text(&format!("{} {said}\n", target.display()))?;
    Ok(ExitCode::Ok)
}

/// The manifest as JSON, also when it is written as TOML.
fn manifest_of(path: &Path) -> anyhow::Result<Value> {
    let bytes = read(path, limits::MANIFEST_BYTES as u64)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    let failed = || format!("failed to read the manifest {}", path.display());
    let manifest: Value = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_str(&text).with_context(failed)?,
        Some("toml") => toml::from_str(&text).with_context(failed)?,
        _ => return Err(ExitCode::Usage.error(anyhow!("--manifest {}: write a .json or .toml file", path.display()))),
    };
    Ok(manifest)
}

fn read(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("failed to read {}", path.display());
    let found = fs::metadata(path).with_context(failed).map_err(|error| ExitCode::NotFound.error(error))?;
    if !found.is_file() {
        return Err(anyhow!("{} is not a file", path.display()));
    }
    if found.len() > most {
        return Err(anyhow!("{} has {} bytes; at most {most} are read", path.display(), found.len()));
    }
    fs::read(path).with_context(failed)
}

/// Whole or not at all, and never seen half written.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // No name that a folder of plugins would look at.
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut file = File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // It may not even have been made.
        let _ = fs::remove_file(&temporary);
    })
}
