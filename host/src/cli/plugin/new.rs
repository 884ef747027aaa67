//! `plugin new`: a plugin that builds as it stands, with the SDK of this very program beside it.
//!
//! The SDK's sources, its contract and the versions of its dependencies are part of the program, so what is written fits
//! the host that wrote it, and builds without any other checkout.

mod example;
mod vendor;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use self::example::Example;
use super::target;
use crate::cli::args::NewArgs;
use crate::cli::{ExitCode, output};
use crate::config;
use crate::plugins::bundled_owner;

/// Runs the verb.
pub(in crate::cli) fn run(args: NewArgs) -> anyhow::Result<ExitCode> {
    let usage = |error| ExitCode::Usage.error(error);
    language(&args.lang).map_err(usage)?;
    let names = Names::of(&args.name).map_err(usage)?;
    let examples = Example::choose(&args.imports).map_err(usage)?;
    let folder = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
    empty(&folder)?;
    for (path, text) in files(&names, &examples)? {
        write(&folder.join(path), &text)?;
    }
    output::text(&next(&names, &folder, &examples))?;
    if let Some(advice) = target::advice() {
        tracing::warn!("{advice}");
    }
    Ok(ExitCode::Ok)
}

fn language(lang: &str) -> anyhow::Result<()> {
    if lang != "rust" {
        bail!(
            "--lang {lang}: plugins are written for rust; a component that another language's tools built becomes a plugin with `stellaclaw plugin pack`"
        );
    }
    Ok(())
}

/// The plugin in the spellings that its files need.
struct Names {
    plugin: String,
    /// The tool's type.
    camel: String,
    tool: String,
}

/// Types that the example uses for something else.
const TYPES: [&str; 10] = ["Call", "Output", "Replay", "Result", "Tool", "String", "Self", "Settings", "Some", "None"];

impl Names {
    fn of(plugin: &str) -> anyhow::Result<Self> {
        if !config::is_name(plugin) || !plugin.starts_with(|first: char| first.is_ascii_lowercase()) {
            bail!("{plugin:?} is not a plugin's name: begin with a letter and use a-z, 0-9, `-` and `_`, at most 64 of them");
        }
        if matches!(plugin, "stellaclaw-sdk" | "stellaclaw_sdk" | "test" | "core" | "std" | "alloc" | "proc_macro") {
            bail!("{plugin:?} is the name of another crate that the plugin needs; take another one");
        }
        let words = plugin.split(['-', '_']).filter(|word| !word.is_empty());
        let mut camel: String = words.map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        if TYPES.contains(&camel.as_str()) {
            camel.push_str("Tool");
        }
        let tool = snake(&camel);
        if let Some(owner) = bundled_owner(plugin, &tool) {
            bail!("the bundled plugin {owner} has that name or its tool {tool:?} already; take another one");
        }
        Ok(Self { plugin: plugin.to_owned(), camel, tool })
    }

    /// Where cargo puts the component.
    fn wasm(&self) -> String {
        format!("target/wasm32-wasip2/release/{}.wasm", self.plugin.replace('-', "_"))
    }
}

/// A type's name as `plugin!` spells its tool.
fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Refuses a folder with something in it.
fn empty(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(anyhow!("{} is not empty; name another folder with --dir", folder.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", folder.display())),
    }
}

/// Every file of the plugin with its text.
fn files(names: &Names, examples: &[Example]) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let grants: String = example::grants(examples).iter().map(|grant| format!(" --grant {grant}")).collect();
    let fill = |text: &str| {
        let text = text.replace("{{name}}", &names.plugin).replace("{{type}}", &names.camel).replace("{{tool}}", &names.tool);
        let text = text.replace("{{edition}}", vendor::edition()).replace("{{contract}}", vendor::contract());
        text.replace("{{wasm}}", &names.wasm()).replace("{{grant}}", &grants)
    };
    let mut files = vec![
        ("Cargo.toml".into(), fill(include_str!("new/Cargo.toml.in"))),
        ("README.md".into(), fill(include_str!("new/README.md.in"))),
        (".gitignore".into(), "/target\n".to_owned()),
        ("src/lib.rs".into(), fill(&example::write(include_str!("new/lib.rs.in"), examples))),
        ("Cargo.lock".into(), vendor::lock(&names.plugin)?),
    ];
    files.extend(vendor::sdk()?);
    Ok(files)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("failed to write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    // The folder was empty: what is there now is somebody else's, and a link would lead elsewhere.
    File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).with_context(failed)
}

