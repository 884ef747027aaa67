//! Cargo, as a child that ends with us.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::target;
use crate::limits;

/// A build that runs. Dropped, it ends with all its compilers.
pub(super) struct Build {
    cargo: Child,
    manifest: PathBuf,
}

impl Build {
    /// Starts it. What cargo says goes to our standard error.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let cargo = Command::new("cargo")
            .current_dir(folder)
            .args(["build", "--release", "--target", target::NAME, "--message-format", "json-render-diagnostics"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A group of its own, so that an interrupt reaches the compilers through us, and all of them.
            .process_group(0)
            .spawn()
            .context("failed to run cargo")?;
        Ok(Self { cargo, manifest: folder.join("Cargo.toml") })
    }

    /// The component; none when the build failed.
    pub async fn component(mut self) -> anyhow::Result<Option<PathBuf>> {
        let messages = self.cargo.stdout.take().context("cargo has no standard output")?;
        let manifest = self.manifest.clone();
        let found = tokio::task::spawn_blocking(move || {
            let lines = BufReader::new(messages).lines().map_while(Result::ok);
            lines.filter_map(|line| component(&line, &manifest)).last()
        });
        let found = found.await.context("failed to read what cargo says")?;
        // Its output is closed, so it ends now; a worker of the runtime does not wait for it.
        while self.cargo.try_wait().context("failed to wait for cargo")?.is_none() {
            tokio::time::sleep(limits::CHILD_LOOKED_AT).await;
        }
        let status = self.cargo.wait().context("failed to wait for cargo")?;
        match found {
            _ if !status.success() => Ok(None),
            Some(found) => Ok(Some(found)),
            None => anyhow::bail!("cargo built no component: the crate needs `crate-type = [\"cdylib\"]`"),
        }
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.cargo.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        let ended = |cargo: &mut Child| !matches!(cargo.try_wait(), Ok(None));
        if ended(&mut self.cargo) {
            return;
        }
        self.signal(Signal::INT);
        let begin = Instant::now();
        while !ended(&mut self.cargo) && begin.elapsed() < limits::BUILD_GRACE {
            std::thread::sleep(limits::CHILD_LOOKED_AT);
        }
        // Also when cargo has ended: a compiler of its may not have.
        self.signal(Signal::KILL);
        let _ = self.cargo.wait();
    }
}

/// The component that one of cargo's messages tells of, if it is of this package.
fn component(message: &str, manifest: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["manifest_path"].as_str().map(Path::new) == Some(manifest);
    let files = message["filenames"].as_array().filter(|_| ours)?;
    files.iter().filter_map(Value::as_str).map(PathBuf::from).find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_one_of_this_package() {
        let message = |manifest: &str, file: &str| {
            serde_json::json!({ "reason": "compiler-artifact", "manifest_path": manifest, "filenames": [file] }).to_string()
        };
        let find = |message: &str| component(message, Path::new("/p/Cargo.toml"));
        assert_eq!(find(&message("/p/Cargo.toml", "/t/p.wasm")), Some("/t/p.wasm".into()));
        assert_eq!(find(&message("/p/vendor/Cargo.toml", "/t/sdk.wasm")), None);
        assert_eq!(find(&message("/p/Cargo.toml", "/t/libp.rlib")), None);
        assert_eq!(find("Compiling p"), None);
    }
}
