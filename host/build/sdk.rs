//! Collects the sources of the SDK, which `stellaclaw plugin new` writes beside a new plugin.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The table that includes every file of the SDK, and what else its manifest needs to stand alone.
pub fn table(workspace: &Path) -> Result<String, String> {
    let sdk = workspace.join("sdk");
    let mut files = Vec::new();
    collect(&sdk, &mut files)?;
    files.sort();
    let mut table = String::from("const SDK: &[(&str, &str)] = &[\n");
    for path in files {
        let name = path.strip_prefix(&sdk).map_err(|error| error.to_string())?;
        let _ = writeln!(table, "    ({:?}, include_str!({path:?})),", name.display().to_string());
    }
    table.push_str("];\n");
    for (name, file) in [("WORKSPACE", "Cargo.toml"), ("LOCK", "Cargo.lock"), ("LICENSE", "LICENSE")] {
        let _ = writeln!(table, "const {name}: &str = include_str!({:?});", workspace.join(file));
    }
    Ok(table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| ["rs", "wit", "toml"].iter().any(|kept| extension == *kept)) {
            files.push(path);
        }
    }
    Ok(())
}