/// What was made, and how it goes on.
fn next(names: &Names, folder: &Path, examples: &[Example]) -> String {
    let uses: Vec<_> = examples.iter().map(|example| example.import).collect();
    let uses = if uses.is_empty() { String::new() } else { format!("; it uses {}", uses.join(", ")) };
    format!(
        "{} holds the plugin {} with the tool {}{uses}\n\n  cd {}\n  cargo test\n  cargo build --release --target wasm32-wasip2\n  \
         stellaclaw plugin check {}\n",
        folder.display(),
        names.plugin,
        names.tool,
        folder.display(),
        names.wasm()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The files of one kind in a folder of the repository and in those below it, without what is frozen.
    fn in_repository(folder: &str, kind: &str) -> BTreeMap<PathBuf, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(folder);
        let (mut found, mut folders) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() && !path.ends_with("frozen") {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == kind) {
                    found.insert(path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(path).unwrap());
                }
            }
        }
        found
    }

    #[test]
    fn a_name_becomes_a_type_and_a_tool() {
        let check = |name: &str| Names::of(name).map(|names| (names.camel, names.tool)).map_err(|error| error.to_string());
        assert_eq!(check("word-count"), Ok(("WordCount".into(), "word_count".into())));
        assert_eq!(check("a__2b"), Ok(("A2b".into(), "a2b".into())));
        assert_eq!(check("call"), Ok(("CallTool".into(), "call_tool".into())));
        for wrong in ["", "3d", "-x", "Greet", "a b", "../x", "stellaclaw-sdk", "tools-fs", "grep"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_somebody_puts_there_meanwhile_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("src/lib.rs")).unwrap();
        let refused = write(&dir.path().join("src/lib.rs"), "theirs").unwrap_err().to_string();
        assert!(refused.contains("src/lib.rs"), "{refused}");
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "mine");
    }

    #[test]
    fn the_vendored_files_are_the_sdk_with_its_contract() {
        let files = files(&Names::of("greet").unwrap(), &[]).unwrap();
        let text = |path: &str| &files.iter().find(|(name, _)| *name == Path::new(path)).unwrap().1;
        // Exactly the files of the contract that this host serves, and of the SDK that goes with it.
        for (from, to, kind) in [("wit", "vendor/stellaclaw-sdk/wit", "wit"), ("sdk/src", "vendor/stellaclaw-sdk/src", "rs")] {
            let written = files.iter().filter_map(|(path, text)| Some((path.strip_prefix(to).ok()?.to_owned(), text.clone())));
            let written: BTreeMap<PathBuf, String> = written.collect();
            assert!(!written.is_empty() && written == in_repository(from, kind), "{from}: {:?}", written.keys());
        }
        let manifest = text("vendor/stellaclaw-sdk/Cargo.toml");
        assert!(!manifest.contains("workspace") && manifest.contains("wit-bindgen"), "{manifest}");
        let lock = text("Cargo.lock");
        assert!(lock.contains("name = \"greet\"") && lock.contains("name = \"wit-bindgen\"") && !lock.contains("wasmtime"), "{lock}");
        assert!(!manifest.contains("proptest") && !lock.contains("proptest"), "what only the SDK's tests need");
        assert_eq!(files.iter().map(|(path, _)| path).collect::<BTreeSet<_>>().len(), files.len(), "each file once");
        for (path, text) in &files {
            assert!(!text.contains("{{") || path.starts_with("vendor"), "{}: a gap is left", path.display());
        }
    }
}
