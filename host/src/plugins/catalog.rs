//! The tools of a session: what each plugin's `catalog` offers, checked, and collected in a stable order.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stellaclaw_bindings::tools as wire;

use super::call::Tool;
use super::{convert, manifest, schema};
use crate::chat::Batching;
use crate::config;
use crate::limits;

/// The tools of a session, in a stable order, with names that are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    tools: Vec<Tool>,
    offers: Vec<Offer>,
}

/// What one plugin offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub plugin: String,
    /// The names of its tools, in their order.
    pub tools: Vec<String>,
    /// Of everything that a model sees of them.
    pub hash: String,
}

impl Catalog {
    /// The tools in their order.
    #[must_use]
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The plugins that offer tools, in their order.
    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// The tool called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

impl FromIterator<Tool> for Catalog {
    fn from_iter<I: IntoIterator<Item = Tool>>(tools: I) -> Self {
        let tools: Vec<_> = tools.into_iter().collect();
        let offers = tools.chunk_by(|one, next| one.plugin == next.plugin).map(offer).collect();
        Self { tools, offers }
    }
}

fn offer(tools: &[Tool]) -> Offer {
    let mut hash = Sha256::new();
    for text in tools.iter().flat_map(|tool| [&tool.name, &tool.description, &tool.parameters]) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    Offer {
        plugin: tools.first().map(|tool| tool.plugin.clone()).unwrap_or_default(),
        tools: tools.iter().map(|tool| tool.name.clone()).collect(),
        hash: hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// What the operator says about one plugin's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ToolPolicy {
    /// Stricter classes per tool.
    pub tools: std::collections::BTreeMap<String, config::ToolOverride>,
    /// `[plugins.NAME.limits] wall_time`: the most a call may take.
    pub wall_time: Option<Duration>,
    /// `[limits] tool_time`: for tools that say nothing.
    pub default_time: Duration,
}

/// Checks what a plugin's `catalog` answered. The error has a line for each tool that is wrong, and what would be right.
pub(super) fn check(plugin: &str, declared: &[String], policy: &ToolPolicy, offered: Vec<wire::Tool>) -> Result<Vec<Tool>, String> {
    if offered.len() > limits::CATALOG_TOOLS {
        return Err(format!("its catalogue has {} tools; at most {} are read", offered.len(), limits::CATALOG_TOOLS));
    }
    let mut seen = BTreeSet::new();
    let (mut tools, mut problems) = (Vec::new(), Vec::new());
    for tool in offered {
        if !seen.insert(tool.name.clone()) {
            problems.push(format!("its catalogue offers {:?} twice", start(&tool.name)));
            continue;
        }
        match check_tool(plugin, declared, policy, tool) {
            Ok(tool) => tools.push(tool),
            Err(problem) => problems.push(problem),
        }
    }
    let more = problems.len().saturating_sub(limits::CATALOG_PROBLEMS);
    problems.truncate(limits::CATALOG_PROBLEMS);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    if problems.is_empty() { Ok(tools) } else { Err(problems.join("\n")) }
}

fn check_tool(plugin: &str, declared: &[String], policy: &ToolPolicy, tool: wire::Tool) -> Result<Tool, String> {
    let name = tool.name;
    if !manifest::is_tool_name(&name) {
        return Err(format!("its catalogue offers {:?}, which is not `[a-z0-9_]{{1,64}}`", start(&name)));
    }
    if !declared.contains(&name) {
        return Err(format!("its catalogue offers {name:?}, which its manifest does not name"));
    }
    let description = without_controls(&tool.description);
    if description.len() > limits::DESCRIPTION_BYTES {
        return Err(format!("the description of {name} has {} bytes; at most {}", description.len(), limits::DESCRIPTION_BYTES));
    }
    let parameters = check_schema(&name, &tool.parameters)?;
    let stricter = policy.tools.get(&name).cloned().unwrap_or_default();
    let offered = convert::batching(tool.batching);
    // Only the operator allows a tool more time than the usual.
    let most = policy.wall_time.unwrap_or(policy.default_time.max(limits::TOOL_TIME));
    let timeout = match tool.timeout.map(Duration::from_millis) {
        Some(asked) => asked.min(most),
        None => policy.wall_time.unwrap_or(policy.default_time),
    };
    Ok(Tool {
        plugin: plugin.to_owned(),
        description,
        parameters,
        batching: if stricter.batching == Some(Batching::Serial) { Batching::Serial } else { offered },
        replay: convert::replay(tool.replay).max(stricter.replay.unwrap_or(crate::chat::Replay::Read)),
        timeout,
        name,
    })
}

/// What is shown of a name that may be no name.
fn start(name: &str) -> &str {
    &name[..name.floor_char_boundary(64)]
}

fn check_schema(name: &str, text: &str) -> Result<String, String> {
    if text.len() > limits::SCHEMA_BYTES {
        return Err(format!("the schema of {name} has {} bytes; at most {}", text.len(), limits::SCHEMA_BYTES));
    }
    let mut value: Value = serde_json::from_str(text).map_err(|error| format!("the schema of {name} is not valid JSON: {error}"))?;
    if value.get("type") != Some(&Value::from("object")) {
        return Err(format!("the schema of {name} is not of type object"));
    }
    schema::compile(&value).map_err(|error| format!("{name}: {error}"))?;
    clean(&mut value);
    Ok(value.to_string())
}

/// A model reads every text of a schema, so none may carry control characters.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_controls(text),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Without what a model reads and a person does not see.
fn without_controls(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !(c.is_control() || manifest::is_invisible(*c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Replay;

    fn offered(name: &str) -> wire::Tool {
        wire::Tool {
            name: name.into(),
            description: "Does\u{7} \u{202e}i\u{200b}t.\u{e0041}\nWell.".into(),
            parameters: r#"{"type":"object","description":"a\u001bb"}"#.into(),
            batching: wire::Batching::Parallel,
            replay: wire::Replay::Read,
            timeout: None,
            ext: None,
        }
    }

    fn refusal(tool: wire::Tool) -> String {
        check("p", &["a".into(), "b".into(), "B".into()], &ToolPolicy::default(), vec![tool]).unwrap_err()
    }

    #[test]
    fn a_good_tool_is_taken_without_control_characters() {
        let policy = ToolPolicy { default_time: Duration::from_secs(5), ..ToolPolicy::default() };
        let tools = check("p", &["a".into()], &policy, vec![offered("a")]).unwrap();
        assert_eq!(tools[0].description, "Does it.\nWell.");
        assert_eq!(tools[0].parameters, r#"{"type":"object","description":"ab"}"#);
        assert_eq!((tools[0].replay, tools[0].batching, tools[0].timeout), (Replay::Read, Batching::Parallel, Duration::from_secs(5)));
    }

    #[test]
    fn the_operator_can_only_be_stricter() {
        let over = |replay, batching| config::ToolOverride { replay: Some(replay), batching: Some(batching) };
        let policy = ToolPolicy {
            tools: [("a".into(), over(Replay::Effect, Batching::Serial)), ("b".into(), over(Replay::Read, Batching::Parallel))].into(),
            wall_time: Some(Duration::from_secs(1)),
            default_time: Duration::from_secs(9),
        };
        let strict = wire::Tool { replay: wire::Replay::Idempotent, batching: wire::Batching::Serial, timeout: Some(2500), ..offered("b") };
        let tools = check("p", &["a".into(), "b".into()], &policy, vec![offered("a"), strict]).unwrap();
        assert_eq!((tools[0].replay, tools[0].batching), (Replay::Effect, Batching::Serial));
        assert_eq!((tools[1].replay, tools[1].batching), (Replay::Idempotent, Batching::Serial), "not laxer than the tool");
        assert_eq!((tools[0].timeout, tools[1].timeout), (Duration::from_secs(1), Duration::from_secs(1)));
    }

    #[test]
    fn a_tool_does_not_give_itself_more_time_than_the_operator_does() {
        let time = |asked: u64, policy: ToolPolicy| {
            let tool = wire::Tool { timeout: Some(asked), ..offered("a") };
            check("p", &["a".into()], &policy, vec![tool]).unwrap()[0].timeout
        };
        let silent = ToolPolicy { default_time: Duration::from_secs(9), ..ToolPolicy::default() };
        assert_eq!(time(u64::MAX, silent.clone()), limits::TOOL_TIME);
        assert_eq!(time(1000, silent), Duration::from_secs(1));
        let patient = ToolPolicy { default_time: 2 * limits::TOOL_TIME, ..ToolPolicy::default() };
        assert_eq!(time(u64::MAX, patient), 2 * limits::TOOL_TIME);
        let named = ToolPolicy { wall_time: Some(3 * limits::TOOL_TIME), ..ToolPolicy::default() };
        assert_eq!(time(u64::MAX, named), 3 * limits::TOOL_TIME);
    }

    #[test]
    fn what_is_wrong_with_a_tool_is_said() {
        assert!(refusal(offered("c")).contains("\"c\", which its manifest does not name"));
        assert!(refusal(offered(&"B".repeat(10_000))).len() < 200);
        assert!(refusal(offered("B")).contains("[a-z0-9_]{1,64}"));
        let long = wire::Tool { description: "x".repeat(limits::DESCRIPTION_BYTES + 1), ..offered("a") };
        assert!(refusal(long).contains("the description of a has 4097 bytes"));
        for (schema, reason) in [
            ("{", "not valid JSON"),
            ("{}", "not of type object"),
            (r#"{"type":"array"}"#, "not of type object"),
            (r#"{"type":"object","properties":{"x":{"type":"nonsense"}}}"#, "its schema"),
        ] {
            let error = refusal(wire::Tool { parameters: schema.into(), ..offered("a") });
            assert!(error.contains(reason), "{error}");
        }
        let large = format!(r#"{{"type":"object","description":"{}"}}"#, "x".repeat(limits::SCHEMA_BYTES));
        assert!(refusal(wire::Tool { parameters: large, ..offered("a") }).contains("bytes; at most 32768"));
        let twice = check("p", &["a".into()], &ToolPolicy::default(), vec![offered("a"), offered("a")]);
        assert_eq!(twice.unwrap_err(), "its catalogue offers \"a\" twice");
        let wrong = (0..30).map(|number| offered(&format!("c{number}"))).chain([offered("B")]).collect();
        let all = check("p", &["a".into()], &ToolPolicy::default(), wrong).unwrap_err();
        assert!(all.starts_with("its catalogue offers \"c0\"") && all.ends_with("\nand 11 more"), "{all}");
        assert_eq!(all.lines().count(), limits::CATALOG_PROBLEMS + 1);
    }
}
