//! Builds the bundled components for `wasm32-wasip2` and embeds them, and the sources of the SDK.
//!
//! They are built by a cargo of their own, with a profile and a target directory of their own, so that neither the flags
//! nor the lock of the build around it reach them. Says first whether the target is installed: without it the compiler's
//! own message is about a missing crate `core`.

#[path = "build/components.rs"]
mod components;
#[path = "build/sdk.rs"]
mod sdk;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates of `plugins/` that are part of the program.
const BUNDLED: &[&str] = &[
    "provider-brave-search",
    "provider-claude",
    "provider-codex",
    "provider-offline",
    "provider-openai-image",
    "provider-openrouter",
    "tools-fs",
];

fn main() -> Result<(), String> {
    let var = |name: &str| env::var_os(name).ok_or(format!("cargo sets {name} for build scripts"));
    let out = PathBuf::from(var("OUT_DIR")?);
    let manifest_dir = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().ok_or("the host is a member of the workspace")?;
    for input in ["plugins", "sdk", "wit", "Cargo.lock", "Cargo.toml", "LICENSE"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");

    components::check_target(&var("RUSTC")?)?;
    let target_dir = components::target_dir(&out);
    let built = components::build(workspace, &target_dir, BUNDLED)?;
    embed(&out, &built)?;
    write_if_changed(&out.join("sdk.rs"), sdk::table(workspace)?.as_bytes())
}

/// Copies the components beside the table that includes them. An unchanged one keeps its time, so that nothing is rebuilt.
fn embed(out: &Path, built: &[PathBuf]) -> Result<(), String> {
    let mut table = String::from("/// The components that are part of this program, by name.\npub static BUNDLED: &[(&str, &[u8])] = &[\n");
    for (name, wasm) in BUNDLED.iter().zip(built) {
        let bytes = fs::read(wasm).map_err(|error| format!("read {}: {error}", wasm.display()))?;
        write_if_changed(&out.join(format!("{name}.wasm")), &bytes)?;
        let _ = writeln!(table, "    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.wasm\"))),");
    }
    table.push_str("];\n");
    write_if_changed(&out.join("bundled.rs"), table.as_bytes())
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| format!("write {}: {error}", path.display()))
}
