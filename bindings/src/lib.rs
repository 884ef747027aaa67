//! The host side of the contract in `wit/`, as `wasmtime::component::bindgen!` writes it.
//!
//! A crate of its own so that an edit in the host does not expand the macros again. Nothing is written by hand here
//! except the choice of worlds: one for what a component may import, then one per thing a component can be. The export
//! worlds share the types of the first, so a value that one component returns can be handed to another unchanged. What can be
//! imported as well as exported has a world with its export alone: the macro does not take both.
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
            "stellaclaw:plugin/websocket": crate::imports::stellaclaw::plugin::websocket,
            "stellaclaw:plugin/secrets": crate::imports::stellaclaw::plugin::secrets,
            "stellaclaw:plugin/settings": crate::imports::stellaclaw::plugin::settings,
            "stellaclaw:plugin/storage": crate::imports::stellaclaw::plugin::storage,
            "stellaclaw:plugin/conversation": crate::imports::stellaclaw::plugin::conversation,
            "stellaclaw:plugin/models": crate::imports::stellaclaw::plugin::models,
            "stellaclaw:plugin/search-types": crate::imports::stellaclaw::plugin::search_types,
            "stellaclaw:plugin/web-search": crate::imports::stellaclaw::plugin::web_search,
            "stellaclaw:plugin/image-types": crate::imports::stellaclaw::plugin::image_types,
            "stellaclaw:plugin/images": crate::imports::stellaclaw::plugin::images,
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
            "stellaclaw:plugin/websocket": crate::imports::stellaclaw::plugin::websocket,
            "stellaclaw:plugin/secrets": crate::imports::stellaclaw::plugin::secrets,
            "stellaclaw:plugin/settings": crate::imports::stellaclaw::plugin::settings,
            "stellaclaw:plugin/storage": crate::imports::stellaclaw::plugin::storage,
            "stellaclaw:plugin/conversation": crate::imports::stellaclaw::plugin::conversation,
            "stellaclaw:plugin/models": crate::imports::stellaclaw::plugin::models,
            "stellaclaw:plugin/search-types": crate::imports::stellaclaw::plugin::search_types,
            "stellaclaw:plugin/web-search": crate::imports::stellaclaw::plugin::web_search,
            "stellaclaw:plugin/image-types": crate::imports::stellaclaw::plugin::image_types,
            "stellaclaw:plugin/images": crate::imports::stellaclaw::plugin::images,
        },
    });
}

/// A component that says which models an account can use.
pub mod model_list_plugin {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "host:exports/model-list-export",
        inline: "package host:exports; world model-list-export { export stellaclaw:plugin/model-list@0.1.0; }",
        exports: { default: async },
        with: {
            "stellaclaw:plugin/types": crate::imports::stellaclaw::plugin::types,
            "stellaclaw:plugin/chat": crate::imports::stellaclaw::plugin::chat,
        },
    });
}

/// A component that searches the web.
pub mod search_plugin {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "host:exports/search-export",
        inline: "package host:exports; world search-export { export stellaclaw:plugin/web-search@0.1.0; }",
        exports: { default: async },
        with: {
            "stellaclaw:plugin/types": crate::imports::stellaclaw::plugin::types,
            "stellaclaw:plugin/search-types": crate::imports::stellaclaw::plugin::search_types,
        },
    });
}

/// A component that draws.
pub mod image_plugin {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "host:exports/image-export",
        inline: "package host:exports; world image-export { export stellaclaw:plugin/images@0.1.0; }",
        exports: { default: async },
        with: {
            "stellaclaw:plugin/types": crate::imports::stellaclaw::plugin::types,
            "stellaclaw:plugin/image-types": crate::imports::stellaclaw::plugin::image_types,
        },
    });
}

pub use imports::stellaclaw::plugin::{
    chat, conversation, deltas, http, image_types, images, log, models, search_types, secrets, settings, storage, types, web_search,
    websocket,
};
pub use model_list_plugin::exports::stellaclaw::plugin::model_list;
pub use provider_plugin::exports::stellaclaw::plugin::provider;
pub use tool_plugin::exports::stellaclaw::plugin::tools;
