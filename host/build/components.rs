//! Building components with cargo. Shared by the build script and by the tests, which build hostile guests.

#[path = "target.rs"]
mod target;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use target::TARGET;

/// What the inner cargo may know of the outer one: where crates come from, never how to compile.
const KEPT: &[&str] = &["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_"];

/// Ends with the command to run when the standard library for components is missing.
pub fn check_target(rustc: &OsStr) -> Result<(), String> {
    if target::is_installed(rustc)? {
        Ok(())
    } else {
        Err(format!("the bundled components need the target {TARGET}; install it with:\n\n    rustup target add {TARGET}\n"))
    }
}

/// A target directory beside the outer one's, shared by all its profiles; `out` itself where that cannot be found.
pub fn target_dir(out: &Path) -> PathBuf {
    out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).unwrap_or(out).join("components")
}

/// A command that runs cargo as if no cargo ran it.
pub fn alone(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_cargo = text.starts_with("CARGO_") && !KEPT.iter().any(|kept| text.starts_with(kept));
        if of_cargo || text.ends_with("RUSTFLAGS") || text.starts_with("RUSTC_") || text == "RUSTDOCFLAGS" {
            command.env_remove(&name);
        }
    }
}

/// Builds `packages` of the workspace as components and says where they are, in the same order.
pub fn build(workspace: &Path, target_dir: &Path, packages: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args(["build", "--locked", "--profile", "component", "--target", TARGET, "--target-dir"]).arg(target_dir);
    for package in packages {
        cargo.args(["--package", package]);
    }
    alone(&mut cargo);
    let output = cargo.output().map_err(|error| format!("run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("build {}:\n{}", packages.join(", "), String::from_utf8_lossy(&output.stderr)));
    }
    let built = target_dir.join(TARGET).join("component");
    Ok(packages.iter().map(|package| built.join(format!("{}.wasm", package.replace('-', "_")))).collect())
}
