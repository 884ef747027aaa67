//! What components are compiled for. Shared by the build script, the tests, and the verbs that build plugins.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// The target's name.
pub const TARGET: &str = "wasm32-wasip2";

/// Is its standard library there?
pub fn is_installed(rustc: &OsStr) -> Result<bool, String> {
    let libdir = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("run {}: {error}", rustc.display()))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&libdir.stdout).trim());
    let is_library = |name: std::ffi::OsString| name.to_string_lossy().starts_with("libstd-");
    Ok(libdir.read_dir().is_ok_and(|entries| entries.filter_map(Result::ok).any(|entry| is_library(entry.file_name()))))
}
