//! The components of `host/tests/guests`, built as the bundled ones are, and versions of them that no author makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

pub use super::patched::patched;
use super::{root, within};

#[path = "../../../build/components.rs"]
#[expect(dead_code, reason = "the build script has checked the target")]
pub mod components;

/// A function for each: the file of the crate of this name, built when it is first asked for.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> &'static Path {
                static BUILT: OnceLock<PathBuf> = OnceLock::new();
                BUILT.get_or_init(|| build(stringify!($name)))
            }
        )*
    };
}

guests! {
    /// The tools `nap`, `spin`, `shout` and `outline`.
    probe
    /// The tools `measure` and `weigh`. Without a manifest.
    bare
    /// The tool `keep`, which keeps values in the store.
    keeper
    /// Does what a component should not do.
    hostile
    /// Asks other components, and is one that is asked.
    courier
    /// Its settings say what it offers. Without a manifest.
    catalogue
    /// Offers something else whenever it can tell one time from another. Without a manifest.
    fickle
    /// Looks for ways out.
    prowler
}

/// The tools `which_version`, `write_one` and `fetch_page`.
pub fn swap() -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    fs::read(BUILT.get_or_init(|| build("swap"))).unwrap()
}

/// The second version of [`swap`]: it has `write_two` instead of `write_one`.
pub fn swapped() -> Vec<u8> {
    patched(&patched(&swap(), "version-1", "version-2"), "write_one", "write_two")
}

/// Waits until the guest of [`swap`] waits for `file`: a call that only waits for a thread has nothing yet, and has not begun.
pub async fn awaits(file: &Path) {
    let sign = file.with_extension("awaited");
    let seen = async {
        while fs::remove_file(&sign).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("a call in its sandbox", seen).await;
}

fn build(package: &str) -> PathBuf {
    let target_dir = components::target_dir(Path::new(env!("OUT_DIR")));
    components::build(&root(), &target_dir, &[package]).unwrap().remove(0)
}
