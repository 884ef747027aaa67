//! Exports tools by hand and has no manifest: what another toolchain would make.

#[cfg(target_arch = "wasm32")]
mod component {
    use stellaclaw_sdk::bindings::tool_plugin;
    use stellaclaw_sdk::bindings::tool_plugin::exports::stellaclaw::plugin::tools::Guest;
    use stellaclaw_sdk::{Batching, Call, Error, Output, Replay, SessionInfo, ToolSpec};

    struct Bare;

    fn tool(name: &str, parameters: &str) -> ToolSpec {
        ToolSpec {
            name: name.to_owned(),
            description: String::new(),
            parameters: parameters.to_owned(),
            batching: Batching::Parallel,
            replay: Replay::Read,
            timeout: None,
            ext: None,
        }
    }

    impl Guest for Bare {
        fn catalog(_session: SessionInfo) -> Result<Vec<ToolSpec>, Error> {
            Ok(vec![
                tool("measure", "{\"type\":\"object\",\"properties\":{\"Text\":{}}}"),
                tool("weigh", "{\"type\":\"object\",\"required\":[],\"additionalProperties\":false}"),
            ])
        }

        fn run(call: Call) -> Result<Output, Error> {
            Ok(Output::text(format!("{} of {} bytes", call.name, call.arguments.len())))
        }
    }

    tool_plugin::export_tools!(Bare with_types_in tool_plugin);
}
