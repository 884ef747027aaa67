//! Whether this machine can build components.

#[path = "../../../build/target.rs"]
#[allow(clippy::duplicate_mod, reason = "tests of the runtime load it once more, below build/components.rs")]
mod build;

use std::ffi::OsStr;

use build::TARGET;
pub(super) use build::TARGET as NAME;

/// What to do before a component can be built; none when nothing is missing.
pub(super) fn advice() -> Option<String> {
    match build::is_installed(OsStr::new("rustc")) {
        Ok(true) => None,
        Ok(false) => {
            Some(format!("components need the target {TARGET}, which is not installed; install it with: rustup target add {TARGET}"))
        }
        Err(error) => Some(format!("components are built with Rust, which was not found ({error}); install it from https://rustup.rs")),
    }
}
