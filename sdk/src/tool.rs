//! Tools for the model.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::types::{Error, SessionInfo};
use crate::{Batching, Call, Output, Replay, Result, ToolSpec};

/// A tool: a type whose fields are the arguments.
///
/// The type's own doc comment is the description, the fields' doc comments describe the arguments. Unknown arguments
/// are refused by the schema (`additionalProperties: false`) unless the type says otherwise.
pub trait Tool: DeserializeOwned + JsonSchema {
    /// The name the model uses, `[a-z0-9_]{1,64}`. None: the type's name in snake case.
    const NAME: Option<&'static str> = None;
    /// May calls of one answer run side by side?
    const BATCHING: Batching = Batching::Serial;
    /// What the host may do when it does not know whether a call ran.
    const REPLAY: Replay = Replay::Effect;
    /// How long a call may take; none for the host's default.
    const TIMEOUT_MS: Option<u64> = None;

    /// Is the tool offered in this session? Equal sessions must give equal answers.
    #[must_use]
    fn offered(_session: &SessionInfo) -> bool {
        true
    }

    /// Does the work.
    ///
    /// # Errors
    ///
    /// What the model is told instead of an answer.
    fn call(self, call: &Call) -> Result<Output>;
}

/// One tool of a component, without its type. Made by [`crate::plugin!`].
#[derive(Debug, Clone, Copy)]
pub struct ToolEntry {
    name: &'static str,
    describe: fn(&'static str, &SessionInfo) -> Option<ToolSpec>,
    run: fn(&Call) -> Result<Output>,
}

impl ToolEntry {
    /// The entry of `T` under `name`.
    #[must_use]
    pub const fn of<T: Tool>(name: &'static str) -> Self {
        Self { name, describe: describe::<T>, run: run::<T> }
    }

    /// The catalogue of `entries` for a session, in their order.
    #[must_use]
    pub fn catalog(entries: &[Self], session: &SessionInfo) -> Vec<ToolSpec> {
        entries.iter().filter_map(|entry| (entry.describe)(entry.name, session)).collect()
    }

