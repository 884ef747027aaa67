//! The model's `options`: a script, and the pace.
//!
//! A script is a list of entries, each `{"match": "…", "rounds": [[event, …], …]}`; [`crate::script`] says which round is
//! played. The events:
//!
//! | event | what |
//! |---|---|
//! | `{"text": "…"}`, `{"reasoning": "…"}`, `{"refusal": "…"}` | streamed; templates are filled in |
//! | `{"tool": "ls", "arguments": {…} or "raw", "id": "…"}` | a call; a string is sent as it is, right or wrong |
//! | `{"sleep_ms": 50}` | waits, and stops when the call is stopped |
//! | `{"usage": {"input": 1, "output": 2, "cost": "0.5", …}}` | what the answer says it used |
//! | `{"stop": "max-output"}` | why the answer stops |
//! | `{"fail": {"kind": "overloaded", "message": "…", "retry_after": 100, …}}` | ends here, with this failure |
//! | `{"panic": "…"}` | ends here, with a trap |
//! | `{"loop": true}` | never ends, and asks nobody whether it should |
//! | `{"repeat": {"times": 200, "event": {…}}}` | the event, so many times |

use serde::Deserialize;
use serde_json::{Map, Value};
use stellaclaw_sdk::chat::{Failure, FailureKind, Stop, Usage};

/// The JSON Schema of [`Options`]; what an event may be is checked when it is read.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "delay_ms": { "type": "integer", "minimum": 0, "maximum": 10000, "description": "Pause between the batches of a text" },
    "script": {
      "type": "array",
      "description": "Plays these answers in place of the command grammar",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["rounds"],
        "properties": {
          "match": { "type": "string", "description": "A text of the user's message; without it every message" },
          "rounds": {
            "type": "array",
            "minItems": 1,
            "description": "The answers to that message: the n-th request after it gets the n-th, further ones the last",
            "items": {
              "type": "array",
              "description": "Events: text, reasoning, refusal, tool (arguments, id), sleep_ms, usage, stop, fail, panic, loop, repeat",
              "items": { "type": "object", "minProperties": 1 }
            }
          }
        }
      }
    }
  }
}"#;

/// Repeats inside repeats are multiplied; the product stays below this.
pub const EVENTS: usize = 100_000;

/// The parsed table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Pause between the batches of a text.
    pub delay_ms: u64,
    /// What to play; empty for the grammar.
    pub script: Vec<Entry>,
}

/// The answers to the messages that contain a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The text; none for every message.
    pub matches: Option<String>,
    /// At least one.
    pub rounds: Vec<Vec<Event>>,
}

