//! The host side of the contract in `wit/`, as `wasmtime::component::bindgen!` writes it.
//!
//! A crate of its own so that an edit in the host does not expand the macros again. Nothing is written by hand here
//! except the choice of worlds: one for what a component may import, then one per thing a component can be. The export
//! worlds share the types of the first, so a value that one component returns can be handed to another unchanged.
//!
//! Every import is `async` and may trap; every export is called `async` (on a fiber), while the guest's code is ordinary
//! blocking code.
#![allow(missing_docs, reason = "the documentation is in the WIT files")]
#![allow(missing_debug_implementations, unreachable_pub, reason = "generated code")]

/// The version of the contract that these bindings speak.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// What a component may ask for.
pub mod imports {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "imports",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// A component that offers tools.
pub mod tool_plugin {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "tool-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "stellaclaw:plugin/types": crate::imports::stellaclaw::plugin::types,
            "stellaclaw:plugin/chat": crate::imports::stellaclaw::plugin::chat,
            "stellaclaw:plugin/log": crate::imports::stellaclaw::plugin::log,
            "stellaclaw:plugin/deltas": crate::imports::stellaclaw::plugin::deltas,
            "stellaclaw:plugin/http": crate::imports::stellaclaw::plugin::http,
            "stellaclaw:plugin/secrets": crate::imports::stellaclaw::plugin::secrets,
            "stellaclaw:plugin/settings": crate::imports::stellaclaw::plugin::settings,
            "stellaclaw:plugin/storage": crate::imports::stellaclaw::plugin::storage,
            "stellaclaw:plugin/conversation": crate::imports::stellaclaw::plugin::conversation,
        },
    });
}

/// A component that serves a language model.
pub mod provider_plugin {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "provider-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "stellaclaw:plugin/types": crate::imports::stellaclaw::plugin::types,
            "stellaclaw:plugin/chat": crate::imports::stellaclaw::plugin::chat,
            "stellaclaw:plugin/log": crate::imports::stellaclaw::plugin::log,
            "stellaclaw:plugin/deltas": crate::imports::stellaclaw::plugin::deltas,
            "stellaclaw:plugin/http": crate::imports::stellaclaw::plugin::http,
            "stellaclaw:plugin/secrets": crate::imports::stellaclaw::plugin::secrets,
            "stellaclaw:plugin/settings": crate::imports::stellaclaw::plugin::settings,
            "stellaclaw:plugin/storage": crate::imports::stellaclaw::plugin::storage,
            "stellaclaw:plugin/conversation": crate::imports::stellaclaw::plugin::conversation,
        },
    });
}

pub use imports::stellaclaw::plugin::{chat, conversation, deltas, http, log, secrets, settings, storage, types};
pub use provider_plugin::exports::stellaclaw::plugin::provider;
pub use tool_plugin::exports::stellaclaw::plugin::tools;
