//! What was built against a released contract goes on working: the frozen components, and the script that freezes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::host::Work;
use crate::support::{files, guests, root, sha256};

/// What a host that grants nothing answers, interface by interface. A newer contract adds keys; these stay.
fn answers() -> Value {
    json!({
        "word": "hello",
        "http": "Denied",
        "upload refused": true,
        "websocket": ["Denied", false],
        "secrets": [false, "Denied", "Denied", "Denied"],
        "settings": {},
        "conversation": ["Unavailable", "Unavailable", "Unavailable", false],
        "storage": ["Unavailable", "Unavailable", "Unavailable", "Unavailable"],
        "deltas": false,
        "models": "Unavailable",
        "web-search": "Unavailable",
        "images": ["Unavailable", "Unavailable"],
    })
}

#[tokio::test]
async fn every_frozen_contract_is_still_served() {
    let versions = frozen(&root());
    for version in &versions {
        if let Err(reason) = serves(&root(), version).await {
            panic!("the frozen contract {version} is broken, and with it every plugin built against it: {reason}");
        }
    }
}

#[test]
fn what_was_frozen_is_as_it_was() {
    assert_eq!(changed(&root()), Vec::<String>::new(), "plugins were built against it; put it back");
}

#[tokio::test]
async fn what_the_script_freezes_is_what_is_checked() {
    let copy = Copy::of_the_repository();
    assert_eq!(frozen(copy.path()), BTreeSet::new(), "start from a repository without frozen versions: copy only what is needed");
    let refused = copy.freeze("7.7.7");
    assert!(!refused.status.success() && said(&refused).contains("is not of version 7.7.7"), "{}", said(&refused));
    assert!(said(&copy.freeze("latest")).contains("freeze-contract.sh X.Y.Z"));
    assert_eq!(frozen(copy.path()), BTreeSet::new(), "a refusal leaves nothing");

    let done = copy.freeze("0.1.0");
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(frozen(copy.path()), ["0.1.0".to_owned()].into());
    assert_eq!(serves(copy.path(), "0.1.0").await, Ok(()));
    assert!(said(&copy.freeze("0.1.0")).contains("is frozen already"));
    a_change_of_it_is_seen(copy.path());

    // The check would see a host that serves another contract, and one that leaves an interface out.
    let wasm = copy.path().join("host/tests/fixtures/frozen/0.1.0.wasm");
    let good = fs::read(&wasm).unwrap();
    fs::write(&wasm, guests::patched(&good, "@0.1.0", "@9.1.0")).unwrap();
    let broken = serves(copy.path(), "0.1.0").await.unwrap_err();
    assert!(broken.contains("in version 9.1.0; this host serves"), "{broken}");
    fs::write(&wasm, guests::patched(&good, "stellaclaw:plugin/secrets@", "stellaclaw:plugin/secretz@")).unwrap();
    let broken = serves(copy.path(), "0.1.0").await.unwrap_err();
    assert!(broken.contains("secret"), "{broken}");
}

/// The versions that are frozen: their texts and their components.
fn frozen(repository: &Path) -> BTreeSet<String> {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(repository.join(folder)).map(|entries| entries.flatten().collect()).unwrap_or_default();
        let entries: Vec<fs::DirEntry> = entries;
        let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().trim_end_matches(".wasm").to_owned());
        names.filter(|name| !name.starts_with('.') && name != "SHA256SUMS").collect()
    };
    let texts = names("wit/frozen");
    assert_eq!(texts, names("host/tests/fixtures/frozen"), "each frozen contract has its component");
    texts
}

/// The file of sums, in the form of `sha256sum`.
const SUMS: &str = "wit/frozen/SHA256SUMS";

/// The frozen files that are not what they were when they were frozen, or of which that is not known.
fn changed(repository: &Path) -> Vec<String> {
    let folders = ["wit/frozen", "host/tests/fixtures/frozen"].map(|folder| repository.join(folder));
    let files = folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| files(folder));
    let named = files.map(|(path, bytes)| (path.strip_prefix(repository).unwrap().display().to_string(), sha256(&bytes)));
    let found: BTreeMap<String, String> = named.filter(|(name, _)| name != SUMS).collect();
    let sums = fs::read_to_string(repository.join(SUMS)).unwrap_or_default();
    let known = sums.lines().map(|line| line.split_once("  ").unwrap()).map(|(sum, name)| (name.to_owned(), sum.to_owned()));
    let known: BTreeMap<String, String> = known.collect();
    assert_eq!(known.len(), sums.lines().count(), "each frozen file has one sum");
    let names: BTreeSet<&String> = known.keys().chain(found.keys()).collect();
    names.into_iter().filter(|name| known.get(*name) != found.get(*name)).cloned().collect()
}

