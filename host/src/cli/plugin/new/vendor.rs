//! The SDK as a crate that stands alone: what its workspace says is written out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use stellaclaw_bindings::CONTRACT_VERSION;
use toml::{Table, Value};

// `SDK`: every file of the SDK by its path; `WORKSPACE` and `LOCK`: the manifest and the lock file it was built with.
include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Where the SDK is put.
const FOLDER: &str = "vendor/stellaclaw-sdk";

/// Every file of the SDK, with its place in the plugin's folder.
pub(super) fn sdk() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let place = |path: &str| PathBuf::from(FOLDER).join(path);
    let mut files = Vec::new();
    for (path, text) in SDK {
        let text = if *path == "Cargo.toml" { alone(text).context("failed to write out the SDK's manifest")? } else { (*text).to_owned() };
        files.push((place(path), text));
    }
    files.push((place("LICENSE"), LICENSE.to_owned()));
    Ok(files)
}

/// The contract's interfaces that a component may import.
pub(super) fn imports() -> Vec<&'static str> {
    let worlds = SDK.iter().find(|(path, _)| *path == "wit/worlds.wit").map_or("", |(_, text)| *text);
    let world = worlds.split_once("world imports {").map_or("", |(_, rest)| rest);
    let world = world.split_once('}').map_or("", |(world, _)| world);
    world.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';')).collect()
}

pub(super) fn contract() -> &'static str {
    CONTRACT_VERSION
}

/// The edition that this program is written in.
pub(super) fn edition() -> &'static str {
    let line = WORKSPACE.lines().find_map(|line| line.strip_prefix("edition = \""));
    line.and_then(|rest| rest.strip_suffix('"')).unwrap_or("2024")
}

/// A member's manifest without its workspace.
fn alone(manifest: &str) -> anyhow::Result<String> {
    let workspace: Table = toml::from_str(WORKSPACE)?;
    let workspace = workspace.get("workspace").and_then(Value::as_table).context("it has no workspace")?;
    let mut manifest: Table = toml::from_str(manifest)?;
    // Lints and tests are for those who change the SDK.
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    for (section, from) in [("package", "package"), ("dependencies", "dependencies")] {
        let known = workspace.get(from).and_then(Value::as_table).context(section)?;
        let Some(Value::Table(written)) = manifest.get_mut(section) else { continue };
        for (key, value) in written.iter_mut() {
            let inherited = value.as_table().is_some_and(|value| value.get("workspace") == Some(&Value::Boolean(true)));
            if inherited {
                *value = known.get(key).with_context(|| format!("the workspace does not name {key}"))?.clone();
            }
        }
    }
    Ok(toml::to_string(&manifest)?)
}

/// The lock file of a plugin: of this program's, what the SDK needs. Cargo leaves out what it does not use.
pub(super) fn lock(plugin: &str) -> anyhow::Result<String> {
    let mut lock: Table = toml::from_str(LOCK).context("failed to read the lock file")?;
    let mut packages = lock.remove("package");
    let packages = packages.as_mut().and_then(Value::as_array_mut).context("the lock file has no packages")?;
    without_tests(packages)?;
    let mut needed = BTreeSet::new();
    let mut open = vec!["stellaclaw-sdk".to_owned()];
    while let Some(wanted) = open.pop() {
        for (number, package) in packages.iter().enumerate().filter(|(_, package)| is(package, &wanted)) {
            if needed.insert(number) {
                let dependencies = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
                open.extend(dependencies.filter_map(Value::as_str).map(str::to_owned));
            }
        }
    }
    let own = toml::toml! {
        name = "-"
        version = "0.1.0"
        dependencies = ["stellaclaw-sdk"]
    };
    let mut kept = vec![Value::Table(own)];
    kept[0]["name"] = plugin.into();
    kept.extend(needed.into_iter().map(|number| packages[number].clone()));
    kept.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    lock.insert("package".to_owned(), Value::Array(kept));
    Ok(format!("# Cargo writes this file.\n{}", toml::to_string(&lock)?))
}

/// Takes out of the SDK's entry what only its tests need.
fn without_tests(packages: &mut [Value]) -> anyhow::Result<()> {
    let manifest = SDK.iter().find(|(path, _)| *path == "Cargo.toml").map_or("", |(_, text)| *text);
    let manifest: Table = toml::from_str(manifest)?;
    let kept = manifest.get("dependencies").and_then(Value::as_table).context("the SDK has no dependencies")?;
    let sdk = packages.iter_mut().find(|package| is(package, "stellaclaw-sdk")).context("the lock file has no SDK")?;
    if let Some(names) = sdk.get_mut("dependencies").and_then(Value::as_array_mut) {
        names.retain(|name| name.as_str().and_then(|name| name.split(' ').next()).is_some_and(|name| kept.contains_key(name)));
    }
    Ok(())
}

/// Is it what a dependency is called: `name`, or `name version` where there are several?
fn is(package: &Value, wanted: &str) -> bool {
    let mut words = wanted.split(' ');
    let of = |key: &str| package.get(key).and_then(Value::as_str);
    of("name") == words.next() && words.next().is_none_or(|version| of("version") == Some(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_read_from_the_contract() {
        let imports = imports();
        assert!(imports.contains(&"log") && imports.contains(&"http"), "{imports:?}");
    }
}
