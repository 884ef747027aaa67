//! What of the host the tool of a new plugin uses, one example per interface.

use anyhow::bail;

use super::vendor;

/// How one interface is used.
#[derive(Debug)]
pub(super) struct Example {
    pub import: &'static str,
    /// In the tool, after the line that makes `answer`.
    call: &'static str,
    /// Beside the tool.
    items: &'static str,
    /// Arguments of `plugin!`.
    asks: &'static [(&'static str, &'static str)],
    /// What a call needs from the operator.
    grant: Option<&'static str>,
    /// Does a repeated call change something again?
    changes: bool,
}

const PLAIN: Example = Example { import: "", call: "", items: "", asks: &[], grant: None, changes: false };

/// In the order of the contract's world. `deltas` is not among them: only a provider can use it.
const EXAMPLES: [Example; 10] = [
    Example {
        import: "log",
        call: r#"
        // log: a line for the operator.
        log::fields("greeting", &[("who", &self.who)]);
"#,
        ..PLAIN
    },
    Example {
        import: "http",
        call: r#"
        // http: only to origins that the operator has granted.
        let response = http::get("https://example.com/").send()?;
        let answer = format!("{answer} example.com answers {}.", response.status());
"#,
        asks: &[("http", r#"["https://example.com"]"#)],
        grant: Some("http=https://example.com"),
        ..PLAIN
    },
    Example {
        import: "websocket",
        call: r#"
        // websocket: the same origins, with wss in the place of https.
        let connection = websocket::to("wss://example.com/").open();
        let answer = format!("{answer} It can be connected to: {}.", connection.is_ok());
"#,
        asks: &[("http", r#"["https://example.com"]"#)],
        grant: Some("http=https://example.com"),
        ..PLAIN
    },
    Example {
        import: "secrets",
        call: r#"
        // secrets: never the value. With `http::get(url).bearer("api-key")` the host sends it.
        let has_key = secrets::exists("api-key");
        let answer = format!("{answer} A key for example.com: {has_key}.");
"#,
        asks: &[("slots", r#"["api-key" => ["https://example.com"]]"#)],
        ..PLAIN
    },
    Example {
        import: "settings",
        call: r#"
        // settings: what the operator writes in [plugins.{{name}}.settings].
        let Settings { also } = settings::get()?;
        let answer = match also {
            Some(also) => format!("{answer} {also}"),
            None => answer,
        };
"#,
        items: r##"
/// What the operator may set. `SETTINGS` says the same as a JSON Schema.
#[derive(serde::Deserialize)]
#[serde(crate = "stellaclaw_sdk::serde")]
struct Settings {
    also: Option<String>,
}

const SETTINGS: &str = r#"{
    "type": "object",
    "properties": { "also": { "type": "string", "description": "Said after each greeting." } },
    "additionalProperties": false
}"#;
"##,
        asks: &[("settings", "SETTINGS")],
        ..PLAIN
    },
    Example {
        import: "storage",
        call: r#"
        // storage: what outlives the call. `stellaclaw plugin call` has none, so this may fail.
        let before = storage::get(storage::Scope::Plugin, "last").ok().flatten();
        let _ = storage::put(storage::Scope::Plugin, "last", self.who.as_bytes(), None);
        let answer = match before {
            Some(before) => {
                let before = String::from_utf8_lossy(&before.value);
                format!("{answer} Before: {before}.")
            }
            None => answer,
        };
"#,
        changes: true,
        ..PLAIN
    },
    Example {
        import: "conversation",
        call: r#"
        // conversation: a line for the person who waits.
        conversation::progress("greeting");
"#,
        ..PLAIN
    },
    Example {
        import: "models",
        call: r#"
        // models: a question to the model that session.helpers names for the role; without one this fails.
        let seen = models::ask(&models::Question::new(
            "image",
            format!("How does {} look?", self.who),
        ));
        let answer = seen.map_or(answer.clone(), |reply| format!("{answer} {}", reply.text));
"#,
        ..PLAIN
    },
    Example {
        import: "web-search",
        call: r#"
        // web-search: by whoever session.helpers.search names.
        let found = web_search::search(&web_search::Query::new(&self.who, 1)).unwrap_or_default();
        let answer = found
            .iter()
            .fold(answer, |answer, hit| format!("{answer} See {}.", hit.url));
"#,
        ..PLAIN
    },
    Example {
        import: "images",
        call: r#"
        // images: by whoever session.helpers.image_generation names.
        let drawn = images::generate(&images::Prompt::new(format!("Greet {}", self.who)));
        let answer = drawn.map_or(answer.clone(), |drawing| {
            format!("{answer} Drawn: {}.", drawing.images.len())
        });
"#,
        changes: true,
        ..PLAIN
    },
];

impl Example {
    /// The examples for these interfaces, in the order of the contract.
    pub fn choose(names: &[String]) -> anyhow::Result<Vec<Self>> {
        let known = vendor::imports();
        let served: Vec<_> = EXAMPLES.into_iter().filter(|example| known.contains(&example.import)).collect();
        for name in names {
            if served.iter().any(|example| example.import == name) {
                continue;
            }
            let all: Vec<_> = served.iter().map(|example| example.import).collect();
            let all = all.join(", ");
            if known.contains(&name.as_str()) {
                bail!("--imports {name}: only a provider can use it; a tool has: {all}");
            }
            bail!("--imports {name}: this program's contract has no such interface; it has: {all}");
        }
        Ok(served.into_iter().filter(|example| names.iter().any(|name| example.import == name)).collect())
    }
}

/// What has to be granted for the example to answer.
pub(super) fn grants(examples: &[Example]) -> Vec<&'static str> {
    let mut grants: Vec<_> = examples.iter().filter_map(|example| example.grant).collect();
    grants.dedup();
    grants
}

/// Fills the example into the text of a plugin.
pub(super) fn write(text: &str, examples: &[Example]) -> String {
    let mut names = vec!["Call", "Output", "Replay", "Result", "Tool", "plugin", "schemars", "serde"];
    let modules: Vec<_> = examples.iter().map(|example| example.import.replace('-', "_")).collect();
    names.extend(modules.iter().map(String::as_str));
    // As rustfmt has it: types first.
    names.sort_by_key(|name| (name.starts_with(|first: char| first.is_ascii_lowercase()), *name));
    let call: String = examples.iter().map(|example| example.call).collect();
    let call = if call.is_empty() { call } else { call + "\n" };
    let items: String = examples.iter().map(|example| example.items).collect();
    // The order that `plugin!` takes them in.
    let order = ["http", "slots", "settings"];
    // Two that ask for the same say it in the same words.
    let asks = order.iter().filter_map(|key| examples.iter().flat_map(|example| example.asks).find(|(name, _)| name == key));
    let asks: String = asks.map(|(key, value)| format!("    {key}: {value},\n")).collect();
    let replay = if examples.iter().any(|example| example.changes) { "Idempotent" } else { "Read" };
    text.replace("{{use}}", &imported(&names))
        .replace("{{call}}", &call)
        .replace("{{items}}", &items)
        .replace("{{asks}}", &format!("    tools: [{{{{type}}}}],\n{asks}"))
        .replace("{{replay}}", replay)
}

/// The `use` of these names, on as many lines as rustfmt would take.
fn imported(names: &[&str]) -> String {
    const WIDTH: usize = 100;
    let line = format!("use stellaclaw_sdk::{{{}}};", names.join(", "));
    if line.len() <= WIDTH {
        return line;
    }
    let mut lines = vec![String::from("   ")];
    for name in names {
        let full = lines.last().is_some_and(|line| line.len() + name.len() + 2 > WIDTH);
        if full {
            lines.push(String::from("   "));
        }
        if let Some(line) = lines.last_mut() {
            *line = format!("{line} {name},");
        }
    }
    format!("use stellaclaw_sdk::{{\n{}\n}};", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_that_a_tool_can_use_has_an_example() {
        for import in vendor::imports().into_iter().filter(|import| *import != "deltas") {
            let chosen = Example::choose(&[import.to_owned()]).unwrap();
            assert_eq!(chosen.len(), 1, "{import}");
        }
    }
}