/// One step of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Says something.
    Text(String),
    /// Thinks something.
    Reasoning(String),
    /// Declines.
    Refusal(String),
    /// Calls a tool. The id is made when there is none.
    Tool {
        /// Its name.
        name: String,
        /// JSON, or what is to be sent in its place.
        arguments: String,
        /// The call's id.
        id: Option<String>,
    },
    /// Waits for so many milliseconds.
    Sleep(u64),
    /// What the answer says it used.
    Usage(Usage),
    /// Why the answer stops.
    Stop(Stop),
    /// Fails.
    Fail(Box<Failure>),
    /// Traps.
    Panic(String),
    /// Hangs.
    Loop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOptions {
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    script: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    r#match: Option<String>,
    rounds: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawEvent {
    Text(String),
    Reasoning(String),
    Refusal(String),
    SleepMs(u64),
    Usage(RawUsage),
    Stop(String),
    Fail(RawFailure),
    Panic(String),
    Loop(bool),
    Repeat(RawRepeat),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    tool: String,
    #[serde(default)]
    arguments: Value,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRepeat {
    times: usize,
    event: Value,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawUsage {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
    cost: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFailure {
    kind: String,
    #[serde(default)]
    message: String,
    status: Option<u16>,
    code: Option<String>,
    retry_after: Option<u64>,
    resets_at: Option<u64>,
}

impl Options {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// `invalid-request`, naming the place and what is wrong there.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        let json = if json.trim().is_empty() { "{}" } else { json };
        let raw: RawOptions = serde_json::from_str(json).map_err(|error| invalid(&error.to_string()))?;
        let mut script = Vec::with_capacity(raw.script.len());
        for (at, entry) in raw.script.into_iter().enumerate() {
            if entry.rounds.is_empty() {
                return Err(invalid(&format!("script[{at}].rounds: at least one round is needed")));
            }
            let mut rounds = Vec::with_capacity(entry.rounds.len());
            for (number, round) in entry.rounds.into_iter().enumerate() {
                let mut events = Vec::with_capacity(round.len());
                for (index, event) in round.into_iter().enumerate() {
                    read(event, &mut events).map_err(|what| invalid(&format!("script[{at}].rounds[{number}][{index}]: {what}")))?;
                }
                rounds.push(events);
            }
            script.push(Entry { matches: entry.r#match, rounds });
        }
        Ok(Self { delay_ms: raw.delay_ms, script })
    }
}

fn invalid(what: &str) -> Failure {
    Failure::new(FailureKind::InvalidRequest, format!("the model's options: {what}"))
}

/// Reads one event, which may be many.
fn read(event: Value, events: &mut Vec<Event>) -> Result<(), String> {
    if event.get("tool").is_some() {
        let tool: RawTool = serde_json::from_value(event).map_err(|error| error.to_string())?;
        let arguments = match tool.arguments {
            Value::String(raw) => raw,
            Value::Null => Value::Object(Map::new()).to_string(),
            json => json.to_string(),
        };
        events.push(Event::Tool { name: tool.tool, arguments, id: tool.id });
        return Ok(());
    }
    events.push(match serde_json::from_value(event).map_err(|error| error.to_string())? {
        RawEvent::Text(text) => Event::Text(text),
        RawEvent::Reasoning(text) => Event::Reasoning(text),
        RawEvent::Refusal(text) => Event::Refusal(text),
        RawEvent::SleepMs(millis) => Event::Sleep(millis),
        RawEvent::Usage(usage) => Event::Usage(usage.into()),
        RawEvent::Stop(name) => Event::Stop(stop(&name)),
        RawEvent::Fail(failure) => Event::Fail(Box::new(failure.read()?)),
        RawEvent::Panic(text) => Event::Panic(text),
        RawEvent::Loop(true) => Event::Loop,
        RawEvent::Loop(false) => return Ok(()),
        RawEvent::Repeat(repeat) => {
            let mut once = Vec::new();
            read(repeat.event, &mut once)?;
            if once.len().saturating_mul(repeat.times).saturating_add(events.len()) > EVENTS {
                return Err(format!("repeat makes more than {EVENTS} events"));
            }
            (0..repeat.times).for_each(|_| events.extend_from_slice(&once));
            return Ok(());
        }
    });
    Ok(())
}

fn stop(name: &str) -> Stop {
    match name {
        "end-turn" => Stop::EndTurn,
        "tool-use" => Stop::ToolUse,
        "max-output" => Stop::MaxOutput,
        "refusal" => Stop::Refusal(None),
        "content-filter" => Stop::ContentFilter,
        "pause" => Stop::Pause,
        "context-full" => Stop::ContextFull,
        other => Stop::Other(other.to_owned()),
    }
}

impl From<RawUsage> for Usage {
    fn from(raw: RawUsage) -> Self {
        Self {
            input_uncached: raw.input,
            cache_read: raw.cache_read,
            cache_write: if raw.cache_write > 0 { vec![(300, raw.cache_write)] } else { Vec::new() },
            output: raw.output,
            reasoning: raw.reasoning,
            cost: raw.cost,
            raw: None,
        }
    }
}

impl RawFailure {
    fn read(self) -> Result<Failure, String> {
        let kind = kind(&self.kind).ok_or_else(|| format!("fail.kind: there is no kind {:?}", self.kind))?;
        let message = if self.message.is_empty() { "the script says so".to_owned() } else { self.message };
        Ok(Failure {
            status: self.status,
            code: self.code,
            retry_after: self.retry_after,
            resets_at: self.resets_at,
            ..Failure::new(kind, message)
        })
    }
}

fn kind(name: &str) -> Option<FailureKind> {
    use FailureKind as Kind;
    Some(match name {
        "denied" => Kind::Denied,
        "auth-expired" => Kind::AuthExpired,
        "auth-invalid" => Kind::AuthInvalid,
        "forbidden" => Kind::Forbidden,
        "quota" => Kind::Quota,
        "usage-limit" => Kind::UsageLimit,
        "rate-limit" => Kind::RateLimit,
        "overloaded" => Kind::Overloaded,
        "server" => Kind::Server,
        "timeout" => Kind::Timeout,
        "transport" => Kind::Transport,
        "context-overflow" => Kind::ContextOverflow,
        "invalid-request" => Kind::InvalidRequest,
        "invalid-media" => Kind::InvalidMedia,
        "policy" => Kind::Policy,
        "model-not-found" => Kind::ModelNotFound,
        "continuation-lost" => Kind::ContinuationLost,
        "protocol" => Kind::Protocol,
        "cancelled" => Kind::Cancelled,
        "other" => Kind::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(list: Value) -> Result<Vec<Event>, String> {
        let options = json!({"script": [{"rounds": [list]}]}).to_string();
        Options::parse(&options).map(|options| options.script[0].rounds[0].clone()).map_err(|failure| failure.message)
    }

    #[test]
    fn every_event_is_read() {
        let read = events(json!([
            {"text": "t"}, {"reasoning": "r"}, {"refusal": "no"}, {"tool": "ls"}, {"tool": "ls", "arguments": {"a": 1}, "id": "x"},
            {"tool": "ls", "arguments": "{bad"}, {"sleep_ms": 5}, {"stop": "max-output"}, {"panic": "p"}, {"loop": true}, {"loop": false},
            {"usage": {"input": 3, "cost": "0.5"}}, {"fail": {"kind": "rate-limit", "message": "m", "retry_after": 9, "status": 429}},
            {"repeat": {"times": 2, "event": {"repeat": {"times": 2, "event": {"text": "x"}}}}},
        ]))
        .unwrap();
        assert_eq!(read.len(), 16);
        assert_eq!(read[4], Event::Tool { name: "ls".into(), arguments: r#"{"a":1}"#.into(), id: Some("x".into()) });
        assert!(matches!(&read[3], Event::Tool { arguments, .. } if arguments == "{}"));
        assert!(matches!(&read[5], Event::Tool { arguments, .. } if arguments == "{bad"));
        assert!(matches!(&read[11], Event::Fail(failure) if failure.kind == FailureKind::RateLimit && failure.retry_after == Some(9)));
        assert_eq!(read[12..], vec![Event::Text("x".into()); 4]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert!(events(json!([{"text": "a"}, {"txt": 1}])).unwrap_err().contains("script[0].rounds[0][1]: unknown variant `txt`"));
        assert!(events(json!([{"tool": "a", "args": {}}])).unwrap_err().contains("unknown field `args`"));
        assert!(events(json!([{"fail": {"kind": "bad luck"}}])).unwrap_err().contains("there is no kind \"bad luck\""));
        assert!(events(json!([{"repeat": {"times": 1_000_000, "event": {"text": ""}}}])).unwrap_err().contains("100000 events"));
        assert!(Options::parse(r#"{"script":[{"rounds":[]}]}"#).unwrap_err().message.contains("script[0].rounds: at least one"));
        assert!(Options::parse(r#"{"speed":1}"#).unwrap_err().message.contains("unknown field `speed`"));
        assert_eq!(Options::parse("").unwrap(), Options::default());
    }

    #[test]
    fn the_schema_knows_what_the_type_knows() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        assert!(schema["properties"].as_object().unwrap().keys().eq(["delay_ms", "script"]));
    }
}
