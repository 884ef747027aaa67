//! Write a Stellaclaw plugin: a component that offers tools, serves a language model, searches the web or draws.
//!
//! A tool is a type. Its fields are the arguments, its doc comments are what the model reads, [`Tool::call`] is what it
//! does; [`plugin!`] makes a component of any number of them:
//!
//! ```
//! use stellaclaw_sdk::{Call, Output, Result, Tool, plugin, schemars, serde};
//!
//! /// Counts the words of a text.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(crate = "stellaclaw_sdk::serde")]
//! struct WordCount {
//!     /// The text to count.
//!     text: String,
//! }
//!
//! impl Tool for WordCount {
//!     fn call(self, _call: &Call) -> Result<Output> {
//!         Ok(Output::text(self.text.split_whitespace().count().to_string()))
//!     }
//! }
//!
//! plugin! { tools: [WordCount] }
//! # fn main() {}
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip2` (`crate-type = ["cdylib"]`).
//!
//! The component lives for one call, in a sandbox of its own: nothing is left of a `static` when the next call comes.
//! Files are ordinary `std::fs` below the mounts (the workspace is the current directory); everything else is an import
//! with a wrapper here: [`http`], [`websocket`], [`log`], [`secrets`], [`settings`], [`storage`], [`conversation`], [`deltas`], [`models`],
//! [`web_search`], [`images`]. An import that the operator has not granted answers [`ErrorKind::Denied`] with the
//! configuration key that would allow it.
//!
//! What providers share is here too, pure and tested: [`sse`] decodes event streams, [`json`] writes bodies in which media
//! stand, [`retry`] reads how long a server wants to be left alone; [`openai`] and [`responses`] know OpenAI's interfaces.
//!
//! Exports exist on `wasm32` only. Natively a plugin is a plain library, so tools and codecs are tested with
//! `cargo test`; calling an import there panics.

pub mod conversation;
pub mod deltas;
mod error;
pub mod http;
pub mod images;
pub mod json;
pub mod log;
#[doc(hidden)]
pub mod manifest;
pub mod model_list;
pub mod models;
pub mod moment;
pub mod openai;
mod output;
pub mod provider;
pub mod responses;
pub mod retry;
pub mod secrets;
pub mod settings;
pub mod sse;
pub mod storage;
mod tool;
pub mod web_search;
pub mod websocket;

/// The generated bindings. Use the wrappers; these are here for the macros and for what has no wrapper yet.
#[doc(hidden)]
#[allow(missing_docs, missing_debug_implementations, unreachable_pub, reason = "generated code")]
#[allow(clippy::all, unsafe_code, reason = "generated code")]
pub mod bindings {
    pub mod imports {
        wit_bindgen::generate!({
            path: "wit",
            world: "imports",
            generate_all,
            pub_export_macro: true,
            additional_derives: [PartialEq],
        });
    }
    pub mod tool_plugin {
        wit_bindgen::generate!({
            path: "wit",
            world: "tool-plugin",
            pub_export_macro: true,
            export_macro_name: "export_tools",
            additional_derives: [PartialEq],
            with: {
                "stellaclaw:plugin/types@0.1.0": crate::bindings::imports::stellaclaw::plugin::types,
                "stellaclaw:plugin/chat@0.1.0": crate::bindings::imports::stellaclaw::plugin::chat,
                "stellaclaw:plugin/log@0.1.0": crate::bindings::imports::stellaclaw::plugin::log,
                "stellaclaw:plugin/deltas@0.1.0": crate::bindings::imports::stellaclaw::plugin::deltas,
                "stellaclaw:plugin/http@0.1.0": crate::bindings::imports::stellaclaw::plugin::http,
                "stellaclaw:plugin/websocket@0.1.0": crate::bindings::imports::stellaclaw::plugin::websocket,
                "stellaclaw:plugin/secrets@0.1.0": crate::bindings::imports::stellaclaw::plugin::secrets,
                "stellaclaw:plugin/settings@0.1.0": crate::bindings::imports::stellaclaw::plugin::settings,
                "stellaclaw:plugin/storage@0.1.0": crate::bindings::imports::stellaclaw::plugin::storage,
                "stellaclaw:plugin/conversation@0.1.0": crate::bindings::imports::stellaclaw::plugin::conversation,
                "stellaclaw:plugin/models@0.1.0": crate::bindings::imports::stellaclaw::plugin::models,
                "stellaclaw:plugin/search-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::search_types,
                "stellaclaw:plugin/web-search@0.1.0": crate::bindings::imports::stellaclaw::plugin::web_search,
                "stellaclaw:plugin/image-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::image_types,
                "stellaclaw:plugin/images@0.1.0": crate::bindings::imports::stellaclaw::plugin::images,
            },
        });
    }
    pub mod provider_plugin {
        wit_bindgen::generate!({
            path: "wit",
            world: "provider-plugin",
            pub_export_macro: true,
            export_macro_name: "export_provider",
            with: {
                "stellaclaw:plugin/types@0.1.0": crate::bindings::imports::stellaclaw::plugin::types,
                "stellaclaw:plugin/chat@0.1.0": crate::bindings::imports::stellaclaw::plugin::chat,
                "stellaclaw:plugin/log@0.1.0": crate::bindings::imports::stellaclaw::plugin::log,
                "stellaclaw:plugin/deltas@0.1.0": crate::bindings::imports::stellaclaw::plugin::deltas,
                "stellaclaw:plugin/http@0.1.0": crate::bindings::imports::stellaclaw::plugin::http,
                "stellaclaw:plugin/websocket@0.1.0": crate::bindings::imports::stellaclaw::plugin::websocket,
                "stellaclaw:plugin/secrets@0.1.0": crate::bindings::imports::stellaclaw::plugin::secrets,
                "stellaclaw:plugin/settings@0.1.0": crate::bindings::imports::stellaclaw::plugin::settings,
                "stellaclaw:plugin/storage@0.1.0": crate::bindings::imports::stellaclaw::plugin::storage,
                "stellaclaw:plugin/conversation@0.1.0": crate::bindings::imports::stellaclaw::plugin::conversation,
                "stellaclaw:plugin/models@0.1.0": crate::bindings::imports::stellaclaw::plugin::models,
                "stellaclaw:plugin/search-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::search_types,
                "stellaclaw:plugin/web-search@0.1.0": crate::bindings::imports::stellaclaw::plugin::web_search,
                "stellaclaw:plugin/image-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::image_types,
                "stellaclaw:plugin/images@0.1.0": crate::bindings::imports::stellaclaw::plugin::images,
            },
        });
    }
    pub mod model_list_plugin {
        wit_bindgen::generate!({
            path: "wit",
            world: "model-list-plugin",
            pub_export_macro: true,
            export_macro_name: "export_model_list",
            additional_derives: [PartialEq],
            with: {
                "stellaclaw:plugin/types@0.1.0": crate::bindings::imports::stellaclaw::plugin::types,
                "stellaclaw:plugin/chat@0.1.0": crate::bindings::imports::stellaclaw::plugin::chat,
                "stellaclaw:plugin/log@0.1.0": crate::bindings::imports::stellaclaw::plugin::log,
                "stellaclaw:plugin/deltas@0.1.0": crate::bindings::imports::stellaclaw::plugin::deltas,
                "stellaclaw:plugin/http@0.1.0": crate::bindings::imports::stellaclaw::plugin::http,
                "stellaclaw:plugin/websocket@0.1.0": crate::bindings::imports::stellaclaw::plugin::websocket,
                "stellaclaw:plugin/secrets@0.1.0": crate::bindings::imports::stellaclaw::plugin::secrets,
                "stellaclaw:plugin/settings@0.1.0": crate::bindings::imports::stellaclaw::plugin::settings,
                "stellaclaw:plugin/storage@0.1.0": crate::bindings::imports::stellaclaw::plugin::storage,
                "stellaclaw:plugin/conversation@0.1.0": crate::bindings::imports::stellaclaw::plugin::conversation,
                "stellaclaw:plugin/models@0.1.0": crate::bindings::imports::stellaclaw::plugin::models,
                "stellaclaw:plugin/search-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::search_types,
                "stellaclaw:plugin/web-search@0.1.0": crate::bindings::imports::stellaclaw::plugin::web_search,
                "stellaclaw:plugin/image-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::image_types,
                "stellaclaw:plugin/images@0.1.0": crate::bindings::imports::stellaclaw::plugin::images,
            },
        });
    }
    pub mod search_plugin {
        wit_bindgen::generate!({
            path: "wit",
            world: "search-plugin",
            pub_export_macro: true,
            export_macro_name: "export_search",
            additional_derives: [PartialEq],
            with: {
                "stellaclaw:plugin/types@0.1.0": crate::bindings::imports::stellaclaw::plugin::types,
                "stellaclaw:plugin/chat@0.1.0": crate::bindings::imports::stellaclaw::plugin::chat,
                "stellaclaw:plugin/log@0.1.0": crate::bindings::imports::stellaclaw::plugin::log,
                "stellaclaw:plugin/deltas@0.1.0": crate::bindings::imports::stellaclaw::plugin::deltas,
                "stellaclaw:plugin/http@0.1.0": crate::bindings::imports::stellaclaw::plugin::http,
                "stellaclaw:plugin/websocket@0.1.0": crate::bindings::imports::stellaclaw::plugin::websocket,
                "stellaclaw:plugin/secrets@0.1.0": crate::bindings::imports::stellaclaw::plugin::secrets,
                "stellaclaw:plugin/settings@0.1.0": crate::bindings::imports::stellaclaw::plugin::settings,
                "stellaclaw:plugin/storage@0.1.0": crate::bindings::imports::stellaclaw::plugin::storage,
                "stellaclaw:plugin/conversation@0.1.0": crate::bindings::imports::stellaclaw::plugin::conversation,
                "stellaclaw:plugin/models@0.1.0": crate::bindings::imports::stellaclaw::plugin::models,
                "stellaclaw:plugin/search-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::search_types,
                "stellaclaw:plugin/web-search@0.1.0": crate::bindings::imports::stellaclaw::plugin::web_search,
                "stellaclaw:plugin/image-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::image_types,
                "stellaclaw:plugin/images@0.1.0": crate::bindings::imports::stellaclaw::plugin::images,
            },
        });
    }
    pub mod image_plugin {
        wit_bindgen::generate!({
            path: "wit",
            world: "image-plugin",
            pub_export_macro: true,
            export_macro_name: "export_images",
            additional_derives: [PartialEq],
            with: {
                "stellaclaw:plugin/types@0.1.0": crate::bindings::imports::stellaclaw::plugin::types,
                "stellaclaw:plugin/chat@0.1.0": crate::bindings::imports::stellaclaw::plugin::chat,
                "stellaclaw:plugin/log@0.1.0": crate::bindings::imports::stellaclaw::plugin::log,
                "stellaclaw:plugin/deltas@0.1.0": crate::bindings::imports::stellaclaw::plugin::deltas,
                "stellaclaw:plugin/http@0.1.0": crate::bindings::imports::stellaclaw::plugin::http,
                "stellaclaw:plugin/websocket@0.1.0": crate::bindings::imports::stellaclaw::plugin::websocket,
                "stellaclaw:plugin/secrets@0.1.0": crate::bindings::imports::stellaclaw::plugin::secrets,
                "stellaclaw:plugin/settings@0.1.0": crate::bindings::imports::stellaclaw::plugin::settings,
                "stellaclaw:plugin/storage@0.1.0": crate::bindings::imports::stellaclaw::plugin::storage,
                "stellaclaw:plugin/conversation@0.1.0": crate::bindings::imports::stellaclaw::plugin::conversation,
                "stellaclaw:plugin/models@0.1.0": crate::bindings::imports::stellaclaw::plugin::models,
                "stellaclaw:plugin/search-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::search_types,
                "stellaclaw:plugin/web-search@0.1.0": crate::bindings::imports::stellaclaw::plugin::web_search,
                "stellaclaw:plugin/image-types@0.1.0": crate::bindings::imports::stellaclaw::plugin::image_types,
                "stellaclaw:plugin/images@0.1.0": crate::bindings::imports::stellaclaw::plugin::images,
            },
        });
    }
}

/// What a language model reads and writes, without any vendor's wire format.
pub use bindings::imports::stellaclaw::plugin::chat;
/// The types shared by every interface of the contract.
pub use bindings::imports::stellaclaw::plugin::types;
pub use bindings::tool_plugin::exports::stellaclaw::plugin::tools::{Batching, Call, Output, Replay, Tool as ToolSpec};
pub use error::Result;
pub use images::Images;
pub use model_list::ModelList;
pub use provider::Provider;
pub use tool::{Tool, ToolEntry};
pub use types::{Error, ErrorKind, FileRef, Part, SessionInfo};
pub use web_search::WebSearch;

pub use schemars;
pub use serde;
pub use serde_json;
#[doc(hidden)]
pub use wit_bindgen;
