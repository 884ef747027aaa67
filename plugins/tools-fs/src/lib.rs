//! The file tools: read, write, edit, patch, search and list what is in the workspace.
//!
//! Every tool takes its arguments, turns the paths into `paths::Place`s and does its work through `files::Files`, so
//! that the same tools can act on files elsewhere with another implementation of that one trait. A call lives in a
//! sandbox of 64 MiB: whatever can be large is streamed or refused by name.

mod answer;
mod edit;
mod files;
mod glob;
mod globs;
mod grep;
mod ls;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod memory;
mod newest;
mod patch;
mod paths;
mod read;
mod text;
mod walk;
mod write;

use edit::Edit;
use glob::Glob;
use grep::Grep;
use ls::Ls;
use patch::ApplyPatch;
use read::FileRead;
use stellaclaw_sdk::plugin;
use write::FileWrite;

plugin! { tools: [FileRead, FileWrite, Edit, ApplyPatch, Grep, Glob, Ls], fs: ["workspace:rw"] }

#[cfg(test)]
mod tests {
    use stellaclaw_sdk::serde_json::{Value, from_slice, from_str, json};
    use stellaclaw_sdk::types::{Placement, SessionKind};
    use stellaclaw_sdk::{Batching, Call, ErrorKind, Part, Replay, SessionInfo, ToolEntry};

    use super::__stellaclaw::{JSON, TOOLS};

    fn session() -> SessionInfo {
        SessionInfo { kind: SessionKind::Foreground, reads: Vec::new(), helpers: Vec::new(), placement: Placement::Local, ext: None }
    }

    #[test]
    fn readers_run_side_by_side_and_again_and_writers_do_not() {
        let catalog = ToolEntry::catalog(TOOLS, &session());
        let kinds: Vec<_> = catalog.iter().map(|tool| (tool.name.as_str(), tool.batching, tool.replay)).collect();
        let reader = |name| (name, Batching::Parallel, Replay::Read);
        let writer = |name| (name, Batching::Serial, Replay::Effect);
        let expected = [
            reader("file_read"),
            writer("file_write"),
            writer("edit"),
            writer("apply_patch"),
            reader("grep"),
            reader("glob"),
            reader("ls"),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn descriptions_and_schemas_are_within_the_limits_of_the_contract() {
        for tool in ToolEntry::catalog(TOOLS, &session()) {
            assert!((50..4096).contains(&tool.description.len()), "{}: {}", tool.name, tool.description.len());
            let schema: Value = from_str(&tool.parameters).unwrap();
            assert!(
                (&schema["type"], &schema["additionalProperties"]) == (&json!("object"), &json!(false)) && schema["required"].is_array()
            );
            let properties = schema["properties"].as_object().unwrap();
            assert!(properties.values().all(|property| property["description"].is_string()), "{}: {properties:?}", tool.name);
        }
    }

    #[test]
    fn the_manifest_asks_for_the_workspace_and_nothing_else() {
        let manifest: Value = from_slice(&JSON).unwrap();
        assert_eq!(manifest["requests"], json!({"fs": ["workspace:rw"], "http": []}));
        assert_eq!(manifest["slots"], json!([]));
    }

    /// Through the entry the host uses, in the directory of the crate: nothing else is known to be there.
    #[test]
    fn a_call_works_in_the_current_directory() {
        let call = |name: &str, arguments: &str| {
            let call = Call {
                id: "1".into(),
                name: name.into(),
                arguments: arguments.into(),
                attempt: 1,
                time_left: 1000,
                session: session(),
                ext: None,
            };
            ToolEntry::run(TOOLS, &call)
        };
        let output = call("file_read", r#"{"file_path":"Cargo.toml","limit":1}"#).unwrap();
        assert!(matches!(&output.parts[..], [Part::Json(json)] if json.contains("1: [package]")), "{output:?}");
        assert_eq!(output.summary.unwrap().split(':').next(), Some("Cargo.toml"));
        assert!(call("glob", r#"{"pattern":"src/*.rs"}"#).is_ok() && call("ls", r#"{"path":"src"}"#).is_ok());
        assert!(call("grep", r#"{"pattern":"^name = \"tools-fs\"$","path":"Cargo.toml"}"#).is_ok());
        assert_eq!(call("file_write", r#"{"file_path":"x"}"#).unwrap_err().kind, ErrorKind::Invalid);
        for name in ["edit", "apply_patch"] {
            assert_eq!(call(name, "[]").unwrap_err().kind, ErrorKind::Invalid);
        }
    }
}