    /// Runs the entry that `call` names.
    ///
    /// # Errors
    ///
    /// The tool's own, `invalid` for arguments that do not fit, `not-found` for an unknown name.
    pub fn run(entries: &[Self], call: &Call) -> Result<Output> {
        match entries.iter().find(|entry| entry.name == call.name) {
            Some(entry) => (entry.run)(call),
            None => Err(Error::not_found(format!("this plugin has no tool {:?}", call.name))),
        }
    }
}

fn describe<T: Tool>(name: &'static str, session: &SessionInfo) -> Option<ToolSpec> {
    T::offered(session).then(|| {
        let (description, parameters) = parameters::<T>();
        ToolSpec {
            name: name.to_owned(),
            description,
            parameters: parameters.to_string(),
            batching: T::BATCHING,
            replay: T::REPLAY,
            timeout: T::TIMEOUT_MS,
            ext: None,
        }
    })
}

fn run<T: Tool>(call: &Call) -> Result<Output> {
    let arguments: T =
        serde_json::from_str(&call.arguments).map_err(|error| Error::invalid(format!("arguments of {}: {error}", call.name)))?;
    arguments.call(call)
}

/// The type's doc comment, and its JSON Schema as models like it: everything inline, no titles, no unknown arguments.
fn parameters<T: JsonSchema>() -> (String, Value) {
    let schema =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator().into_root_schema_for::<T>();
    let mut value = schema.to_value();
    let mut description = String::new();
    if let Value::Object(object) = &mut value {
        object.remove("$schema");
        object.remove("title");
        if let Some(Value::String(text)) = object.remove("description") {
            description = text;
        }
        object.entry("type").or_insert_with(|| "object".into());
        object.entry("properties").or_insert_with(|| Value::Object(serde_json::Map::new()));
        object.entry("additionalProperties").or_insert(Value::Bool(false));
        object.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    }
    (description, value)
}

/// Makes a component: `plugin! { tools: [A, B], provider: P, … }`.
///
/// | key | what | default |
/// |---|---|---|
/// | `tools` | the tools, `[Type, …]` | none |
/// | `provider` | the [`crate::Provider`] | none |
/// | `model_list` | the [`crate::ModelList`] | none |
/// | `search` | the [`crate::WebSearch`] | none |
/// | `images` | the [`crate::Images`] | none |
/// | `fs` | mounts the plugin asks for: `["workspace:rw"]` | none |
/// | `http` | origins it asks for: `["https://api.example.com"]` | none |
/// | `slots` | secrets it can use and where: `["api-key" => ["https://api.example.com"]]` | none |
/// | `settings` | the JSON Schema of `[plugins.NAME.settings]`: a string literal or the name of a `const` | none |
/// | `options` | the JSON Schema of a model's `options` table, likewise | none |
///
/// The keys come in this order. Name, version, description and licence are those of the crate. A tool may be renamed in
/// place: `tools: [Grep as "grep"]`; without that its [`Tool::NAME`] counts, or its type's name in snake case.
#[macro_export]
macro_rules! plugin {
    (
        $(tools: [$($tool:ident $(as $name:literal)?),* $(,)?] $(,)?)?
        $(provider: $provider:ident $(,)?)?
        $(model_list: $model_list:ident $(,)?)?
        $(search: $search:ident $(,)?)?
        $(images: $images:ident $(,)?)?
        $(fs: [$($fs:literal),* $(,)?] $(,)?)?
        $(http: [$($http:literal),* $(,)?] $(,)?)?
        $(slots: [$($slot:literal => [$($origin:literal),* $(,)?]),* $(,)?] $(,)?)?
        $(settings: $settings:tt $(,)?)?
        $(options: $options:tt $(,)?)?
    ) => {
        #[doc(hidden)]
        #[allow(dead_code, reason = "exports exist on wasm32 only")]
        mod __stellaclaw {
            #[allow(unused_imports, reason = "a plugin may have no tools")]
            use super::*;
            use $crate::manifest::{Manifest, Slot};

            const NAMES: &[(&str, bool)] = &[$($($crate::__tool_name!($tool $(as $name)?)),*)?];
            const MANIFEST: Manifest = Manifest {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                description: env!("CARGO_PKG_DESCRIPTION"),
                license: env!("CARGO_PKG_LICENSE"),
                tools: NAMES,
                fs: &[$($($fs),*)?],
                http: &[$($($http),*)?],
                slots: &[$($(Slot { name: $slot, origins: &[$($origin),*] }),*)?],
                settings: $crate::__or_none!($($settings)?),
                options: $crate::__or_none!($($options)?),
            };
            pub(crate) const JSON_LEN: usize = MANIFEST.json_len();
            pub(crate) static JSON: [u8; JSON_LEN] = MANIFEST.json();

            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = "stellaclaw:manifest")]
            #[used]
            static SECTION: [u8; JSON_LEN] = MANIFEST.json();

            #[cfg(target_arch = "wasm32")]
            struct Component;
            $crate::__export_tools!($([$($tool $(as $name)?),*])?);
            $crate::__export_provider!($($provider)?);
            $crate::__export_model_list!($($model_list)?);
            $crate::__export_search!($($search)?);
            $crate::__export_images!($($images)?);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __or_none {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// A name, and whether it still has to be turned into snake case.
#[doc(hidden)]
#[macro_export]
macro_rules! __tool_name {
    ($tool:ident as $name:literal) => {
        ($name, false)
    };
    ($tool:ident) => {
        match <$tool as $crate::Tool>::NAME {
            Some(name) => (name, false),
            None => (stringify!($tool), true),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tool_entry {
    ($tool:ident as $name:literal) => {
        $crate::ToolEntry::of::<$tool>($name)
    };
    ($tool:ident) => {{
        const SOURCE: (&str, bool) = $crate::__tool_name!($tool);
        const LEN: usize = $crate::manifest::name_len(SOURCE);
        const BYTES: [u8; LEN] = $crate::manifest::name_bytes(SOURCE);
        const NAME: &str = $crate::manifest::utf8(&BYTES);
        $crate::ToolEntry::of::<$tool>(NAME)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_tools {
    () => {};
    ([$($tool:ident $(as $name:literal)?),*]) => {
        pub(crate) const TOOLS: &[$crate::ToolEntry] = &[$($crate::__tool_entry!($tool $(as $name)?)),*];

        #[cfg(target_arch = "wasm32")]
        impl $crate::bindings::tool_plugin::exports::stellaclaw::plugin::tools::Guest for Component {
            fn catalog(session: $crate::SessionInfo) -> Result<Vec<$crate::ToolSpec>, $crate::Error> {
                Ok($crate::ToolEntry::catalog(TOOLS, &session))
            }
            fn run(call: $crate::Call) -> Result<$crate::Output, $crate::Error> {
                $crate::ToolEntry::run(TOOLS, &call)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::tool_plugin::export_tools!(Component with_types_in $crate::bindings::tool_plugin);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_provider {
    () => {};
    ($provider:ident) => {
        #[cfg(target_arch = "wasm32")]
        impl $crate::bindings::provider_plugin::exports::stellaclaw::plugin::provider::Guest for Component {
            fn complete(model: $crate::chat::Model, request: $crate::chat::Request) -> Result<$crate::chat::Completion, $crate::chat::Failure> {
                <$provider as $crate::Provider>::complete(&model, &request)
            }
            fn prepare(model: $crate::chat::Model, request: $crate::chat::Request) -> Result<(), $crate::chat::Failure> {
                <$provider as $crate::Provider>::prepare(&model, &request)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::provider_plugin::export_provider!(Component with_types_in $crate::bindings::provider_plugin);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_model_list {
    () => {};
    ($list:ident) => {
        #[cfg(target_arch = "wasm32")]
        impl $crate::bindings::model_list_plugin::exports::stellaclaw::plugin::model_list::Guest for Component {
            fn models(account: $crate::chat::Model) -> Result<Vec<$crate::model_list::Entry>, $crate::chat::Failure> {
                <$list as $crate::ModelList>::models(&account)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::model_list_plugin::export_model_list!(Component with_types_in $crate::bindings::model_list_plugin);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_search {
    () => {};
    ($search:ident) => {
        #[cfg(target_arch = "wasm32")]
        impl $crate::bindings::search_plugin::exports::stellaclaw::plugin::web_search::Guest for Component {
            fn search(query: $crate::web_search::Query) -> Result<Vec<$crate::web_search::Hit>, $crate::Error> {
                <$search as $crate::WebSearch>::search(&query)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::search_plugin::export_search!(Component with_types_in $crate::bindings::search_plugin);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_images {
    () => {};
    ($images:ident) => {
        #[cfg(target_arch = "wasm32")]
        impl $crate::bindings::image_plugin::exports::stellaclaw::plugin::images::Guest for Component {
            fn generate(prompt: $crate::images::Prompt) -> Result<$crate::images::Drawing, $crate::Error> {
                <$images as $crate::Images>::generate(&prompt)
            }
            fn edit(prompt: $crate::images::EditPrompt) -> Result<$crate::images::Drawing, $crate::Error> {
                <$images as $crate::Images>::edit(&prompt)
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::image_plugin::export_images!(Component with_types_in $crate::bindings::image_plugin);
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repeats a text.
    #[derive(serde::Deserialize, JsonSchema)]
    struct SayAgain {
        /// What to say.
        text: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    }

    impl Tool for SayAgain {
        const REPLAY: Replay = Replay::Read;
        fn call(self, _call: &Call) -> Result<Output> {
            Ok(Output::text(self.text.repeat(self.times.unwrap_or(2) as usize)))
        }
    }

    crate::plugin! { tools: [SayAgain], fs: ["workspace:ro"], slots: ["api-key" => ["https://example.com"]] }

    fn session() -> SessionInfo {
        SessionInfo {
            kind: crate::types::SessionKind::Foreground,
            reads: Vec::new(),
            helpers: Vec::new(),
            placement: crate::types::Placement::Local,
            ext: None,
        }
    }

    fn call(name: &str, arguments: &str) -> Call {
        Call {
            id: "s1.t1.1.0".into(),
            name: name.into(),
            arguments: arguments.into(),
            attempt: 1,
            time_left: 1000,
            session: session(),
            ext: None,
        }
    }

    #[test]
    fn doc_comments_become_the_description_and_the_schema() {
        let catalog = ToolEntry::catalog(__stellaclaw::TOOLS, &session());
        assert_eq!(catalog[0].name, "say_again");
        assert_eq!(catalog[0].description, "Repeats a text.");
        let schema: Value = serde_json::from_str(&catalog[0].parameters).unwrap();
        assert_eq!(schema["properties"]["text"]["description"], "What to say.");
        assert_eq!(schema["required"], serde_json::json!(["text"]));
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn a_call_reaches_its_tool_and_bad_calls_say_what_is_wrong() {
        let run = |name: &str, arguments: &str| ToolEntry::run(__stellaclaw::TOOLS, &call(name, arguments));
        assert_eq!(run("say_again", r#"{"text":"ho"}"#).unwrap(), Output::text("hoho"));
        let error = run("say_again", "{}").unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Invalid);
        assert!(error.message.contains("missing field `text`"), "{}", error.message);
        assert_eq!(run("other", "{}").unwrap_err().kind, crate::ErrorKind::NotFound);
    }

    #[test]
    fn the_manifest_says_what_the_macro_was_told() {
        let manifest: Value = serde_json::from_slice(&__stellaclaw::JSON).unwrap();
        assert_eq!(manifest["name"], "stellaclaw-sdk");
        assert_eq!(manifest["tools"], serde_json::json!(["say_again"]));
        assert_eq!(manifest["requests"]["fs"], serde_json::json!(["workspace:ro"]));
        assert_eq!(manifest["slots"], serde_json::json!([{"name": "api-key", "origins": ["https://example.com"]}]));
        assert_eq!(manifest["contract"], "0.1.0");
    }
}