/// One version is frozen there.
fn a_change_of_it_is_seen(repository: &Path) {
    let [text, wasm] = ["wit/frozen/0.1.0/tools.wit", "host/tests/fixtures/frozen/0.1.0.wasm"];
    assert_eq!(changed(repository), Vec::<String>::new());
    for name in [text, wasm] {
        let path = repository.join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, [good.as_slice(), b"\n"].concat()).unwrap();
        assert_eq!(changed(repository), [name], "changed");
        fs::remove_file(&path).unwrap();
        assert_eq!(changed(repository), [name], "removed");
        fs::write(&path, good).unwrap();
    }
    let more = repository.join("wit/frozen/0.1.0/more.wit");
    fs::write(&more, "").unwrap();
    assert_eq!(changed(repository), ["wit/frozen/0.1.0/more.wit"], "added");
    fs::remove_file(more).unwrap();
    let sums = fs::read_to_string(repository.join(SUMS)).unwrap();
    fs::remove_file(repository.join(SUMS)).unwrap();
    assert!(changed(repository).len() > 5, "no sums");
    fs::write(repository.join(SUMS), sums).unwrap();
}

/// Does this program serve the component of a frozen version, with all of it?
async fn serves(repository: &Path, version: &str) -> Result<(), String> {
    let work = Work::new();
    let wasm = work.folder().join("frozen.wasm");
    fs::copy(repository.join(format!("host/tests/fixtures/frozen/{version}.wasm")), &wasm).unwrap();
    let model = "[models.main]\nprovider = \"frozen\"\nmodel = \"m\"\n";
    work.configure(&format!("default_model = \"main\"\n[plugins.frozen]\npath = {wasm:?}\ntrust = \"path\"\n{model}"));
    let run = async |arguments: &[&str]| {
        let ran = work.run(arguments, "").await;
        if ran.code == Some(0) { Ok(ran.output) } else { Err(format!("{arguments:?}: {} {}", ran.output, ran.errors)) }
    };
    let called = run(&["plugin", "call", "frozen", "ask_everything", "{\"word\": \"hello\"}"]).await?;
    let called: Value = serde_json::from_str(&called).unwrap();
    let answered: BTreeMap<String, Value> = serde_json::from_value(called["parts"][0]["json"].clone()).map_err(|_| called.to_string())?;
    let expected = answers();
    for (interface, answer) in answered {
        if expected[&interface] != answer {
            return Err(format!("{interface} answers {answer} instead of {}", expected[&interface]));
        }
    }
    let asked = run(&["ask", "hello"]).await?;
    if asked.trim() != "frozen: hello" {
        return Err(format!("the model answers {asked:?}"));
    }
    let inspected: Value = serde_json::from_str(&run(&["plugin", "inspect", wasm.to_str().unwrap(), "--json"]).await?).unwrap();
    let world = fs::read_to_string(repository.join(format!("wit/frozen/{version}/worlds.wit"))).unwrap();
    let (_, imports) = world.split_once("world imports {").unwrap();
    for import in imports.split_once('}').unwrap().0.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';')) {
        let name = json!(format!("stellaclaw:plugin/{import}@{version}"));
        if !inspected["imports"]["capabilities"].as_array().unwrap().contains(&name) {
            return Err(format!("the component does not import {name}: have host/tests/guests/every-interface use it"));
        }
    }
    Ok(())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The repository once more, to be changed.
struct Copy(TempDir);

impl Copy {
    /// Without what is frozen in it.
    fn of_the_repository() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        let listed = Command::new("git").current_dir(root()).args(["ls-files", "-co", "--exclude-standard"]).output().unwrap();
        assert!(listed.status.success(), "{}", said(&listed));
        for name in String::from_utf8(listed.stdout).unwrap().lines().filter(|name| !name.contains("/frozen/")) {
            let (from, to) = (root().join(name), copy.path().join(name));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            // A file that was removed is still listed.
            if from.is_file() {
                fs::copy(from, to).unwrap();
            }
        }
        copy
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Built beside the other components, whose dependencies are there.
    fn freeze(&self, version: &str) -> Output {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut script = Command::new("bash");
        guests::components::alone(&mut script);
        script.current_dir(self.path()).env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
        script.args(["scripts/freeze-contract.sh", version]).output().unwrap()
    }
}
