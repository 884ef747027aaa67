//! A request as the object that is posted, or sent in a frame.

use serde_json::{Map, Value, json};

use super::{Dialect, System, items};
use crate::chat::{Failure, Model, Request, ToolChoice, ToolSpec};
use crate::json::Json;
use crate::openai::schema;

/// A request, still in parts: a provider adds fields, or sends only the end of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Every field but `input`, in the order in which they are written. Equal requests have equal fields.
    pub fields: Map<String, Value>,
    /// The conversation. A longer history begins with the items of the shorter one.
    pub input: Vec<Json>,
}

impl Body {
    /// Puts `request` for `model` together as `dialect` has it.
    ///
    /// # Errors
    ///
    /// `invalid-request` for schemas and stored items that are not JSON.
    pub fn new(dialect: &Dialect<'_>, model: &Model, request: &Request) -> Result<Self, Failure> {
        let input = items::input(dialect, &dialect.origin(&model.id), request)?;
        let mut fields = Map::new();
        fields.insert("model".into(), model.id.as_str().into());
        let system = items::system(request);
        if dialect.system == System::Instructions && !system.is_empty() {
            fields.insert("instructions".into(), system.into());
        }
        fields.insert("stream".into(), true.into());
        fields.insert("store".into(), false.into());
        fields.insert("include".into(), json!(["reasoning.encrypted_content"]));
        tools(&mut fields, request)?;
        if let Some(most) = request.max_output.filter(|_| dialect.max_output) {
            fields.insert("max_output_tokens".into(), most.into());
        }
        if let Some(temperature) = request.temperature.filter(|_| dialect.temperature) {
            fields.insert("temperature".into(), temperature.into());
        }
        let thinking = [("effort", &request.effort), ("summary", &request.reasoning_summary)];
        let thinking: Map<_, _> = thinking.into_iter().filter_map(|(key, value)| Some((key.into(), value.as_deref()?.into()))).collect();
        if !thinking.is_empty() {
            fields.insert("reasoning".into(), thinking.into());
        }
        if let Some(schema) = &request.response_schema {
            let schema = schema::object(schema, "the response schema")?;
            let strict = schema::is_closed(&schema);
            fields.insert("text".into(), json!({"format": {"type": "json_schema", "name": "answer", "strict": strict, "schema": schema}}));
        }
        if let Some(tier) = &request.service_tier {
            fields.insert("service_tier".into(), tier.as_str().into());
        }
        if let Some(cache) = &request.cache {
            fields.insert("prompt_cache_key".into(), cache.key.as_str().into());
        }
        Ok(Self { fields, input })
    }

    /// The whole object.
    #[must_use]
    pub fn into_json(self) -> Json {
        let fields = self.fields.into_iter().filter(|(name, _)| name != "input");
        let fields = fields.map(|(name, value)| (name, value.into()));
        Json::object(fields.chain([("input".to_owned(), Json::list(self.input))]))
    }
}

fn tools(fields: &mut Map<String, Value>, request: &Request) -> Result<(), Failure> {
    if request.tools.is_empty() {
        return Ok(());
    }
    fields.insert("tools".into(), request.tools.iter().map(tool).collect::<Result<Vec<_>, _>>()?.into());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "name": name}),
    };
    fields.insert("tool_choice".into(), choice);
    fields.insert("parallel_tool_calls".into(), request.parallel_tools.into());
    Ok(())
}

fn tool(spec: &ToolSpec) -> Result<Value, Failure> {
    let parameters = schema::object(&spec.parameters, &format!("the schema of the tool {}", spec.name))?;
    // Strict schemas are a subset of JSON Schema that tools need not keep to.
    Ok(json!({"type": "function", "name": spec.name, "description": spec.description, "parameters": parameters, "strict": false}))
}
